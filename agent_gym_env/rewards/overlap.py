"""The plain reward: half for the words of the reply, half for the tool call."""

from __future__ import annotations

from agent_gym_env.corpus.task import RecordedCall
from agent_gym_env.rewards.base import ClosedTurn, Score
from agent_gym_env.rewards.calls import tool_accuracy
from agent_gym_env.types import ToolCall
from agent_gym_env.values.equality import value_text
from agent_gym_env.values.words import words


class GroundTruthReward:
    """``(response_similarity + tool_accuracy) / 2``.

    It pays half for a turn in which no call is due, whatever is said; see `BalancedReward`.
    """

    name = "ground_truth"
    parts: tuple[str, ...] = ("response_similarity", "tool_accuracy")

    def score(self, turn: ClosedTurn) -> Score:
        """Score a turn; both parts always apply."""
        target = turn.target
        similarity = jaccard(turn.text, target.text)
        if target.call is None and not turn.calls:
            accuracy = 1.0  # most turns: not worth a function call
        else:
            accuracy = tool_accuracy(target.call, turn.calls, _agreement)
        return Score(
            (similarity + accuracy) / 2,
            {"response_similarity": similarity, "tool_accuracy": accuracy},
        )


def jaccard(text: str, other: str) -> float:
    """Compare two texts by their sets of words; 1 where neither has any."""
    if text == other:
        return 1.0
    said, expected = set(words(text)), set(words(other))
    common = len(said & expected)
    either = len(said) + len(expected) - common
    return common / either if either else 1.0


def _agreement(expected: RecordedCall, call: ToolCall) -> float:
    if call.arguments == expected.arguments:
        return 1.0
    equal = sum(
        _plain(call.arguments[name]) == _plain(value)
        for name, value in expected.arguments.items()
        if name in call.arguments
    )
    return equal / len(expected.arguments.keys() | call.arguments.keys())


def _plain(value: object) -> str:
    return value_text(value).strip().lower()
