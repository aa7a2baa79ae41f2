"""Messages of training rows: OpenAI's chat format, but with the arguments of calls as objects.

Chat templates write arguments as JSON themselves; given a string they would quote it once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import msgspec

from agent_gym_env.envs.conversation import reply_message
from agent_gym_env.errors import DataError
from agent_gym_env.lm.base import Message
from agent_gym_env.lm.prompt import system_message
from agent_gym_env.rollout.episode import StepRecord
from agent_gym_env.rollout.transcript import exchange

_decode = msgspec.json.Decoder(list[dict[str, Any]]).decode


def conversation(messages: str, today: str, rules: str) -> list[Message]:
    """Read an observation's ``messages``, and put the system message before them.

    Args:
        messages: JSON.
        today: the dialogue's date, ISO.
        rules: of the system message, with ``{today}`` where the date belongs.

    Raises:
        DataError: the date is none, or the messages are not the environment's.
    """
    try:
        day = date.fromisoformat(today)
    except ValueError as error:
        raise DataError(f"date must be like 2019-03-01, not {today!r}") from error
    return [system_message(rules, day), *read_messages(messages)]


def turn_messages(steps: Sequence[StepRecord], executed: int) -> list[Message]:
    """Write a whole turn of the agent: its calls, their results and its reply.

    Args:
        steps: of the turn.
        executed: how many calls the dialogue has seen before.

    Raises:
        DataError: the tool results do not answer the calls.
    """
    written = ""
    for step in steps:
        written += exchange(step, executed)
        executed += len(step.action.tool_calls)
    written += reply_message(steps[-1].action.text)
    return read_messages(f"[{written[1:]}]")


def read_messages(messages: str) -> list[Message]:
    """Read messages as the environment writes them.

    Raises:
        DataError: they are not the environment's.
    """
    try:
        return [_with_objects(message) for message in _decode(messages)]
    except (msgspec.DecodeError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"these messages are not an environment's: {error!r}") from error


def read_tools(tools: str) -> list[dict[str, Any]]:
    """Read the tools on offer.

    Raises:
        DataError: they are no list of objects.
    """
    try:
        return _decode(tools)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DataError(f"these tools are not an environment's: {error}") from error


def _with_objects(message: Message) -> Message:
    if message["role"] != "assistant" or "tool_calls" not in message:
        return message
    return {**message, "tool_calls": [_with_object(call) for call in message["tool_calls"]]}


def _with_object(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    arguments = msgspec.json.decode(function["arguments"])
    return {**call, "function": {**function, "arguments": arguments}}
