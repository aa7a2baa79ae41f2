"""The leaderboard: a row for each policy and split, which holds its own command."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from benchmarks.leaderboard import main, read_rows


def test_rows_are_played_replaced_and_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "leaderboard.json"), "play"]
    some = ["--dialogues", "6", "--split", "dev"]
    assert main([*out, "silent", "--policy", "silent", *some]) == 0
    oracle = ["acts oracle", "--policy", "acts-oracle", "--privileged", "--simulated-only"]
    assert main([*out, *oracle, "--env", '{"understanding": "acts"}', *some]) == 0
    silent, best = read_rows(tmp_path / "leaderboard.json")
    assert (silent.strict.mean, best.strict.mean) == (0.0, 1.0)
    assert silent.balanced is not None
    assert best.balanced is None
    assert silent.dialogues == best.dialogues == 6
    assert silent.corpus == best.corpus
    assert main(shlex.split(silent.command)) == 0
    assert [row.name for row in read_rows(tmp_path / "leaderboard.json")] == [
        "acts oracle",
        "silent",
    ]
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert lines[-2].startswith("| acts oracle * | 1.000 [1.000, 1.000] |")
    assert lines[-1].startswith("| silent | 0.000 [0.000, 0.000] |")


def test_a_leaderboard_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    assert read_rows(tmp_path / "none.json") == []
