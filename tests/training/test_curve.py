"""A learning curve is a line for each point, and other files are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent_gym_env.errors import DataError
from agent_gym_env.evaluation.statistics import Estimate
from agent_gym_env.training.curve import CurvePoint, read_curve, write_curve

CURVE = [
    CurvePoint("initial", 0, 0.0, Estimate(0.125, 0.1, 0.15, count=40)),
    CurvePoint("policy", 4096, 12.5, Estimate(0.375, 0.3, 0.45, count=40)),
]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "run" / "curve.jsonl"
    write_curve(path, CURVE)
    assert len(path.read_text().splitlines()) == 2
    assert read_curve(path) == CURVE


@pytest.mark.parametrize("content", ["{", '{"stage": "late"}', '{"stage": "policy", "steps": "x"}'])
def test_a_file_that_is_not_a_curve_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "curve.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match=r"not a learning curve: .*curve\.jsonl"):
        read_curve(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read: No such file"):
        read_curve(tmp_path / "none.jsonl")
