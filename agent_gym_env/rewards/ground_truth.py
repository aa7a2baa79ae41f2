"""The reward ``ground_truth``: half for the words of the reply, half for the tool calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import fsum

from agent_gym_env.corpus.task import RecordedCall
from agent_gym_env.rewards.base import ClosedTurn, Score
from agent_gym_env.rewards.matching import best_matching
from agent_gym_env.types import ToolCall
from agent_gym_env.values.equality import value_text
from agent_gym_env.values.words import words

Agreement = Callable[[RecordedCall, ToolCall], float]
"""Returns the share of the arguments of two calls of a tool that are equal, in [0, 1]."""


class GroundTruthReward:
    """``(response_similarity + tool_accuracy) / 2``.

    A turn in which no call is due earns a half, whatever is said; see `BalancedReward`.
    """

    name = "ground_truth"
    parts: tuple[str, ...] = ("response_similarity", "tool_accuracy")

    def score(self, turn: ClosedTurn) -> Score:
        """Score a turn; both parts always apply."""
        target = turn.target
        similarity = jaccard(turn.text, target.text)
        if target.call is None and not turn.calls:
            accuracy = 1.0  # most turns; this saves a function call
        else:
            accuracy = tool_accuracy(target.calls, turn.calls, _agreement)
        return Score(
            (similarity + accuracy) / 2,
            {"response_similarity": similarity, "tool_accuracy": accuracy},
        )


def jaccard(text: str, other: str) -> float:
    """Return the Jaccard index of two texts' sets of words, in [0, 1]; 1 if neither has words."""
    if text == other:
        return 1.0
    said, expected = set(words(text)), set(words(other))
    common = len(said & expected)
    either = len(said) + len(expected) - common
    return common / either if either else 1.0


def tool_accuracy(
    expected: Sequence[RecordedCall], made: Sequence[ToolCall], agreement: Agreement
) -> float:
    """Return the score of a turn's tool calls, in [0, 1].

    Expected and made calls are matched one to one, as well as can be. The sum of the scores is
    divided by the larger number of calls.

    Args:
        expected: calls that the corpus made; empty if no call is due.
        made: calls of the agent.
        agreement: compares two calls of the same tool.
    """
    if not expected or not made:
        return 1.0 if not expected and not made else 0.0
    if len(expected) == len(made) == 1:
        return _call_accuracy(expected[0], made[0], agreement)
    if len(expected) == 1:
        return max([_call_accuracy(expected[0], call, agreement) for call in made]) / len(made)
    scores = [[_call_accuracy(due, call, agreement) for call in made] for due in expected]
    if len(scores) > len(made):
        scores = [list(column) for column in zip(*scores, strict=True)]
    # An exact sum: recorded calls in any order give exactly 1.
    found = fsum(scores[row][column] for row, column in best_matching(scores))
    return found / max(len(expected), len(made))


def _call_accuracy(expected: RecordedCall, call: ToolCall, agreement: Agreement) -> float:
    return 0.5 + 0.5 * agreement(expected, call) if call.name == expected.name else 0.0


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
