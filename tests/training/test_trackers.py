"""Trackers get the measurements of runs, and never end one."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agent_gym_env.training.trackers import GuardedTracker, guarded, open_trackers

KEPT: list[Remember] = []
"""Trackers that were opened by name, in order."""


class Remember:
    """A tracker that keeps what it gets.

    Args:
        settings: settings of the run.
        run: name of the run.
        fails: which of its methods raise.
    """

    def __init__(
        self, settings: dict[str, Any], run: str = "run", fails: tuple[str, ...] = ()
    ) -> None:
        self.run, self.settings, self._fails = run, settings, fails
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.finished = 0
        self._may_fail("open")
        KEPT.append(self)

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        self._may_fail("log")
        self.logged.append((step, dict(figures)))

    def finish(self) -> None:
        self.finished += 1
        self._may_fail("finish")

    def _may_fail(self, method: str) -> None:
        if method in self._fails:
            raise OSError(f"{method}: no space left; token=hf_abcdefghijklmnopqrstuvwx")


NAME = f"{__name__}:Remember"


@pytest.fixture(autouse=True)
def _none_is_kept() -> None:
    KEPT.clear()


def test_figures_reach_each_tracker_and_it_is_finished_once(tmp_path: Path) -> None:
    settings = {"model": "m", "api_key": "sk-1234567890abcdefgh"}
    other = {"name": NAME, "run": "second"}
    with open_trackers([NAME], out=tmp_path / "ppo", settings=settings) as tracker:
        tracker.log(3, {"loss": 0.5, "text": "no number", "done": True})  # type: ignore[dict-item]
    with open_trackers([other], out=tmp_path / "ppo") as tracker:
        tracker.log(0, {})
    first, second = KEPT
    assert first.logged == [(3, {"loss": 0.5})]
    assert (first.run, second.run) == ("ppo", "second")
    assert first.settings == {"model": "m", "api_key": "[redacted]"}
    assert (first.finished, second.finished) == (1, 1)


def test_a_run_that_fails_before_it_measures_leaves_no_record(tmp_path: Path) -> None:
    with pytest.raises(KeyError), open_trackers([NAME], out=tmp_path):
        raise KeyError
    assert KEPT == []


def test_a_run_that_fails_later_is_finished(tmp_path: Path) -> None:
    def run() -> None:
        with open_trackers([NAME], out=tmp_path) as tracker:
            tracker.log(1, {"loss": 1.0})
            raise KeyError

    with pytest.raises(KeyError):
        run()
    assert KEPT[0].finished == 1


@pytest.mark.parametrize("method", ["open", "log", "finish"])
def test_a_tracker_that_fails_is_one_warning_and_the_others_go_on(
    method: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = {"name": NAME, "fails": [method]}
    good = GuardedTracker({"good": Remember({})})
    with caplog.at_level(logging.WARNING), open_trackers([broken], out=tmp_path) as tracker:
        both = GuardedTracker({"broken": tracker, "good": good})
        for step in range(3):
            both.log(step, {"loss": 0.0})
    (record,) = caplog.records
    assert "no space left" in record.getMessage()
    assert "hf_abc" not in record.getMessage()
    assert [step for step, _ in KEPT[0].logged] == [0, 1, 2]


@pytest.mark.parametrize(
    ("config", "problem"),
    [("wandbb", "did you mean 'wandb'"), ({"name": NAME, "projekt": "x"}, "projekt")],
)
def test_a_mistake_in_a_name_is_found_before_the_run(
    config: Any, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=problem), open_trackers([config], out=tmp_path):
        pytest.fail("it must not begin")


def test_no_tracker_does_nothing() -> None:
    nothing = guarded(None)
    nothing.log(0, {"loss": 1.0})
    nothing.finish()
    assert guarded(nothing) is nothing


def test_tensorboard_reads_what_was_sent(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: extra sb3")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with open_trackers(["tensorboard"], out=tmp_path) as tracker:
        tracker.log(3, {"loss": 0.5})
        tracker.log(4, {"loss": 0.25})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    (tag,) = events.Tags()["tensors"]
    assert tag == "loss"
    assert [event.step for event in events.Tensors("loss")] == [3, 4]
    assert [event.tensor_proto.float_val[0] for event in events.Tensors("loss")] == [0.5, 0.25]


def test_ppo_sends_each_update_and_the_learning_curve(tmp_path: Path) -> None:
    pytest.importorskip("sb3_contrib", reason="the extra sb3 is not installed")
    from agent_gym_env.cli.main import main
    from tests.training.small_run import SMALL

    config = json.dumps({**SMALL, "total_timesteps": 128})
    track = json.dumps({"name": NAME, "run": "tiny"})
    arguments = ["train", "ppo", "--out", str(tmp_path), "--config", config, "--track", track]
    assert main(arguments) == 0
    (kept,) = KEPT
    steps = [step for step, _ in kept.logged]
    assert steps == sorted(steps)
    names = {name for _, figures in kept.logged for name in figures}
    assert {
        "initial/reward",
        "cloned/reward",
        "policy/reward",
        "loss",
        "train/entropy_loss",
    } <= names
    assert kept.settings["total_timesteps"] == 128
    assert kept.finished == 1


def test_a_training_does_not_end_with_its_tracker(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("sb3_contrib", reason="the extra sb3 is not installed")
    from agent_gym_env.training.ppo import train_ppo
    from tests.training.small_run import small

    broken = Remember({}, fails=("log", "finish"))
    train_ppo(small(total_timesteps=64), out=tmp_path / "run", tracker=broken)
    assert [record.name for record in caplog.records] == ["agent_gym_env.training.trackers"]
    assert (tmp_path / "run" / "policy.npz").exists()


def test_an_evaluation_sends_the_rewards_of_each_policy(tmp_path: Path) -> None:
    from agent_gym_env.cli.main import main

    policies = ["--policy", "oracle", "--policy", "silent", "--episodes", "2"]
    assert main(["evaluate", *policies, "--track", NAME, "--out", str(tmp_path / "dev")]) == 0
    (kept,) = KEPT
    oracle, silent = (figures for _, figures in kept.logged)
    assert oracle == {"oracle/balanced": 1.0, "oracle/episodes": 2.0}
    assert silent["silent/balanced"] < 1.0
    assert (kept.run, kept.settings["split"], kept.finished) == ("dev", "dev", 1)
