"""Progress of long work is shown as bars on a terminal, and as a few lines elsewhere."""

from __future__ import annotations

import re

import pytest

from agent_gym_env.cli.console import phases

TIME = r"\d:\d\d:\d\d"


def test_without_a_terminal_a_line_is_written_for_each_twentieth(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with phases() as shown:
        shown.measured({"loss": 2.34567, "learning_rate": 1e-3})
        for done in range(1, 1001):
            shown.advance("sft", done, 1000)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 20
    assert re.fullmatch(rf"sft: 50 of 1,000, loss 2\.346, {TIME} left", lines[0])
    assert re.fullmatch(rf"sft: 1,000 of 1,000, loss 2\.346, took {TIME}", lines[-1])


def test_measurements_stay_until_there_are_new_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with phases() as shown:
        shown.measured({"loss": 2.0})
        shown.advance("grpo", 1, 3)
        shown.measured({"reward": 0.5})
        shown.advance("grpo", 2, 3)
        shown.measured({"eval_loss": 1.5, "loss": 1.0})
        shown.advance("grpo", 3, 3)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("grpo: 2 of 3, loss 2.000, reward 0.500, ")
    assert lines[1].startswith("grpo: 3 of 3, loss 1.000, reward 0.500, eval loss 1.500, took ")


def test_a_run_that_goes_on_writes_no_lines_for_what_was_done_before(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with phases() as shown:
        for done in range(901, 1001):
            shown.advance("ppo", done, 1000)
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_each_phase_has_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with phases() as shown:
        shown.advance("cloning", 2, 2)
        shown.advance("ppo", 0, 2)
        shown.advance("ppo", 1, 2)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(",")[0] for line in lines] == ["cloning: 2 of 2", "ppo: 1 of 2"]
