from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("trl", reason="needs the extra 'train'")

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from agent_gym_env.cli.main import main
from agent_gym_env.errors import DataError, ResumeMismatchError, StorageError
from agent_gym_env.lm.chat_templates import knows_tools, read_template
from agent_gym_env.training import sft
from agent_gym_env.training.chat_dataset import chat_dataset
from agent_gym_env.training.config import LoRA, SFTConfig
from agent_gym_env.training.sft import train_sft
from agent_gym_env.training.trl_run import TRLRun
from tests.training.chat_rows import read, write_sft_rows

SMALL: dict[str, Any] = {
    "model": "tiny",
    "tiny": {"vocabulary": 600, "width": 32, "layers": 1, "heads": 2, "practice": 0},
    "learning_rate": 5e-3,
    "max_steps": 8,
    "batch_size": 2,
    "log_every": 1,
    "save_every": 4,
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("rows")
    splits = {"train": 12, "dev": 3}
    return {
        split: str(write_sft_rows(folder / f"{split}.jsonl", split, episodes))
        for split, episodes in splits.items()
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, rows: dict[str, str]) -> Path:
    out = tmp_path_factory.mktemp("run") / "sft"
    train_sft(configured(rows, held_out=[rows["dev"]]), out=out)
    return out


def configured(rows: dict[str, str], **changes: Any) -> SFTConfig:
    return msgspec.convert({**SMALL, "rows": [rows["train"]], **changes}, SFTConfig)


def losses(out: Path) -> list[float]:
    return [line["loss"] for line in read(out / "metrics.jsonl") if "loss" in line]


def weights(out: Path) -> dict[str, torch.Tensor]:
    model = AutoModelForCausalLM.from_pretrained(out / "model")
    return dict(model.state_dict())


def test_the_loss_falls(trained: Path) -> None:
    each = losses(trained)
    assert len(each) == 8
    assert each[-1] < each[0] - 0.3


def report_of(out: Path) -> dict[str, Any]:
    report: dict[str, Any] = msgspec.json.decode((out / "report.json").read_bytes())
    return report


def test_the_report_counts_what_was_trained_on(tmp_path: Path, rows: dict[str, str]) -> None:
    # Six batches of two are all twelve conversations, each once.
    train_sft(configured(rows, max_steps=6), out=tmp_path)
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "model")
    tokens = learned = 0
    for row in read(Path(rows["train"])):
        written = tokenizer.apply_chat_template(
            row["messages"],
            tools=row["tools"],
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        tokens += len(written["input_ids"])
        learned += sum(written["assistant_masks"])
    report = report_of(tmp_path)
    assert report == {
        "steps": 6,
        "conversations": 12,
        "tokens": tokens,
        "learned": learned,
        "available": 12,
        "long": 0.0,
        "held_out_loss": None,
        "origin": {"trained": {"train": 12}, "held_out": {}, "shared": 0},
    }


def test_a_conversation_that_was_read_twice_counts_twice(trained: Path) -> None:
    report = report_of(trained)
    assert (report["steps"], report["conversations"], report["available"]) == (8, 16, 12)
    assert 0 < report["held_out_loss"] < 7


def test_on_a_processor_the_loss_is_that_of_trl(
    tmp_path: Path, trained: Path, rows: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = configured(rows, model=str(trained / "model"), held_out=[rows["dev"]])
    learned = chat_dataset(config.rows, "sft")
    found = []
    for number, kind in enumerate((sft._CPUTrainer, sft.trl.SFTTrainer)):
        monkeypatch.setattr(sft, "_CPUTrainer", kind)
        trainer = sft._trainer(config, TRLRun("sft", config, tmp_path / str(number)), learned)
        found.append(trainer.evaluate()["eval_loss"])
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def _types_of_products(model: torch.nn.Module) -> set[torch.dtype]:
    """Return a set that the types of all matrix products of the model are added to."""
    found = set()
    for part in model.modules():
        if isinstance(part, torch.nn.Linear):
            part.register_forward_hook(lambda _, __, output: found.add(output.dtype))
    return found


@pytest.mark.parametrize("lora", [None, LoRA(rank=2)])
def test_on_a_processor_bf16_multiplies_matrices_in_bfloat16(
    tmp_path: Path,
    trained: Path,
    rows: dict[str, str],
    lora: LoRA | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for bf16, expected in ((True, torch.bfloat16), (False, torch.float32)):
        config = configured(rows, model=str(trained / "model"), bf16=bf16, lora=lora)
        run = TRLRun("sft", config, tmp_path / str(bf16))
        trainer = sft._trainer(config, run, chat_dataset(config.rows, "sft"))
        found = _types_of_products(trainer.model)
        batch = next(iter(trainer.get_train_dataloader()))
        loss = trainer.compute_loss(trainer.model, batch)
        assert found == {expected}
        assert loss.dtype == torch.float32


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(
    tmp_path: Path, trained: Path, rows: dict[str, str]
) -> None:
    class StoppedError(Exception):
        pass

    def stop(_: str, done: int, __: int) -> None:
        if done == 6:
            raise StoppedError

    config = configured(rows, held_out=[rows["dev"]])
    with pytest.raises(StoppedError):
        train_sft(config, out=tmp_path, on_progress=stop)
    train_sft(config, out=tmp_path, resume=True)
    for name, expected in weights(trained).items():
        torch.testing.assert_close(weights(tmp_path)[name], expected, rtol=0, atol=1e-6)
    for name in ("steps", "conversations", "tokens", "learned", "available"):
        assert report_of(tmp_path)[name] == report_of(trained)[name]


def test_a_folder_with_another_run_is_left_alone(trained: Path, rows: dict[str, str]) -> None:
    before = (trained / "run.json").read_bytes()
    with pytest.raises(StorageError, match="holds a run already"):
        train_sft(configured(rows), out=trained)
    with pytest.raises(ResumeMismatchError, match="learning_rate"):
        train_sft(configured(rows, learning_rate=1e-3), out=trained, resume=True)
    assert (trained / "run.json").read_bytes() == before


def test_rows_that_are_too_long_are_left_out_and_counted(
    tmp_path: Path, rows: dict[str, str]
) -> None:
    train_sft(configured(rows, max_length=800, max_steps=1), out=tmp_path)
    report = report_of(tmp_path)
    assert 0 < report["available"] < 12
    assert report["long"] == pytest.approx(1 - report["available"] / 12)


def test_where_all_rows_are_too_long_it_says_so(tmp_path: Path, rows: dict[str, str]) -> None:
    with pytest.raises(DataError, match="max_length=5 tokens"):
        train_sft(configured(rows, max_length=5), out=tmp_path)


def test_a_model_that_is_not_there_is_named(tmp_path: Path, rows: dict[str, str]) -> None:
    with pytest.raises(DataError, match="nowhere"):
        train_sft(configured(rows, model=str(tmp_path / "nowhere")), out=tmp_path / "out")


def test_adapters_are_merged_into_the_model(
    tmp_path: Path, trained: Path, rows: dict[str, str]
) -> None:
    config = configured(rows, model=str(trained / "model"), lora={"rank": 2}, max_steps=2)
    path = train_sft(config, out=tmp_path)
    tuned, base = weights(tmp_path), weights(trained)
    assert path == tmp_path / "model"
    assert tuned.keys() == base.keys()
    assert any(not torch.equal(tuned[name], base[name]) for name in base)


def test_the_command_trains_and_says_how_to_play(
    tmp_path: Path, rows: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    config = msgspec.json.encode({"tiny": SMALL["tiny"], "batch_size": 2}).decode()
    command = ["train", "sft", rows["train"], "--model", "tiny", "--max-steps", "1"]
    assert main([*command, "--config", config, "--out", str(tmp_path)]) == 0
    assert f'"path": "{tmp_path / "model"}"' in capsys.readouterr().out


def test_the_command_names_a_setting_that_is_wrong(
    rows: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "sft", rows["train"], "--model", "tiny", "--config", '{"batch_size": 0}']
    assert main(command) == 2
    assert "batch_size" in capsys.readouterr().err


def test_messages_of_weight_0_are_read_and_not_learned(tmp_path: Path, trained: Path) -> None:
    (row, *_) = read(write_sft_rows(tmp_path / "rows.jsonl", "train", 1))
    *before, last = row["messages"]
    row["messages"] = [{**message, "weight": 0} for message in before] + [last]
    path = tmp_path / "last.jsonl"
    path.write_bytes(msgspec.json.encode(row))
    config = configured({"train": str(path)}, model=str(trained / "model"), max_steps=1)
    train_sft(config, out=tmp_path / "run")
    report = msgspec.json.decode((tmp_path / "run/report.json").read_bytes())
    tokenizer: Any = AutoTokenizer.from_pretrained(trained / "model")
    assert report["learned"] == len(tokenizer.encode(last["content"] + "<|im_end|>"))


def test_a_template_that_knows_no_weights_is_refused_rows_that_have_them(
    tmp_path: Path, trained: Path, rows: dict[str, str]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(trained / "model", other)
    template = other / "chat_template.jinja"
    template.write_text(template.read_text().replace("message.weight", "message.other"))
    row = read(Path(rows["train"]))[0]
    row["messages"][-1]["weight"] = 0
    path = tmp_path / "rows.jsonl"
    path.write_bytes(msgspec.json.encode(row))
    with pytest.raises(DataError, match="row 0 has messages of weight 0"):
        train_sft(configured({"train": str(path)}, model=str(other)), out=tmp_path / "run")


def test_renamed_copies_are_learned_beside_the_conversations(
    tmp_path: Path, rows: dict[str, str]
) -> None:
    train_sft(configured(rows, renamed=2, max_steps=1), out=tmp_path / "run")
    report = report_of(tmp_path / "run")
    assert (report["conversations"], report["available"]) == (2, 3 * 12)


def test_a_command_that_was_stopped_says_how_it_goes_on(
    tmp_path: Path,
    rows: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def train_stopped(*arguments: Any, **options: Any) -> Path:
        def stop(_: str, done: int, __: int) -> None:
            if done == 2:
                raise KeyboardInterrupt

        return train_sft(*arguments, **{**options, "on_progress": stop})

    config = msgspec.json.encode({"tiny": SMALL["tiny"], "batch_size": 2}).decode()
    command = ["train", "sft", rows["train"], "--model", "tiny", "--max-steps", "3"]
    command += ["--config", config, "--out", str(tmp_path)]
    monkeypatch.setattr(sft, "train_sft", train_stopped)
    assert main(command) == 3
    assert "stopped; to resume, run the same command with --resume" in capsys.readouterr().err
    monkeypatch.undo()
    assert main([*command, "--resume"]) == 0


PLAIN = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def with_template(trained: Path, folder: Path, template: str) -> str:
    shutil.copytree(trained / "model", folder)
    (folder / "chat_template.jinja").write_text(template)
    return str(folder)


@pytest.mark.parametrize("chosen", [None, "compact"])
def test_a_model_whose_template_knows_no_tools_is_trained_and_saved_with_one_of_ours(
    chosen: str | None,
    tmp_path: Path,
    trained: Path,
    rows: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = with_template(trained, tmp_path / "plain", PLAIN)
    config = configured(rows, model=model, max_steps=1, chat_template=chosen)
    saved: Any = AutoTokenizer.from_pretrained(train_sft(config, out=tmp_path / "run"))
    assert knows_tools(saved)
    assert saved.chat_template == read_template(chosen or "hermes", saved)
    assert ("shows a model no tools" in caplog.text) is (chosen is None)
    assert msgspec.json.decode((tmp_path / "run" / "report.json").read_bytes())["learned"] > 0


def test_a_template_that_marks_nothing_to_learn_is_refused_in_our_words(
    tmp_path: Path, trained: Path, rows: dict[str, str]
) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(trained / "model")
    template = read_template("hermes", tokenizer)
    for mark in ("{%- generation %}\n", "{%- endgeneration %}\n"):
        template = template.replace(mark, "")
    model = with_template(trained, tmp_path / "unmarked", template)
    with pytest.raises(
        DataError, match=r"does not mark what the assistant writes.*--chat-template"
    ):
        train_sft(configured(rows, model=model), out=tmp_path / "run")


def test_a_template_of_ours_takes_messages_of_weight_0(
    tmp_path: Path, trained: Path, rows: dict[str, str]
) -> None:
    row = read(Path(rows["train"]))[0]
    row["messages"][-1]["weight"] = 0
    path = tmp_path / "rows.jsonl"
    path.write_bytes(msgspec.json.encode(row))
    model = with_template(trained, tmp_path / "plain", PLAIN)
    changes = {"model": model, "max_steps": 1, "chat_template": "hermes", "max_length": 8192}
    config = configured({"train": str(path)}, **changes)
    assert train_sft(config, out=tmp_path / "run").exists()
