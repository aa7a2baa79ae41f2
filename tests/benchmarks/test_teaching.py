"""The study of what reinforcement learning gains: its table, and that it goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("sb3_contrib", reason="the extra sb3 is not installed")

from benchmarks.teaching import Played, main, rows, table

QUICK = json.dumps(
    {
        "cloning": {"dialogues": 3, "epochs": 2},
        "evaluation": {"dialogues": 2},
        "total_timesteps": 64,
        "n_envs": 4,
        "n_steps": 16,
        "critic_updates": 0,
        "batch_size": 32,
    }
)


def test_a_study_trains_plays_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--condition", "acts", "--seeds", "2", "--dialogues", "5", "--config", QUICK]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    lines = [line.split(" | ") for line in printed.splitlines()[2:]]
    assert {(line[1], line[2]) for line in lines} == {
        (policy, split) for policy in ("rule", "clone", "trained") for split in ("dev", "test")
    }
    [rule] = [line for line in lines if line[1:3] == ["rule", "dev"]]
    assert rule[4] == "1.000 [1.000, 1.000]"
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.json")}
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == printed
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.json")} == before
    assert all(row["in_train"] == 0 for row in json.loads((tmp_path / "rows.json").read_bytes()))


def played(policy: str, seed: int, strict: list[bool]) -> Played:
    """Four dialogues, the last of which is on unseen services."""
    return Played(
        "acts", seed, policy, "dev", ["a", "b", "c", "d"], strict, strict, [1.0] * 4, [9] * 4,
        [["seen"], ["seen"], ["seen"], ["unseen"]], 3.0, 0,
    )  # fmt: skip


def test_seeds_are_averaged_and_the_gain_is_paired() -> None:
    found = list(
        rows(
            [
                played("clone", 0, [True, False, False, False]),
                played("clone", 1, [True, True, False, False]),
                played("trained", 0, [True, True, True, False]),
                played("trained", 1, [True, True, False, True]),
                played("rule", 0, [True, True, True, True]),
            ]
        )
    )
    clone, trained, rule = found
    assert (clone.strict["all"], clone.strict["unseen"], clone.gain) == (0.375, 0.0, None)
    assert (trained.strict["all"], trained.strict["unseen"], trained.seeds) == (0.75, 0.5, 2)
    assert trained.gain is not None
    assert trained.gain[0] == 0.375
    assert trained.gain[1] <= 0.375 <= trained.gain[2]
    assert trained.lead is not None
    assert trained.lead[0] == -0.25
    assert rule.gain is rule.lead is clone.lead is None
    assert len(list(table(found))) == 5
