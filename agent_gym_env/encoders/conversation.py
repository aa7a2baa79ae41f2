"""A conversation in numbers: what the next decision needs to know of it."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agent_gym_env.chat import (
    ReadFunction,
    ReadMessage,
    goes_on,
    new_messages,
    read_functions,
    read_result,
    without_bracket,
)
from agent_gym_env.encoders.base import Encoder
from agent_gym_env.encoders.cached import CachedEncoder
from agent_gym_env.encoders.hashing import HashingEncoder
from agent_gym_env.types import Observation

Vector = NDArray[np.float32]

DEFAULT_DIM = 64
"""Length of an encoded text; a vector has `TEXTS` of them."""

TEXTS = ("user", "reply", "asked", "filled", "offered", "result", "tools")
"""The texts of a conversation that are encoded; `ConversationState` says what each one is."""

FLAGS = (
    "after_a_call", "success", "failure", "error", "no_row", "one_row", "rows",
    "calls_in_turn", "calls", "turns", "user_asks", "agent_asked", "asked", "filled", "offered",
    "tools",
)  # fmt: skip
"""Facts of a conversation, each as a number in [0, 1]."""

_MOST_QUESTIONS = 4
_QUESTION = re.compile(r"[^.?!]*\?")
_IDENTIFIER_GAP = re.compile(r"[_\-]+|(?<=[a-z])(?=[A-Z])")


class ConversationState:
    """What has been said, asked, filled and offered, kept up to date message by message.

    Attributes:
        user: the user's last words.
        reply: the agent's words before them.
        asked: the agent's last questions.
        filled: value by name of every argument of a call so far, the latest one of each name.
        offered: value by name of what the agent has said of the last result's rows.
        rows: of the last result.
        status: of the last result; ``""`` where no call was made yet.
        made: each call so far, as its tool's name and its arguments in JSON.
        calls: how many were made.
        calls_in_turn: how many in the open turn.
        turns: how many of the agent's have closed.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._read = ""
        self.user = self.reply = self.status = ""
        self.asked: list[str] = []
        self.made: set[str] = set()
        self.filled: dict[str, str] = {}
        self.offered: dict[str, str] = {}
        self.rows: Sequence[dict[str, str]] = ()
        self.calls = self.calls_in_turn = self.turns = 0

    def read(self, messages: str) -> None:
        """Take in a conversation; of one that goes on from the last, only what is new.

        Args:
            messages: of an observation.
        """
        if not goes_on(self._read, messages):
            self._begin()
        for message in new_messages(messages, self._read):
            self._take(message)
        self._read = without_bracket(messages)

    def _take(self, message: ReadMessage) -> None:
        if message.role == "user":
            self.user = message.content or ""
            self.calls_in_turn = 0
        elif message.role == "tool":
            self._take_result(message.content or "{}")
        elif message.tool_calls:
            self._take_calls(message.calls)
        else:
            self._take_reply(message.content or "")

    def _take_calls(self, calls: Sequence[ReadFunction]) -> None:
        self.calls += len(calls)
        self.calls_in_turn += len(calls)
        for call in calls:
            self.made.add(f"{call.name} {call.arguments}")
            arguments = call.decoded_arguments()
            self.filled.update((name, str(value)) for name, value in arguments.items())

    def _take_result(self, content: str) -> None:
        result = read_result(content)
        self.status = result.status
        self.rows = result.results or ()
        self.offered = {}

    def _take_reply(self, text: str) -> None:
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
    """Turns an observation into one vector: encoded texts, then facts.

    Each text of `TEXTS` takes ``encoder.dim`` numbers, scaled to length 1, and each fact of `FLAGS`
    one; every number lies in [-1, 1]. It is a function of the observation alone; that it remembers
    the conversation so far only makes it faster.

    Examples:
        >>> observation = {"user": "Tea?", "tool_result": "", "tools": "[]",
        ...                "messages": '[{"role":"user","content":"Tea?"}]'}
        >>> ConversationEncoder().encode(observation).shape
        (464,)

    Args:
        encoder: of texts; by default a `HashingEncoder`.
    """

    def __init__(self, encoder: Encoder | None = None) -> None:
        texts = HashingEncoder(DEFAULT_DIM) if encoder is None else encoder
        self.encoder = texts if isinstance(texts, CachedEncoder) else CachedEncoder(texts)
        self.state = ConversationState()
        self.dim = len(TEXTS) * texts.dim + len(FLAGS)

    def encode(self, observation: Observation) -> Vector:
        """Encode an observation of ``SGD-v0``.

        Returns:
            float32, shape ``(dim,)``.
        """
        state = self.state
        state.read(observation["messages"])
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
    """Scale rows to length 1, or leave them zero."""
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
    """Write the tools on offer in words, with their number."""
    functions = read_functions(tools)
    words = (f"{in_words(function.name)}: {function.description}" for function in functions)
    return ". ".join(words), len(functions)


def in_words(identifier: str) -> str:
    """Cut an identifier into words: ``Teas_1-FindTea`` becomes ``Teas 1 Find Tea``."""
    return _IDENTIFIER_GAP.sub(" ", identifier)
