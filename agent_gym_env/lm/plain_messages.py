"""Conversations and tools as plain records, for prompts that quote them as data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from agent_gym_env.chat import Message
from agent_gym_env.lm.lenient_json import UnreadableError, read_strictly


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


def plain_tools(tools: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield what can be called: a name, what it does, and each argument in words.

    Args:
        tools: in OpenAI's function format.
    """
    for tool in tools:
        function = tool["function"]
        parameters = function.get("parameters") or {}
        required = parameters.get("required", ())
        yield {
            "name": function["name"],
            "description": function.get("description", ""),
            "arguments": {
                name: _in_words(schema, is_required=name in required)
                for name, schema in parameters.get("properties", {}).items()
            },
        }


def _in_words(schema: Mapping[str, Any], *, is_required: bool) -> str:
    words = [schema.get("description", "")]
    if "enum" in schema:
        words.append(f"one of: {', '.join(map(str, schema['enum']))}")
    words.append("required" if is_required else f"optional, default {schema.get('default')}")
    return "; ".join(filter(None, words))


def json_lines(records: Iterable[Mapping[str, Any]]) -> str:
    """Write records, one a line: no text inside one can begin a line of its own."""
    return "\n".join(msgspec.json.encode(record).decode() for record in records)


def _decoded(text: str) -> Any:
    try:
        return read_strictly(text)
    except UnreadableError:
        return text
