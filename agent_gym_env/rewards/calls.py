"""How well the tool calls of a turn match the one that the corpus made."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agent_gym_env.corpus.task import RecordedCall
from agent_gym_env.types import ToolCall

Agreement = Callable[[RecordedCall, ToolCall], float]
"""For two calls of one tool, the share of their arguments that are equal; 1 without arguments."""


def tool_accuracy(
    expected: RecordedCall | None, made: Sequence[ToolCall], agreement: Agreement
) -> float:
    """Score the calls of a turn, in [0, 1].

    The corpus makes one call a turn at most, so that the best one-to-one matching is the best of
    the calls made; it is divided by their number.
    """
    if expected is None or not made:
        return 1.0 if expected is None and not made else 0.0
    if len(made) == 1:
        return _call_accuracy(expected, made[0], agreement)
    return max([_call_accuracy(expected, call, agreement) for call in made]) / len(made)


def _call_accuracy(expected: RecordedCall, call: ToolCall, agreement: Agreement) -> float:
    return 0.5 + 0.5 * agreement(expected, call) if call.name == expected.name else 0.0
