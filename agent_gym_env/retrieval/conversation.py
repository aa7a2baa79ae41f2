"""From the messages of an observation to the state of its conversation."""

from __future__ import annotations

from collections import OrderedDict

from agent_gym_env.chat import (
    ReadFunction,
    ReadMessage,
    goes_on,
    new_messages,
    read_result,
    without_bracket,
)
from agent_gym_env.retrieval.listening import hear
from agent_gym_env.retrieval.offer import Offer
from agent_gym_env.retrieval.questions import Decide
from agent_gym_env.retrieval.state import State
from agent_gym_env.retrieval.vocabulary import Vocabulary
from agent_gym_env.types import Observation
from agent_gym_env.values.equality import value_text

_REMEMBERED = 256
"""Conversations that may take turns without being read again from their begin."""

_OFFERS = 512


class Conversations:
    """Follows conversations, reading each message once where they go on from the last time.

    What it remembers saves time and changes no answer: a state depends on the messages alone.

    Args:
        vocabulary: what is known of words.
        decide: answers the questions of listening.
        today: the day of the conversations, ISO.
    """

    def __init__(self, vocabulary: Vocabulary, decide: Decide, today: str) -> None:
        self._vocabulary = vocabulary
        self._decide = decide
        self._today = today
        self._offers: OrderedDict[str, Offer] = OrderedDict()
        self._states: OrderedDict[tuple[str, str], State] = OrderedDict()

    def follow(self, observation: Observation) -> State:
        """Give the state of a conversation; it must not be changed."""
        messages, tools = observation["messages"], observation["tools"]
        said = without_bracket(messages)
        state, known = self._take(said, tools)
        _take_in(state, new_messages(messages, known), self._decide)
        self._states[tools, said] = state
        if len(self._states) > _REMEMBERED:
            self._states.popitem(last=False)
        return state

    def _take(self, said: str, tools: str) -> tuple[State, str]:
        """Remove and return the state of an earlier part of the conversation, or a new one.

        Returns:
            The state, and the messages that it has read, without their closing bracket.
        """
        for known in reversed(self._states):
            if known[0] == tools and goes_on(known[1], said):
                return self._states.pop(known), known[1]
        return State(self._offer(tools), self._today), ""

    def _offer(self, tools: str) -> Offer:
        offer = self._offers.pop(tools, None) or Offer(tools, self._vocabulary)
        self._offers[tools] = offer
        if len(self._offers) > _OFFERS:
            self._offers.popitem(last=False)
        return offer


def _take_in(state: State, messages: list[ReadMessage], decide: Decide) -> None:
    for message in messages:
        if message.role == "user":
            hear(state, message.content or "", decide)
        elif message.role == "tool":
            _take_in_result(state, message.content or "")
        elif message.tool_calls:
            state.awaited = [_arguments_of(call) for call in message.calls]
        elif message.role == "assistant":
            state.said(message.content or "")


def _arguments_of(call: ReadFunction) -> dict[str, str]:
    arguments = call.decoded_arguments()
    return {name: value_text(value) for name, value in arguments.items()}


def _take_in_result(state: State, content: str) -> None:
    arguments = state.awaited.pop(0) if state.awaited else {}
    result = read_result(content)
    if result.status == "error" or result.results is None:
        state.refused()
    else:
        state.called(result.name, arguments, result.status, result.results)
