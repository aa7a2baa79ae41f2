"""A conversation as a vector of numbers."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agent_gym_env.chat import (
    ConversationReader,
    ReadFunction,
    ReadMessage,
    read_functions,
    read_result,
)
from agent_gym_env.encoders.text import CachedEncoder, Encoder, HashingEncoder
from agent_gym_env.types import Observation

Vector = NDArray[np.float32]

DEFAULT_DIM = 64
"""Length of an encoded text by default."""

TEXTS = ("user", "reply", "asked", "filled", "offered", "result", "tools")
"""Texts of a conversation that are encoded, see `ConversationState`; ``tools`` are its tools."""

FLAGS = (
    "after_a_call", "success", "failure", "error", "no_row", "one_row", "rows",
    "calls_in_turn", "calls", "turns", "user_asks", "agent_asked", "asked", "filled", "offered",
    "tools",
)  # fmt: skip
"""Facts about a conversation, each a number in [0, 1]."""

_MOST_QUESTIONS = 4
_QUESTION = re.compile(r"[^.?!]*\?")
_IDENTIFIER_GAP = re.compile(r"[_\-]+|(?<=[a-z])(?=[A-Z])")


class ConversationState:
    """Words, questions, arguments and results of a conversation, updated by each message.

    Attributes:
        user: last words of the user.
        reply: last words of the agent.
        asked: last questions of the agent.
        filled: latest value of each argument of all calls, by name.
        offered: values of the last result's rows that the agent has said, by name.
        rows: rows of the last result.
        status: status of the last result; ``""`` before the first call.
        made: all calls, each as the name of its tool and its arguments in JSON.
        calls: number of calls.
        calls_in_turn: number of calls in the open turn.
        turns: number of closed turns of the agent.
    """

    def __init__(self) -> None:
        self.user = self.reply = self.status = ""
        self.asked: list[str] = []
        self.made: set[str] = set()
        self.filled: dict[str, str] = {}
        self.offered: dict[str, str] = {}
        self.rows: Sequence[dict[str, str]] = ()
        self.calls = self.calls_in_turn = self.turns = 0

    def add(self, message: ReadMessage) -> None:
        """Update the state with the next message."""
        if message.role == "user":
            self.user = message.content or ""
            self.calls_in_turn = 0
        elif message.role == "tool":
            self._add_result(message.content or "{}")
        elif message.tool_calls:
            self._add_calls(message.calls)
        else:
            self._add_reply(message.content or "")

    def _add_calls(self, calls: Sequence[ReadFunction]) -> None:
        self.calls += len(calls)
        self.calls_in_turn += len(calls)
        for call in calls:
            self.made.add(f"{call.name} {call.arguments}")
            arguments = call.decoded_arguments()
            self.filled.update((name, str(value)) for name, value in arguments.items())

    def _add_result(self, content: str) -> None:
        result = read_result(content)
        self.status = result.status
        self.rows = tuple(result.rows())
        self.offered = {}

    def _add_reply(self, text: str) -> None:
        self.turns += 1
        self.reply = text
        if "?" in text:
            self.asked = [*self.asked, *_QUESTION.findall(text)][-_MOST_QUESTIONS:]
        said = text.lower()
        for row in self.rows:
            self.offered.update(
                (name, value) for name, value in row.items() if value.lower() in said
            )


class ConversationEncoder:
    """Encodes an observation as one vector: encoded texts, then facts.

    Each of the seven `TEXTS` (the user's words, the last reply, the tools, …) takes ``encoder.dim``
    numbers, scaled to length 1, and each fact of `FLAGS` takes one. By default that makes
    7 * 64 + 16 = 464. All numbers lie in [-1, 1]. The vector depends on the observation alone.

    Attributes:
        encoder: encoder of texts.
        state: state of the conversation that was encoded last.
        dim: length of the vector.

    Examples:
        >>> observation = {"user": "Tea?", "tool_result": "", "tools": "[]",
        ...                "messages": '[{"role":"user","content":"Tea?"}]'}
        >>> ConversationEncoder().encode(observation).shape
        (464,)

    Args:
        encoder: encoder of texts; by default a `HashingEncoder`.
    """

    def __init__(self, encoder: Encoder | None = None) -> None:
        texts = HashingEncoder(DEFAULT_DIM) if encoder is None else encoder
        self.encoder = texts if isinstance(texts, CachedEncoder) else CachedEncoder(texts)
        self.state = ConversationState()
        self._reader = ConversationReader(lambda _: ConversationState(), ConversationState.add)
        self.dim = len(TEXTS) * texts.dim + len(FLAGS)

    def encode(self, observation: Observation) -> Vector:
        """Encode an observation of ``SGD-v0``.

        Returns:
            float32, shape ``(dim,)``.
        """
        state = self.state = self._reader.read(observation["messages"])
        tools, tools_on_offer = _described(observation["tools"])
        texts = (
            state.user,
            state.reply,
            " ".join(state.asked),
            _written(state.filled),
            _written(state.offered),
            _written(state.rows[0]) if state.rows else "",
            tools,
        )
        encoded = unit_length(self.encoder.encode(texts))
        return np.concatenate((encoded.ravel(), _facts(state, tools_on_offer)))


def unit_length(vectors: Vector) -> Vector:
    """Return rows scaled to length 1; rows of zeros stay zero."""
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    norms[norms == 0] = 1.0
    scaled: Vector = vectors / norms[:, None]
    return scaled


def _facts(state: ConversationState, tools: int) -> Vector:
    rows = len(state.rows)
    facts = (
        state.calls_in_turn > 0,
        state.status == "success",
        state.status == "failure",
        state.status == "error",
        state.status != "" and rows == 0,
        rows == 1,
        min(math.log1p(rows) / 3, 1.0),
        min(state.calls_in_turn / 4, 1.0),
        min(state.calls / 8, 1.0),
        min(state.turns / 16, 1.0),
        "?" in state.user,
        "?" in state.reply,
        min(len(state.asked) / _MOST_QUESTIONS, 1.0),
        min(len(state.filled) / 8, 1.0),
        min(len(state.offered) / 8, 1.0),
        min(tools / 16, 1.0),
    )
    return np.array(facts, np.float32)


def _written(slots: dict[str, str]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in slots.items())


@functools.lru_cache(maxsize=256)
def _described(tools: str) -> tuple[str, int]:
    """Return the words of the tools, and their number."""
    functions = read_functions(tools)
    words = (f"{in_words(function.name)}: {function.description}" for function in functions)
    return ". ".join(words), len(functions)


def in_words(identifier: str) -> str:
    """Return an identifier as words: ``Teas_1-FindTea`` becomes ``Teas 1 Find Tea``."""
    return _IDENTIFIER_GAP.sub(" ", identifier)
