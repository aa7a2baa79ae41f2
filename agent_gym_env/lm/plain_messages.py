"""A conversation as plain records, for prompts that quote it instead of continuing it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from agent_gym_env.lm.base import Message


def plain_messages(messages: Iterable[Message]) -> Iterator[dict[str, Any]]:
    """Yield what was said and done, in order, without ids and roles.

    Each record is ``{"user": text}``, ``{"assistant": text}``, ``{"call": name, "arguments": …}``
    or ``{"result": …}``. As JSON they cannot be forged by what anybody says: a line break inside a
    text stays inside its record.
    """
    for message in messages:
        role = message["role"]
        if role == "tool":
            yield {"result": _decoded(message["content"])}
            continue
        for call in message.get("tool_calls") or ():
            function = call["function"]
            yield {"call": function["name"], "arguments": _decoded(function["arguments"])}
        if message.get("content"):
            yield {role: message["content"]}


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
