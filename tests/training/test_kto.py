from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("trl", reason="needs the extra 'train'")

from agent_gym_env.cli.main import main
from agent_gym_env.errors import DataError
from agent_gym_env.export.preference_pairs import rows_of_pair
from agent_gym_env.training.config import KTOConfig
from agent_gym_env.training.kto import train_kto
from tests.training.first_turns import pairs, small_model, write

pytestmark = pytest.mark.usefixtures("datasets_cache")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    labelled = [row for pair in pairs("train", 6, ("silent",)) for row in rows_of_pair(pair)]
    found: list[dict[str, Any]] = msgspec.to_builtins(labelled)
    return found[:12]


def config(model: str, rows: str, **changes: Any) -> KTOConfig:
    settings = {
        "model": model,
        "rows": [rows],
        "max_length": 512,
        "batch_size": 4,
        "max_steps": 1,
        "log_every": 1,
        "eval_every": None,
    }
    return msgspec.convert({**settings, **changes}, KTOConfig)


def test_good_messages_become_likelier_than_bad_ones(
    tmp_path: Path, model: str, rows: list[dict[str, Any]]
) -> None:
    long = {**rows[0], "completion": [{"role": "assistant", "content": "word " * 600}]}
    path = write(tmp_path / "rows.jsonl", [long, *rows[1:]])
    held_out = write(tmp_path / "held_out.jsonl", rows)
    settings = config(model, path, held_out=[held_out], learning_rate=1e-2, max_steps=6)
    train_kto(settings, out=tmp_path / "run")
    report = msgspec.json.decode((tmp_path / "run/report.json").read_bytes())
    assert (report["steps"], report["available"]) == (6, 11)
    assert report["messages"] > 4
    assert report["good"] == pytest.approx(5 / 11)
    assert report["long"] == pytest.approx(1 / 12)
    assert report["held_out"]["messages"] == 12
    assert report["held_out"]["good_change"] > report["held_out"]["bad_change"]
    assert report["origin"]["trained"].keys() == {"train"}
    lines = map(msgspec.json.decode, (tmp_path / "run/metrics.jsonl").read_bytes().splitlines())
    assert all(math.isfinite(line["loss"]) for line in lines if "loss" in line)


def test_messages_of_one_label_only_are_refused(
    tmp_path: Path, model: str, rows: list[dict[str, Any]]
) -> None:
    path = write(tmp_path / "rows.jsonl", [row for row in rows if row["label"]])
    with pytest.raises(DataError, match="found 6 good and 0 bad"):
        train_kto(config(model, path), out=tmp_path / "run")


def test_a_batch_of_one_message_is_refused(model: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="batch_size"):
        config(model, "rows.jsonl", batch_size=1)


def test_the_command_trains_and_reports(
    tmp_path: Path, model: str, rows: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "rows.jsonl", rows)
    command = ["train", "kto", path, "--model", model, "--max-steps", "1", "--json"]
    more = ["--config", '{"max_length": 512}', "--out", str(tmp_path / "run")]
    assert main([*command, *more]) == 0
    printed = msgspec.json.decode(capsys.readouterr().out)
    assert printed["model"] == str(tmp_path / "run/model")
    assert (printed["available"], printed["good"], printed["held_out"]) == (12, 0.5, None)
