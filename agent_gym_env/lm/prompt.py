"""From the environment's conversation to what a model is sent.

- `system_message` and `CallIds` prepare a conversation for a provider that takes tools natively.
- `as_text` writes calls and results as text, for a provider that does not.
- `plain_messages` and `plain_tools` are records for prompts that quote a conversation as data.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from hashlib import blake2b
from typing import Any

import msgspec

from agent_gym_env.chat import Message, calls_of, functions_of, with_call_ids
from agent_gym_env.lm.lenient_json import UnreadableError, read_strictly
from agent_gym_env.lm.parse import tagged_call

RULES = """\
You are the assistant of several services and talk with one user. Today is {today}.

How a turn works:
- What you write ends your turn and is said to the user. A tool call without words keeps your turn \
open: its result comes back to you, and you go on.
- Call a tool as soon as you know all of its required arguments. Ask for one that is missing, one \
question at a time; never make a value up.
- Leave out optional arguments that the user has not asked for.
- Write dates as YYYY-MM-DD, times as HH:MM on a clock of 24 hours, and other values in the words \
of the user or of the tool's list.
- Before a call that books, buys, sends or changes something, repeat its details and ask the user \
to confirm. Make the call when the user has agreed.
- Say only what a result says. Of several results tell how many there are and offer one. If there \
are none or a call fails, say so and ask what to change.
- Answer in one or two short sentences of plain text."""
"""The default system message; ``{today}`` is replaced by the date."""

_TOOLS = """

You call a tool by writing a JSON object with its name and arguments inside tags, and nothing else:
<tool_call>
{{"name": "the tool's name", "arguments": {{"argument": "value"}}}}
</tool_call>
The result comes back inside <tool_response> tags. These are the tools:
<tools>
{tools}
</tools>"""

_MAX_REMEMBERED = 4096
"""Conversations whose call ids are remembered."""

_encode = msgspec.json.Encoder().encode

_OUR_TAGS = ("<tool_call", "</tool_call", "<tool_response", "</tool_response", "<tools", "</tools")


def in_front(system: Message, messages: Sequence[Message]) -> list[Message]:
    """Put a system message in front of a conversation.

    The system prompt of a log, if the conversation begins with one, becomes a part of it.
    """
    said = list(messages)
    if said and said[0]["role"] == "system":
        prompt = said.pop(0)["content"]
        system = {**system, "content": f"{system['content']}\n\n{prompt}"}
    return [system, *said]


def system_message(rules: str, today: date | None, tools: Sequence[dict[str, Any]] = ()) -> Message:
    """Write the system message.

    Args:
        rules: text with ``{today}`` where the date belongs.
        today: the dialogue's "today"; ``None`` if it is not known.
        tools: tools in OpenAI's function format; empty if the provider takes them natively.
    """
    day = "a day that is not known" if today is None else f"{today:%A}, {today.isoformat()}"
    # Not `str.format`: rules may hold braces, and may come from a file.
    content = rules.replace("{today}", day)
    if tools:
        lines = json_lines(functions_of(tools))
        content += _TOOLS.format(tools=lines)
    return {"role": "system", "content": content}


def as_text(messages: Sequence[Message]) -> list[Message]:
    """Write calls and results as text, in Hermes' format, for a model without native tools.

    Nobody can forge the tags: they are escaped in the user's words, and a result's JSON has its
    ``<`` escaped.
    """
    return list(_merged(map(_as_text, messages)))


def _as_text(message: Message) -> Message:
    content = message.get("content") or ""
    if message["role"] == "tool":
        result = content.replace("<", "\\u003c")
        return {"role": "user", "content": f"<tool_response>\n{result}\n</tool_response>"}
    if message["role"] == "user":
        return {"role": "user", "content": _escaped(content)}
    written = [tagged_call(call.name, call.arguments) for call in calls_of(message)]
    return {"role": message["role"], "content": "\n".join(filter(None, (content, *written)))}


def _escaped(text: str) -> str:
    for tag in _OUR_TAGS:
        text = text.replace(tag, tag.replace("<", "&lt;"))
    return text


def _merged(messages: Iterator[Message]) -> Iterator[Message]:
    """Join neighbours of one role: many chat templates require that roles alternate."""
    last: Message | None = None
    for message in messages:
        if last is not None and last["role"] == message["role"]:
            last = {**last, "content": f"{last['content']}\n{message['content']}"}
            continue
        if last is not None:
            yield last
        last = message
    if last is not None:
        yield last


class CallIds:
    """Memory of the ids that a provider gave to calls; the environment numbers calls its own way.

    Gemini signs its reasoning and litellm keeps the signature in the id. Without its signature a
    model answers worse or not at all. The oldest conversations are forgotten.
    """

    def __init__(self) -> None:
        self._ids: OrderedDict[bytes, tuple[str, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, messages: Sequence[Message], ids: tuple[str, ...]) -> None:
        """Keep the ids of the calls that a model made after these messages."""
        if not any(ids):
            return
        digest = blake2b(digest_size=16)
        for message in messages:
            digest.update(_encode(message))
        with self._lock:
            self._ids[digest.digest()] = ids
            if len(self._ids) > _MAX_REMEMBERED:
                self._ids.popitem(last=False)

    def restore(self, messages: Sequence[Message]) -> list[Message]:
        """Return a conversation in which remembered calls have the provider's ids again."""
        digest = blake2b(digest_size=16)
        known: dict[str, str] = {}
        restored = []
        for message in messages:
            calls = calls_of(message) if self._ids else []
            if calls:
                ids = self._ids.get(digest.digest(), ())
                known.update((call.id, its) for call, its in zip(calls, ids, strict=False) if its)
            digest.update(_encode(message))
            restored.append(with_call_ids(message, known))
        return restored


def plain_messages(messages: Iterable[Message]) -> Iterator[dict[str, Any]]:
    """Yield the words, calls and results of a conversation, in order, without ids and roles.

    Each record is ``{"user": text}``, ``{"assistant": text}``, ``{"call": name, "arguments": …}``
    or ``{"result": …}``. Written as JSON they cannot be forged: a line break inside a text stays
    inside its record.
    """
    for message in messages:
        role = message["role"]
        if role == "tool":
            yield {"result": _decoded(message["content"])}
            continue
        for call in calls_of(message):
            yield {"call": call.name, "arguments": _decoded(call.arguments)}
        if message.get("content"):
            yield {role: message["content"]}


def plain_tools(tools: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the name and description of each tool, with each of its arguments in words.

    Args:
        tools: tools in OpenAI's function format.
    """
    for function in functions_of(tools):
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
    """Write records as JSON, one per line: no text inside a record can begin a line."""
    return "\n".join(_encode(record).decode() for record in records)


def _decoded(text: str) -> Any:
    try:
        return read_strictly(text)
    except UnreadableError:
        return text
