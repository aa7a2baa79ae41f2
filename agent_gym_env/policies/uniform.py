"""The policy of random well-formed actions: a lower bound for policies that learn."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from agent_gym_env.chat import functions_of
from agent_gym_env.types import Action, AtLeast0, Observation, ToolCall

_WORD = re.compile(r"[\w']+")


class UniformPolicy:
    """Draws actions from a fixed distribution over the tools and words of the observation.

    With ``call_probability`` (0 if there are no tools) the action is a call without text:

    - the tool is uniform among the tools of the observation;
    - it has every required argument, and each optional one with probability 1/2;
    - a value is uniform among the allowed values, if the schema lists them. Otherwise it is a run
      of one to three words of the user, uniform in length and place.

    Else the action is a text of 1 to ``max_words`` words, each uniform among the words so far.

    Args:
        call_probability: probability of a call, in [0, 1].
        max_words: largest number of words in a text, at least 1.
        seed: seed of the draws until `reset` gets one.

    Raises:
        ValueError: an argument is out of range.
    """

    name = "uniform"

    def __init__(
        self, *, call_probability: float = 0.5, max_words: int = 12, seed: AtLeast0 | None = None
    ) -> None:
        if not 0 <= call_probability <= 1:
            raise ValueError(f"call_probability must lie in [0, 1], not {call_probability}")
        if max_words < 1:
            raise ValueError(f"max_words must be at least 1, not {max_words}")
        self.call_probability = call_probability
        self.max_words = max_words
        self._random = np.random.default_rng(seed)

    def reset(self, *, seed: int | None = None) -> None:
        """Begin an episode. Without a seed the sequence of draws continues."""
        if seed is not None:
            self._random = np.random.default_rng(seed)

    def act(self, observation: Observation) -> Action:
        """Return a random action."""
        messages = msgspec.json.decode(observation["messages"])
        tools = msgspec.json.decode(observation["tools"])
        if tools and self._random.random() < self.call_probability:
            function = functions_of(tools)[self._random.integers(len(tools))]
            return Action(tool_calls=(self._call(function, _words_of(messages, "user")),))
        return Action(text=self._text(_words_of(messages, "user", "assistant")))

    def _call(self, function: Mapping[str, Any], words: list[str]) -> ToolCall:
        parameters = function["parameters"]
        arguments = {
            name: self._value(schema, words)
            for name, schema in parameters["properties"].items()
            if name in parameters.get("required", ()) or self._random.random() < 0.5
        }
        return ToolCall(name=function["name"], arguments=arguments)

    def _value(self, schema: Mapping[str, Any], words: list[str]) -> Any:
        allowed = schema.get("enum")
        if isinstance(allowed, list) and allowed:
            return allowed[self._random.integers(len(allowed))]
        start = self._random.integers(max(len(words), 1))
        return " ".join(words[start : start + self._random.integers(1, 4)]) or "anything"

    def _text(self, words: list[str]) -> str:
        if not words:
            return "Hello"
        drawn = self._random.integers(len(words), size=self._random.integers(1, self.max_words + 1))
        return " ".join(words[index] for index in drawn)


def _words_of(messages: list[dict[str, Any]], *roles: str) -> list[str]:
    return [
        word
        for message in messages
        if message["role"] in roles
        for word in _WORD.findall(message.get("content") or "")
    ]
