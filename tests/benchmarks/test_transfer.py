"""The benchmark of transfer plays what one corpus taught in another corpus or schema."""

from __future__ import annotations

import pytest

from benchmarks.transfer import main

ACTS = ("--understanding", "acts")


def cells(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[list[str]]:
    """Return the cells of the printed rows."""
    assert main([*arguments, "--split", "dev", "--dialogues", "6"]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert len({len(row) for row in table}) == 1
    return table[2:]


def test_each_schema_has_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    variants = ("--schema-variant", "original", "v1")
    rows = cells(capsys, "quiet", "--policy", "silent", "--env", "SGD-v0", *variants)
    assert [row[:3] for row in rows] == [
        ["quiet", "original", "0.000 [0.000, 0.000]"],
        ["quiet", "v1", "0.000 [0.000, 0.000]"],
    ]
    assert [row[-1] for row in rows] == ["6", "6"]


def test_a_policy_that_is_told_acts_plays_where_they_are_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    [row] = cells(capsys, "best", "--policy", "acts-oracle", *ACTS, "--schema-variant", "v1")
    assert row[2] == "1.000 [1.000, 1.000]"
