from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("trl", reason="needs the extra 'train'")

from agent_gym_env.cli.main import main
from agent_gym_env.errors import DataError
from agent_gym_env.training.dpo import train_dpo
from agent_gym_env.training.dpo_config import DPOConfig
from agent_gym_env.training.tiny import make_tiny
from agent_gym_env.training.tiny_config import TinyConfig
from tests.training.first_turns import conversations, pairs, write

pytestmark = pytest.mark.usefixtures("datasets_cache")

SMALL = TinyConfig(
    vocabulary=500, width=32, layers=1, heads=2, context=512, result_characters=60, practice=0
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    make_tiny(folder, msgspec.to_builtins(conversations("train", 4)), SMALL)
    return str(folder)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = msgspec.to_builtins(pairs("train", 6, ("silent",)))
    return found[:10]


def config(model: str, rows: str, **changes: Any) -> DPOConfig:
    settings = {
        "model": model,
        "rows": [rows],
        "max_length": 512,
        "batch_size": 4,
        "max_steps": 1,
        "log_every": 1,
        "eval_every": 1,
    }
    return msgspec.convert({**settings, **changes}, DPOConfig)


def read(path: Path) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


def test_what_is_left_out_is_reported_and_the_loss_is_a_number(
    tmp_path: Path, model: str, rows: list[dict[str, Any]]
) -> None:
    long = {**rows[2], "chosen": [{"role": "assistant", "content": "word " * 600}]}
    changed = [{**rows[0], "margin": None}, {**rows[1], "margin": 0.01}, long, *rows[3:]]
    path = write(tmp_path / "rows.jsonl", changed)
    train_dpo(config(model, path, min_margin=0.1), out=tmp_path / "run")
    report = msgspec.json.decode((tmp_path / "run/report.json").read_bytes())
    # One batch of four, of the seven that are left.
    assert (report["steps"], report["pairs"], report["available"]) == (1, 4, 7)
    assert report["tokens"] > 8
    shares = [report[name] for name in ("unscored", "close", "long")]
    assert shares == [pytest.approx(0.1)] * 3
    assert report["held_out"] is None
    assert math.isfinite(read(tmp_path / "run/metrics.jsonl")[0]["loss"])


def test_pairs_without_rewards_are_kept_where_that_is_wanted(
    tmp_path: Path, model: str, rows: list[dict[str, Any]]
) -> None:
    path = write(tmp_path / "rows.jsonl", [{**row, "margin": None} for row in rows])
    with pytest.raises(DataError, match="no pair is scored and apart enough"):
        train_dpo(config(model, path), out=tmp_path / "a")
    train_dpo(config(model, path, keep_unscored=True), out=tmp_path / "b")
    assert msgspec.json.decode((tmp_path / "b/report.json").read_bytes())["available"] == 10


def test_no_pair_that_fits_is_refused(
    tmp_path: Path, model: str, rows: list[dict[str, Any]]
) -> None:
    path = write(tmp_path / "rows.jsonl", rows)
    with pytest.raises(DataError, match="at most max_length=8 tokens"):
        train_dpo(config(model, path, max_length=8), out=tmp_path / "run")


def test_our_margin_is_the_one_that_trl_measures(
    tmp_path: Path, model: str, rows: list[dict[str, Any]]
) -> None:
    path = write(tmp_path / "rows.jsonl", rows)
    held_out = write(tmp_path / "held_out.jsonl", rows[:4])
    settings = config(model, path, held_out=[held_out], learning_rate=1e-2, imitation=0.0)
    train_dpo(settings, out=tmp_path / "run")
    found = msgspec.json.decode((tmp_path / "run/report.json").read_bytes())["held_out"]
    (by_trl,) = (
        line for line in read(tmp_path / "run/metrics.jsonl") if "eval_rewards/margins" in line
    )
    assert found["pairs"] == 4
    assert found["reward_margin"] == pytest.approx(by_trl["eval_rewards/margins"], abs=1e-4)
    gained = 0.1 * (found["margin_after"] - found["margin_before"])
    assert found["reward_margin"] == pytest.approx(gained)


def test_the_command_trains_and_reports(
    tmp_path: Path, model: str, rows: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "rows.jsonl", rows)
    command = ["train", "dpo", path, "--model", model, "--max-steps", "1", "--json"]
    more = ["--config", '{"max_length": 512}', "--out", str(tmp_path / "run")]
    assert main([*command, *more]) == 0
    captured = capsys.readouterr()
    printed = msgspec.json.decode(captured.out)
    assert printed["model"] == str(tmp_path / "run/model")
    assert (printed["pairs"], printed["available"]) == (8, 10)
    assert "dpo: 1 of 1, " in captured.err
