"""The environment's own reward on a turn as DSPy's optimisers take a metric."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agent_gym_env.errors import JudgeError
from agent_gym_env.extras import require
from agent_gym_env.optimization.meter import Meter

require("dspy", extra="dspy")

import dspy  # noqa: E402  (`require` first says where it comes from)

OnTurn = Callable[[str, "float | None"], None]
"""Is told ``dialogue_id#turn`` and its reward."""


class TurnMetric:
    """The reward that the environment gave to a played turn.

    DSPy knows no reward that is not known: such a turn counts 0 in the search, and as an error of
    the run. So does, without being one, a program that fell over.

    Args:
        meter: of the run.
        on_turn: is told each turn that was played.
    """

    def __init__(self, meter: Meter, on_turn: OnTurn) -> None:
        self._meter = meter
        self._on_turn = on_turn

    def __call__(
        self, example: dspy.Example, prediction: dspy.Prediction | None, trace: Any = None
    ) -> float:
        """Give the reward of a turn."""
        if prediction is None or not _is_played(prediction):
            return 0.0
        reward: float | None = prediction.reward
        self._on_turn(example.turn, reward)
        if reward is None:
            self._meter.erred(JudgeError(prediction.reason or "a turn has no reward"))
            return 0.0
        return reward

    def with_feedback(
        self,
        example: dspy.Example,
        prediction: dspy.Prediction | None,
        trace: Any = None,
        predictor_name: str | None = None,
        predictor_trace: Any = None,
    ) -> dspy.Prediction:
        """Give the reward of a turn, and say in words what was right: for GEPA."""
        score = self(example, prediction, trace)
        return dspy.Prediction(score=score, feedback=_feedback(example, prediction, score))


def _is_played(prediction: dspy.Prediction) -> bool:
    """A program that fell over leaves a prediction without a turn in it."""
    return "reward" in prediction


def _feedback(example: dspy.Example, prediction: dspy.Prediction | None, score: float) -> str:
    if prediction is None or not _is_played(prediction):
        return "The output could not be read: give every field of the output, in its form."
    parts = ", ".join(
        f"{name} {value:.2f}" for name, value in prediction.components.items() if value is not None
    )
    made = "; ".join(prediction.tool_calls) or "none"
    return (
        f"The turn earned {score:.2f} of 1 ({parts}).\n"
        f"Calls made: {made}. The right call: {example.reference_call or 'none'}.\n"
        f"The reply: {prediction.response!r}. A right reply: {example.reference_reply!r}."
    )
