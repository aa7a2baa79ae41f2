from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("trl", reason="needs the extra 'train'")

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM

from agent_gym_env.cli.main import main
from agent_gym_env.errors import DataError
from agent_gym_env.training.config import DPOConfig, TinyConfig
from agent_gym_env.training.dpo import compare_preferences, log_probabilities, train_dpo
from agent_gym_env.training.tiny import make_tiny
from tests.training.first_turns import conversations, pairs, small_model, write

pytestmark = pytest.mark.usefixtures("datasets_cache")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_model(tmp_path_factory.mktemp("model"))


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
    with pytest.raises(DataError, match="no pair has rewards that differ enough"):
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


def test_margins_before_and_after_by_hand() -> None:
    before = np.array([[-10.0, -8.0], [-4.0, -6.0]])
    after = np.array([[-9.0, -10.0], [-4.0, -5.0]])
    report = compare_preferences(before, after, beta=0.5)
    assert report.pairs == 2
    assert (report.margin_before, report.margin_after) == (0.0, 1.0)
    assert (report.accuracy_before, report.accuracy_after) == (0.5, 1.0)
    # The margins gain 3 and -1 nats.
    assert (report.reward_margin, report.reward_accuracy) == (0.5, 0.5)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_log_probabilities_are_the_models_loss(tmp_path: Path, batch_size: int) -> None:
    small = TinyConfig(vocabulary=400, width=32, layers=1, heads=2, convolutions=False)
    make_tiny(tmp_path, msgspec.to_builtins(conversations("train", 2)), small)
    model: Any = AutoModelForCausalLM.from_pretrained(tmp_path)
    pairs = Dataset.from_dict(
        {
            "prompt_ids": [[5, 6, 7], [8], [9, 10]],
            "chosen_ids": [[11, 12], [13, 14, 15], [16]],
            "rejected_ids": [[17], [18, 19], [20, 21, 22]],
        }
    )
    found = log_probabilities(
        model, pairs, ("chosen_ids", "rejected_ids"), pad=0, batch_size=batch_size
    )
    model.eval()
    for row, pair in enumerate(pairs):
        for column, name in enumerate(("chosen_ids", "rejected_ids")):
            ids = torch.tensor([[*pair["prompt_ids"], *pair[name]]])
            labels = ids.clone()
            labels[:, : len(pair["prompt_ids"])] = -100
            loss = model(input_ids=ids, labels=labels).loss
            expected = -float(loss.detach()) * len(pair[name])
            assert found[row, column] == pytest.approx(expected, rel=1e-4)
