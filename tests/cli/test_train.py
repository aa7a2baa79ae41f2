"""``agent-gym train ppo`` on the sample corpus: what it leaves, prints and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("stable_baselines3", reason="the extra sb3 is not installed")
pytest.importorskip("sb3_contrib", reason="the extra sb3 is not installed")

from agent_gym_env.cli.main import main
from agent_gym_env.training import ppo
from agent_gym_env.training.curve import read_curve
from agent_gym_env.training.ppo import train_ppo
from tests.training.small_run import SMALL


def train(out: Path, *options: str, **changes: Any) -> int:
    """Run the command with a configuration that takes a second."""
    config = json.dumps({**SMALL, "total_timesteps": 64, **changes})
    return main(["train", "ppo", "--out", str(out), "--config", config, *options])


def test_it_leaves_policy_curve_and_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path, "--tensorboard") == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert {"policy.npz", "curve.jsonl", "report.html", "checkpoint.npz", "tensorboard"} <= names
    said = capsys.readouterr().out
    turns = read_curve(tmp_path / "curve.jsonl")[-1].reward.count
    assert f"{turns} turns of dev" in said
    assert str(tmp_path / "policy.npz") in said


def test_it_names_the_policy_that_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path, total_timesteps=0) == 0
    assert f"policy: {tmp_path / 'cloned.npz'};" in capsys.readouterr().out
    assert (tmp_path / "cloned.npz").exists()


def test_the_policy_plays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path, cloning={"dialogues": 0}) == 0
    policy = json.dumps({"name": "sb3", "path": str(tmp_path / "policy.npz")})
    capsys.readouterr()
    assert main(["evaluate", "--policy", policy, "--episodes", "2", "--json"]) == 0
    (evaluation,) = json.loads(capsys.readouterr().out)["evaluations"]
    assert evaluation["policy"] == "ppo"


def test_json_is_the_learning_curve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path, "--json", "--no-masked", "--reward", "ground_truth") == 0
    curve = json.loads(capsys.readouterr().out)
    assert [point["stage"] for point in curve] == ["initial", "cloned", "policy"]


def test_it_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    assert train(tmp_path) == 0
    before = (tmp_path / "checkpoint.npz").read_bytes()
    assert train(tmp_path, "--resume") == 0
    assert (tmp_path / "checkpoint.npz").read_bytes() == before


def test_a_run_that_was_stopped_can_be_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped_after(steps: int) -> None:
        def stop(phase: str, done: int, total: int) -> None:
            if phase == "ppo" and done >= steps:
                raise KeyboardInterrupt

        def train_stopped(*arguments: Any, **options: Any) -> Any:
            return train_ppo(*arguments, **{**options, "on_progress": stop})

        monkeypatch.setattr(ppo, "train_ppo", train_stopped)

    stopped_after(64)
    assert train(tmp_path, total_timesteps=192, checkpoint_every=128) == 1
    assert "resume" not in capsys.readouterr().err
    stopped_after(128)
    assert train(tmp_path, total_timesteps=192, checkpoint_every=128) == 3
    assert "stopped; to resume, run the same command with --resume" in capsys.readouterr().err
    monkeypatch.undo()
    assert train(tmp_path, "--resume", total_timesteps=192, checkpoint_every=128) == 0


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--config", '{"gamma": 1.5}'], 2, "--config.gamma: expected a number <= 1.0"),
        (
            ["--config", '{"world": 3}'],
            2,
            "--config.world: expected an object, found",
        ),
        (
            ["--config", '{"stepz": 3}'],
            2,
            "--config: unknown field 'stepz' (did you mean",
        ),
        (["--corpus", "nowhere"], 4, "nowhere"),
        (
            ["--corpus", "nowhere", "--config", '{"world": {"env": {"tools_offered": "all"}}}'],
            4,
            "nowhere",
        ),
    ],
)
def test_what_is_wrong_is_said_and_has_its_exit_code(
    options: list[str], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "ppo", "--out", str(tmp_path / "none"), *options]) == code
    assert said in capsys.readouterr().err


def test_a_checkpoint_of_another_configuration_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path) == 0
    assert train(tmp_path, "--resume", gamma=0.5) == 5
    assert "made with other settings" in capsys.readouterr().err
