from __future__ import annotations

import pytest

from agent_gym_env.errors import JudgeError
from agent_gym_env.optimization.dspy_examples import RecordedTurns
from agent_gym_env.optimization.dspy_metric import RewardMetric
from agent_gym_env.optimization.monitor import Meter, RunAborted

pytest.importorskip("dspy", reason="pip install -e '.[dspy]'")

import dspy

EXAMPLE = dspy.Example(
    turn="1_00000#0", reference_reply="Certainly.", reference_call='{"name": "Buy"}'
)


def played(reward: float | None, reason: str | None = None) -> dspy.Prediction:
    return dspy.Prediction(
        played="1_00000#0",
        response="Hm.",
        tool_calls=[],
        reward=reward,
        components={"words": reward},
        reason=reason,
    )


def metric_of(max_errors: int = 0) -> tuple[RewardMetric, list[tuple[str, float | None]]]:
    told: list[tuple[str, float | None]] = []
    metric = RewardMetric(
        Meter(max_errors), lambda *turn: told.append(turn), RecordedTurns.feedback
    )
    return metric, told


def test_the_metric_is_the_reward_of_the_turn() -> None:
    metric, told = metric_of()
    assert metric(EXAMPLE, played(0.25)) == 0.25
    assert told == [("1_00000#0", 0.25)]


def test_a_program_that_fell_over_earns_nothing_and_is_no_error_of_the_run() -> None:
    metric, told = metric_of()
    assert metric(EXAMPLE, None) == 0.0
    assert metric(EXAMPLE, dspy.Prediction(completion_text="?")) == 0.0
    assert told == []


def test_a_reward_that_is_not_known_is_an_error_of_the_run() -> None:
    metric, told = metric_of(max_errors=1)
    assert metric(EXAMPLE, played(None, "the judge is ill")) == 0.0
    with pytest.raises(RunAborted) as end:
        metric(EXAMPLE, played(None, "the judge is ill"))
    assert isinstance(end.value.__cause__, JudgeError)
    assert str(end.value.__cause__) == "the judge is ill"
    assert told == [("1_00000#0", None)] * 2


def test_feedback_says_what_was_right() -> None:
    metric, _ = metric_of()
    found = metric.with_feedback(EXAMPLE, played(0.25), None, "agent", None)
    assert found.score == 0.25
    assert found.feedback == (
        "The turn earned 0.25 of 1 (words 0.25).\n"
        'Calls made: none. The right call: {"name": "Buy"}.\n'
        "The reply: 'Hm.'. A right reply: 'Certainly.'."
    )


def test_feedback_on_what_cannot_be_read_says_so() -> None:
    metric, _ = metric_of()
    assert "could not be read" in metric.with_feedback(EXAMPLE, None).feedback
