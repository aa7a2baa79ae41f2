"""The environment's reward of a played example, as a metric for DSPy's optimisers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agent_gym_env.errors import JudgeError
from agent_gym_env.extras import require
from agent_gym_env.optimization.monitor import Meter

require("dspy", extra="dspy")

import dspy  # noqa: E402  (`require` names the extra if it is missing)

OnScored = Callable[[str, "float | None"], None]
"""Called with the name of an example and its reward."""

Feedback = Callable[[dspy.Example, "dspy.Prediction | None", float], str]
"""Describes in words how an example went, from the example, what was played and its score."""


class RewardMetric:
    """The environment's reward of a played example, as a metric for DSPy's optimisers.

    DSPy has no unknown rewards: such an example counts as 0 in the search, and as an error of the
    run. An example in which the program itself failed counts as 0, and not as an error of the run.

    Args:
        meter: meter of the run.
        on_scored: called with each played example.
        feedback: describes a played example in words.
    """

    def __init__(self, meter: Meter, on_scored: OnScored, feedback: Feedback) -> None:
        self._meter = meter
        self._on_scored = on_scored
        self._feedback = feedback

    def __call__(
        self, example: dspy.Example, prediction: dspy.Prediction | None, trace: Any = None
    ) -> float:
        """Return the reward of an example."""
        # A program that failed leaves no prediction, or another one.
        if prediction is None or "reward" not in prediction:
            return 0.0
        reward: float | None = prediction.reward
        self._on_scored(prediction.played, reward)
        if reward is None:
            self._meter.record_error(JudgeError(prediction.reason or "there is no reward"))
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
        """Return the reward of an example and a description of how it went, for GEPA."""
        score = self(example, prediction, trace)
        return dspy.Prediction(score=score, feedback=self._feedback(example, prediction, score))
