from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("trl", reason="needs the extra 'train'")

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from agent_gym_env.assembly import make_env
from agent_gym_env.envs.replay import ReplaySettings
from agent_gym_env.errors import AgentGymError, DataError, ResumeMismatchError, StorageError
from agent_gym_env.lm.chat_templates import read_template
from agent_gym_env.rewards.base import ClosedTurn, Score
from agent_gym_env.training import model_player
from agent_gym_env.training.config import DPOConfig, GRPOConfig, TinyConfig
from agent_gym_env.training.dpo import train_dpo
from agent_gym_env.training.grpo import train_grpo
from agent_gym_env.training.tiny import make_tiny
from agent_gym_env.training.trackers import GuardedTracker
from agent_gym_env.training.trl_run import TRLRun, load_model, load_tokenizer
from tests.training.first_turns import conversations, pairs, prompts, write
from tests.training.test_trackers import Remember

pytestmark = pytest.mark.usefixtures("datasets_cache")

Train = Callable[..., Path]
SMALL = TinyConfig(
    vocabulary=500,
    width=32,
    layers=1,
    heads=2,
    convolutions=False,
    context=512,
    result_characters=60,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    make_tiny(folder / "model", msgspec.to_builtins(conversations("train", 4)), SMALL)
    write(folder / "dpo.jsonl", pairs("train", 4, ("silent",)))
    write(folder / "grpo.jsonl", prompts("train", 4))
    return folder


def dpo(folder: Path, **changes: Any) -> DPOConfig:
    settings = {
        "model": str(folder / "model"),
        "rows": [str(folder / "dpo.jsonl")],
        "learning_rate": 1e-3,
        "max_length": 512,
        "batch_size": 2,
        "max_steps": 4,
        "save_every": 2,
        "log_every": 1,
    }
    return msgspec.convert({**settings, **changes}, DPOConfig)


def grpo(folder: Path, **changes: Any) -> GRPOConfig:
    settings = {
        "model": str(folder / "model"),
        "rows": [str(folder / "grpo.jsonl")],
        "learning_rate": 1e-3,
        "max_length": 512,
        "batch_size": 4,
        "gradient_accumulation": 1,
        "generations": 4,
        "max_new_tokens": 6,
        "max_steps": 4,
        "save_every": 2,
        "log_every": 1,
    }
    return msgspec.convert({**settings, **changes}, GRPOConfig)


class PaysByLength:
    """A reward of length: an untrained model gets 0 from every other reward."""

    name = "length"
    parts = ()

    def score(self, turn: ClosedTurn) -> Score:
        return Score(min(1.0, len(turn.text) / 40), {})


class StoppedError(Exception):
    """Any exception that ends a process."""


def stop_after(steps: int) -> Callable[[str, int, int], None]:
    def on_progress(method: str, done: int, total: int) -> None:
        if done == steps:
            raise StoppedError

    return on_progress


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(AutoModelForCausalLM.from_pretrained(folder).state_dict())


def losses(out: Path) -> list[float]:
    lines = map(msgspec.json.decode, (out / "metrics.jsonl").read_bytes().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.parametrize(("configure", "train"), [(dpo, train_dpo), (grpo, train_grpo)])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    tmp_path: Path,
    folder: Path,
    configure: Any,
    train: Train,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    env: Any = make_env(split="train")
    world = ReplaySettings(env.unwrapped.split, PaysByLength())
    monkeypatch.setattr(model_player, "open_world", lambda *_: world)
    config = configure(folder)
    undisturbed = train(config, out=tmp_path / "a")
    with pytest.raises(StoppedError):
        train(config, out=tmp_path / "b", on_progress=stop_after(3))
    resumed = train(config, out=tmp_path / "b", resume=True)
    expected, begun = weights(undisturbed), weights(folder / "model")
    for name, found in weights(resumed).items():
        torch.testing.assert_close(found, expected[name], rtol=0, atol=1e-6)
    assert any(not torch.equal(begun[name], expected[name]) for name in begun)
    assert losses(tmp_path / "b") == pytest.approx(losses(tmp_path / "a"), abs=1e-6)
    assert len(losses(tmp_path / "b")) == 4


@pytest.mark.parametrize(("configure", "train"), [(dpo, train_dpo), (grpo, train_grpo)])
def test_a_finished_run_stays_as_it_is_however_often_it_is_resumed(
    tmp_path: Path, folder: Path, configure: Any, train: Train
) -> None:
    # Not at the end of an epoch, where the trainer itself would stop.
    config = configure(folder, max_steps=3)
    names = ("model/model.safetensors", "metrics.jsonl", "report.json")
    train(config, out=tmp_path)
    before = [(tmp_path / name).read_bytes() for name in names]
    train(config, out=tmp_path, resume=True)
    assert [(tmp_path / name).read_bytes() for name in names] == before


def test_a_checkpoint_that_was_cut_off_is_not_gone_on_from(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(StoppedError):
        train_dpo(dpo(folder), out=tmp_path / "run", on_progress=stop_after(3))
    torn = tmp_path / "run/checkpoints/checkpoint-3"
    torn.mkdir()
    (torn / "model.safetensors").write_bytes(b"half a")
    train_dpo(dpo(folder), out=tmp_path / "run", resume=True)
    assert len(losses(tmp_path / "run")) == 4


def test_another_run_in_the_folder_is_not_written_over(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(StoppedError):
        train_dpo(dpo(folder), out=tmp_path, on_progress=stop_after(1))
    with pytest.raises(StorageError, match="holds a run already"):
        train_dpo(dpo(folder), out=tmp_path)
    with pytest.raises(ResumeMismatchError, match="differs in seed, beta"):
        train_dpo(dpo(folder, beta=0.2, seed=1), out=tmp_path, resume=True)
    with pytest.raises(ResumeMismatchError, match="differs in method"):
        train_grpo(grpo(folder), out=tmp_path, resume=True)


def test_a_run_that_could_not_begin_leaves_its_folder_free(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        train_dpo(dpo(folder, model=str(tmp_path / "nowhere")), out=tmp_path / "run")
    train_dpo(dpo(folder, max_steps=1), out=tmp_path / "run")


def test_rows_that_have_changed_are_another_run(tmp_path: Path, folder: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes((folder / "dpo.jsonl").read_bytes())
    config = dpo(folder, rows=[str(rows)])
    with pytest.raises(StoppedError):
        train_dpo(config, out=tmp_path / "run", on_progress=stop_after(1))
    rows.write_bytes(b"".join(rows.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(ResumeMismatchError, match="differs in rows"):
        train_dpo(config, out=tmp_path / "run", resume=True)


def test_a_run_that_has_diverged_ends_although_nothing_is_logged(
    tmp_path: Path, folder: Path
) -> None:
    with pytest.raises(
        AgentGymError, match=r"gradient contains NaN or infinity at step [234]; try"
    ):
        train_dpo(dpo(folder, learning_rate=1e20, log_every=100), out=tmp_path)
    assert not (tmp_path / "model").exists()


def test_weights_that_the_last_step_ruined_are_not_saved(tmp_path: Path, folder: Path) -> None:
    ruinous = dpo(folder, learning_rate=1e39, warmup=0.0, max_steps=1)
    with pytest.raises(AgentGymError, match="contains NaN or infinity after the last step"):
        train_dpo(ruinous, out=tmp_path)
    assert not (tmp_path / "model").exists()


def test_a_model_is_not_unpickled(tmp_path: Path, folder: Path) -> None:
    hostile = tmp_path / "hostile"
    load_tokenizer(dpo(folder)).save_pretrained(hostile)
    (hostile / "config.json").write_bytes((folder / "model/config.json").read_bytes())
    (hostile / "pytorch_model.bin").write_bytes(pickle.dumps(Touches(tmp_path / "touched")))
    with pytest.raises(DataError, match="this is not a language model"):
        load_model(dpo(folder, model=str(hostile)))
    assert not (tmp_path / "touched").exists()


def test_a_checkpoint_is_not_unpickled(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(StoppedError):
        train_dpo(dpo(folder), out=tmp_path / "run", on_progress=stop_after(3))
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        hostile = tmp_path / "run/checkpoints/checkpoint-2" / name
        genuine = hostile.read_bytes()
        # Of another protocol than torch's own it warns first.
        hostile.write_bytes(pickle.dumps(Touches(tmp_path / "touched"), protocol=2))
        with pytest.raises(DataError, match="checkpoint-2"):
            train_dpo(dpo(folder), out=tmp_path / "run", resume=True)
        assert not (tmp_path / "touched").exists()
        hostile.write_bytes(genuine)


class Touches:
    """An object that creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(("configure", "train"), [(dpo, train_dpo), (grpo, train_grpo)])
def test_only_sft_takes_tiny_as_a_model(
    tmp_path: Path, folder: Path, configure: Any, train: Train
) -> None:
    with pytest.raises(DataError, match="only sft makes a tiny model"):
        train(configure(folder, model="tiny"), out=tmp_path)


def test_a_model_without_a_chat_template_is_refused(tmp_path: Path, folder: Path) -> None:
    tokenizer = load_tokenizer(dpo(folder))
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path / "mute")
    shutil.copy(folder / "model/config.json", tmp_path / "mute")
    with pytest.raises(DataError, match="has no chat template"):
        load_tokenizer(dpo(folder, model=str(tmp_path / "mute")))


@pytest.mark.parametrize(
    ("configure", "train", "chosen"), [(dpo, train_dpo, None), (grpo, train_grpo, "compact")]
)
def test_a_model_whose_template_knows_no_tools_is_trained_with_one_of_ours(
    tmp_path: Path, folder: Path, configure: Any, train: Train, chosen: str | None
) -> None:
    model = tmp_path / "plain"
    shutil.copytree(configure(folder).model, model)
    (model / "chat_template.jinja").write_text(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    )
    longest = {"max_length": 4096, "chat_template": chosen, "max_steps": 1}
    path = train(configure(folder, model=str(model), **longest), out=tmp_path / "run")
    saved: Any = AutoTokenizer.from_pretrained(path)
    assert saved.chat_template == read_template(chosen or "hermes", saved)


def test_adapters_are_merged_into_the_trained_model(tmp_path: Path, folder: Path) -> None:
    config = dpo(folder, lora={"rank": 2}, learning_rate=1e-2, max_steps=2)
    path = train_dpo(config, out=tmp_path)
    merged, begun = weights(path), weights(folder / "model")
    assert merged.keys() == begun.keys()
    attention = "model.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(merged[attention], begun[attention])
    embedding = "model.embed_tokens.weight"
    assert torch.equal(merged[embedding], begun[embedding])


def test_measurements_go_to_tensorboard_where_they_are_wanted(tmp_path: Path, folder: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra 'sb3'")
    train_dpo(dpo(folder, max_steps=1), out=tmp_path, tensorboard=True)
    assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))


def test_measurements_go_to_a_tracker_which_cannot_end_the_run(
    tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good, broken = Remember({}), Remember({}, fails=("log",))
    both = GuardedTracker({"good": good, "broken": broken})
    train_dpo(dpo(folder, max_steps=1), out=tmp_path, tracker=both)
    steps = {step: figures for step, figures in good.logged if "loss" in figures}
    lines = map(msgspec.json.decode, (tmp_path / "metrics.jsonl").read_bytes().splitlines())
    written = {line["step"]: line["loss"] for line in lines if "loss" in line}
    assert {step: figures["loss"] for step, figures in steps.items()} == written != {}
    assert [each.name for each in caplog.records] == ["agent_gym_env.training.trackers"]


def test_a_run_is_written_down_without_the_credentials_of_its_judge(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("{}\n")
    judge = {"name": "llm_judge", "client": "local", "api_base": "http://u:PW-secret@host/v1"}
    config = GRPOConfig(model="tiny", rows=(str(rows),), reward=judge)
    settings = TRLRun("grpo", config, tmp_path / "out")._settings
    assert settings["config"]["reward"]["api_base"] == "http://host/v1"
    assert "PW-secret" not in str(settings)
