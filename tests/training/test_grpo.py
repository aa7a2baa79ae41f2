from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("trl", reason="needs the extra 'train'")

from agent_gym_env.assembly import make_env
from agent_gym_env.cli.main import main
from agent_gym_env.envs.replay import ReplaySettings
from agent_gym_env.errors import DataError
from agent_gym_env.rewards.base import ClosedTurn, Score
from agent_gym_env.training import model_player
from agent_gym_env.training.config import GRPOConfig, TinyConfig
from agent_gym_env.training.grpo import train_grpo
from agent_gym_env.training.tiny import make_tiny
from tests.training.first_turns import conversations, prompts, write

pytestmark = pytest.mark.usefixtures("datasets_cache")

SMALL = TinyConfig(
    vocabulary=500, width=32, layers=1, heads=2, context=512, result_characters=60, practice=0
)


class FailsNowAndThen:
    """Scores by the length of the reply; cannot tell, or tells no number, where that is odd."""

    name = "now and then"
    parts = ()

    def score(self, turn: ClosedTurn) -> Score:
        if len(turn.text) % 2:
            return Score(None if len(turn.text) % 4 == 1 else math.nan, {})
        return Score(min(1.0, len(turn.text) / 40), {})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grpo")
    make_tiny(folder / "model", msgspec.to_builtins(conversations("train", 4)), SMALL)
    write(folder / "rows.jsonl", prompts("train", 4))
    write(folder / "dev.jsonl", prompts("dev", 3))
    return folder


def config(folder: Path, **changes: Any) -> GRPOConfig:
    settings = {
        "model": str(folder / "model"),
        "rows": [str(folder / "rows.jsonl")],
        "max_length": 512,
        "batch_size": 8,
        "gradient_accumulation": 1,
        "generations": 4,
        "max_new_tokens": 6,
        "max_steps": 2,
        "log_every": 1,
    }
    return msgspec.convert({**settings, **changes}, GRPOConfig)


def metrics(out: Path) -> list[dict[str, Any]]:
    lines = map(msgspec.json.decode, (out / "metrics.jsonl").read_bytes().splitlines())
    return [line for line in lines if "reward" in line]


def test_plays_that_make_no_whole_groups_are_refused(folder: Path) -> None:
    with pytest.raises(msgspec.ValidationError, match="expected a multiple of generations=3"):
        config(folder, generations=3)


def test_rewards_that_could_not_be_told_are_masked_and_their_share_is_told(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env: Any = make_env(split="train")
    world = ReplaySettings(env.unwrapped.split, FailsNowAndThen())
    monkeypatch.setattr(model_player, "open_world", lambda *_: world)
    train_grpo(config(folder, turns=2, max_steps=3), out=tmp_path)
    for line in metrics(tmp_path):
        assert math.isfinite(line["loss"])
        assert math.isfinite(line["grad_norm"])
        assert math.isfinite(line["reward"])
        assert 0 < line["unscored"] < 1


@pytest.mark.parametrize("algorithm", ["grpo", "rloo"])
def test_a_run_reports_what_it_played(tmp_path: Path, folder: Path, algorithm: str) -> None:
    settings = config(
        folder,
        algorithm=algorithm,
        turns=None,
        reward="ground_truth",
        held_out=[str(folder / "dev.jsonl")],
        evaluated=4,
        max_length=420,
        beta=0.01,
    )
    train_grpo(settings, out=tmp_path)
    report = msgspec.json.decode((tmp_path / "report.json").read_bytes())
    # Two steps of eight plays, four from each situation.
    assert (report["steps"], report["situations"], report["plays"]) == (2, 4, 16)
    assert 0 < report["learned"] < report["tokens"]
    assert 0 < report["available"] <= 8
    assert report["held_out"]["change"]["count"] == 4
    assert report["held_out"]["before"] > 0
    assert report["origin"] == {"trained": {"train": 4}, "held_out": {"dev": 3}, "shared": 0}
    assert len(metrics(tmp_path)) == 2
    assert {"kl", "entropy", "rewards/environment_reward/mean"} <= metrics(tmp_path)[0].keys()


def test_rows_without_room_for_an_answer_are_left_out(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DataError, match="no row leaves room for an answer"):
        train_grpo(config(folder, max_length=20), out=tmp_path)


def test_rows_of_another_corpus_are_refused(
    tmp_path: Path, folder: Path, tiny_corpus: Path
) -> None:
    other = config(folder, env={"corpus": str(tiny_corpus)})
    with pytest.raises(
        DataError, match="the environment needs the arguments that the rows were exported"
    ):
        train_grpo(other, out=tmp_path)


def test_rows_of_another_choice_of_tools_are_refused(tmp_path: Path, folder: Path) -> None:
    other = config(folder, env={"tools_offered": "all"})
    with pytest.raises(DataError, match="other tools than the row; the environment needs"):
        train_grpo(other, out=tmp_path)


def test_the_command_keeps_the_corpus_beside_further_arguments_of_the_environment(
    folder: Path, tiny_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "grpo", str(folder / "rows.jsonl"), "--model", str(folder / "model")]
    options = ["--corpus", str(tiny_corpus), "--config", '{"env": {"tools_offered": "all"}}']
    assert main([*command, *options, "--out", str(tmp_path)]) == 4
    assert "the state is of (version, corpus, split)" in capsys.readouterr().err


def test_the_command_trains_and_reports(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = {"batch_size": 4, "gradient_accumulation": 1, "generations": 4, "max_new_tokens": 4}
    command = ["train", "grpo", str(folder / "rows.jsonl"), "--model", str(folder / "model")]
    options = ["--max-steps", "1", "--algorithm", "rloo", "--turns", "1", "--json"]
    given = ["--config", msgspec.json.encode(more).decode(), "--out", str(tmp_path)]
    assert main([*command, *options, *given]) == 0
    report = msgspec.json.decode(capsys.readouterr().out)
    assert (report["steps"], report["situations"], report["plays"]) == (1, 1, 4)
    assert 0 < report["learned"] <= 4 * 4
    assert report["available"] == 8
    assert '"algorithm": "rloo"' in (tmp_path / "run.json").read_text()
