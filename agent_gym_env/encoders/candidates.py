"""Candidate actions as rows of numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec
import numpy as np

from agent_gym_env.encoders.conversation import ConversationState, Vector, in_words, unit_length
from agent_gym_env.encoders.text import CachedEncoder
from agent_gym_env.types import Action, Observation, ToolCall

FACTS = (
    "exists", "is_call", "is_first_of_kind", "score", "rank", "length", "asks", "user_words",
    "result_words", "repeats",
)  # fmt: skip
"""Facts about a candidate, each a number in [-1, 1]."""

_LONG = 24
"""Words of a reply, or four times the arguments of a call, at which ``length`` is 1."""

_MOST_REMEMBERED = 1 << 16
"""Largest number of replies whose words are kept."""

_WORD = re.compile(r"\w+")
_encode_json = msgspec.json.Encoder().encode


class Candidate(Protocol):
    """An action that could be taken, with its score."""

    @property
    def action(self) -> Action:
        """Action: a call without text, or a text without a call."""

    @property
    def score(self) -> float:
        """Number in [0, 1], comparable among candidates of one kind."""


class CandidateSource(Protocol):
    """Proposes actions for a conversation."""

    def candidates(self, observation: Observation, most: int) -> Sequence[Candidate]:
        """Return at most ``most`` actions, the best first.

        They depend on the observation alone. The recorded answer is not part of it, so it is among
        them only if the source would have proposed it anyway.
        """


class _Described(NamedTuple):
    """The parts of an action's description that do not depend on the conversation.

    Attributes:
        is_call: whether the action is a call.
        key: equal for equal actions.
        text: text to be encoded.
        words: words of the reply, or of the values of the call.
        length: number in [0, 1].
        asks: whether the reply contains a question.
    """

    is_call: bool
    key: str
    text: str
    words: frozenset[str]
    length: float
    asks: bool


class CandidateEncoder:
    """Encodes candidates as rows of numbers: facts, then the encoded words of the action.

    All numbers lie in [-1, 1]. Rows without a candidate are zero.

    Args:
        encoder: encoder of texts.
        k: number of rows.
    """

    def __init__(self, encoder: CachedEncoder, k: int) -> None:
        self.k = k
        self.width = len(FACTS) + encoder.dim
        self._encoder = encoder
        self._known: dict[str, _Described] = {}

    def encode(self, state: ConversationState, candidates: Sequence[Candidate]) -> Vector:
        """Encode candidates.

        Args:
            state: state of the conversation.
            candidates: at most ``k`` candidates, the best of each kind first.

        Returns:
            float32, shape ``(k, width)``.
        """
        rows = np.zeros((self.k, self.width), np.float32)
        if not candidates:
            return rows
        described = [self._describe(candidate.action) for candidate in candidates]
        user_words = frozenset(_words(state.user))
        result_words = frozenset(_words(" ".join(state.rows[0].values()))) if state.rows else ()
        first_call = next((place for place, each in enumerate(described) if each.is_call), -1)
        first_reply = next((place for place, each in enumerate(described) if not each.is_call), -1)
        for place, each in enumerate(described):
            size = len(each.words) or 1
            rows[place, : len(FACTS)] = (
                1.0,
                each.is_call,
                place in (first_call, first_reply),
                candidates[place].score,
                1.0 / (1 + place),
                each.length,
                each.asks,
                len(each.words & user_words) / size,
                len(each.words.intersection(result_words)) / size,
                each.key == state.reply or each.key in state.made,
            )
        texts = [each.text for each in described]
        rows[: len(candidates), len(FACTS) :] = unit_length(self._encoder.encode(texts))
        return rows

    def _describe(self, action: Action) -> _Described:
        if action.tool_calls:
            return _described_call(action.tool_calls[0])
        known = self._known.get(action.text)
        if known is None:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            known = self._known[action.text] = _described_reply(action.text)
        return known


def _described_call(call: ToolCall) -> _Described:
    values = " ".join(map(str, call.arguments.values()))
    return _Described(
        is_call=True,
        key=f"{call.name} {_encode_json(call.arguments).decode()}",
        text=f"{in_words(call.name)} {' '.join(map(in_words, call.arguments))}",
        words=frozenset(_words(values)),
        length=min(4 * len(call.arguments) / _LONG, 1.0),
        asks=False,
    )


def _described_reply(text: str) -> _Described:
    words = _words(text)
    return _Described(
        is_call=False,
        key=text,
        text=text,
        words=frozenset(words),
        length=min(len(words) / _LONG, 1.0),
        asks="?" in text,
    )


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
