"""Conversations in OpenAI's chat format, and what libraries and services make of it.

A record is an object with a list of messages. Taken are:

- roles ``system``, ``developer``, ``user``, ``assistant``, ``tool``, and ``function`` of old;
- contents that are a text, ``null``, or a list of parts with texts and refusals;
- ``tool_calls`` and ``function_call``, their arguments as an object or as its JSON;
- the items of the Responses API: messages, ``function_call``, ``function_call_output``,
  ``reasoning``; with ``input``, ``output`` and ``instructions`` in place of ``messages``;
- tools as ``{"type": "function", "function": {…}}``, flat as in the Responses API, ``functions`` of
  old, and MCP's with ``inputSchema``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timezone
from functools import lru_cache
from typing import Any

import msgspec

from agent_gym_env.chat import call_message, call_object
from agent_gym_env.corpus.logs.conversation import (
    OTHER_TOOLS,
    REASONING,
    UNREAD_DATE,
    BadConversationError,
    Conversation,
    ConversationBuilder,
    LoggedCall,
    bad,
    json_flaw,
    result_json,
    without_thoughts,
)
from agent_gym_env.corpus.reader import Place
from agent_gym_env.corpus.task import Task
from agent_gym_env.corpus.tool_specs import FunctionTool
from agent_gym_env.types import ToolStatus

MESSAGE_KEYS = ("messages", "traj", "trajectory", "conversation")
"""Keys under which logs keep their messages."""

_ID_KEYS = ("id", "dialogue_id", "conversation_id", "session_id", "thread_id", "uuid")
_DATE_KEYS = ("date", "created_at", "created", "timestamp")
_USER_KEYS = ("user_id", "user")
_TEXTS = ("text", "input_text", "output_text")
_REASONING_PARTS = ("reasoning", "thinking", "reasoning_text", "summary_text")
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "development", "validation", "valid", "val"), "dev"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_STATUSES: dict[str, ToolStatus] = {"error": "error", "failed": "error", "failure": "failure"}
_MAX_SCHEMA_DEPTH = 64
_LEAST_MILLISECONDS = 10**11
"""A larger number is a time in milliseconds: in seconds it would be after the year 5000."""
_Where = Callable[[], Place]


def is_chat(record: Mapping[str, Any]) -> bool:
    """Return whether a record has messages in a form that this module reads."""
    if any(isinstance(record.get(key), list) for key in MESSAGE_KEYS):
        return True
    return "input" in record and isinstance(record.get("output"), list)


def read_chat(record: Mapping[str, Any], at: Place) -> Conversation:
    """Read a conversation.

    Args:
        record: the object of the log.
        at: place of the object.

    Raises:
        BadConversationError: it cannot be used; says where and why.
    """
    at = Place(at.file, at.pointer, record_id(record, at))
    builder = ConversationBuilder(at)
    if isinstance(record.get("instructions"), str):
        builder.add_system(record["instructions"])
    system = record.get("system")
    if isinstance(system, str) and system:
        builder.add_system(system)
    for message, path in _messages(record):
        _add(builder, message, lambda path=path: at.inside(path))  # type: ignore[misc]
    tools = read_tools(record, at, builder.note)
    return builder.build(
        date=read_date(record, builder.note),
        tools=tools,
        user=_user(record),
        split=read_split_name(record),
    )


def _messages(record: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
    key = next((key for key in MESSAGE_KEYS if isinstance(record.get(key), list)), None)
    if key is not None:
        yield from ((each, f".{key}[{number}]") for number, each in enumerate(record[key]))
        return
    asked = record["input"]
    if isinstance(asked, str):
        yield {"role": "user", "content": asked}, ".input"
    else:
        items = asked if isinstance(asked, list) else [asked]
        yield from ((each, f".input[{number}]") for number, each in enumerate(items))
    yield from ((each, f".output[{number}]") for number, each in enumerate(record["output"]))


def _add(builder: ConversationBuilder, message: Any, where: _Where) -> None:
    if not isinstance(message, dict):
        raise bad("message", f"expected an object, found {message!r:.60}", where())
    kind = message.get("type")
    if kind == "function_call":
        call_id = _id(message.get("call_id", message.get("id")))
        builder.add_call(LoggedCall(call_id, message.get("name"), message.get("arguments")), where)
    elif kind == "function_call_output":
        _add_result(builder, message, message.get("output"), message.get("call_id"), where)
    elif kind == "reasoning":
        builder.note(REASONING)
    elif "role" in message:
        _add_of_role(builder, message, where)
    else:
        problem = (
            f"expected a 'role', or a 'type' of the Responses API, found {sorted(message)!r:.80}"
        )
        raise bad("message", problem, where())


def _add_of_role(builder: ConversationBuilder, message: Mapping[str, Any], where: _Where) -> None:
    role, content = message["role"], message.get("content")
    if role == "assistant":
        _add_of_assistant(builder, message, where)
    elif role == "user":
        builder.add_user(_text(builder, content, where), where)
    elif role in ("system", "developer"):
        builder.add_system(_text(builder, content, where))
    elif role == "tool":
        _add_result(builder, message, content, message.get("tool_call_id"), where)
    elif role == "function":
        _add_result(builder, message, content, None, where)
    else:
        expected = "system, developer, user, assistant, tool or function"
        raise bad("role", f"expected the role {expected}, found {role!r:.60}", where())


def _add_of_assistant(
    builder: ConversationBuilder, message: Mapping[str, Any], where: _Where
) -> None:
    if message.get("reasoning_content") or message.get("reasoning"):
        builder.note(REASONING)
    content = message.get("content")
    said = _text(builder, content, where)
    text = without_thoughts(said)
    if text != said:
        builder.note(REASONING)
    if text or content == "":  # an empty text is a reply, no text is none
        builder.add_reply(text, where)
    refusal = message.get("refusal")
    if isinstance(refusal, str):
        builder.add_reply(refusal, where)
    calls = message.get("tool_calls")
    if not isinstance(calls, list | None):
        raise bad("message", f"tool_calls must be a list, found {calls!r:.60}", where())
    for number, call in enumerate(calls or ()):
        builder.add_call(_call(call, where), lambda n=number: where().inside(f".tool_calls[{n}]"))  # type: ignore[misc]
    legacy = message.get("function_call")
    if isinstance(legacy, dict):
        builder.add_call(LoggedCall(None, legacy.get("name"), legacy.get("arguments")), where)


def _call(call: Any, where: _Where) -> LoggedCall:
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise bad("message", f"expected a tool call, found {call!r:.60}", where())
    return LoggedCall(_id(call.get("id")), function.get("name"), function.get("arguments"))


def _add_result(
    builder: ConversationBuilder,
    message: Mapping[str, Any],
    content: Any,
    call_id: Any,
    where: _Where,
) -> None:
    parts = isinstance(content, list) and all(_is_part(part) for part in content) and content
    result = _text(builder, content, where) if parts else content
    status = _STATUSES.get(str(message.get("status")), "success")
    builder.add_result(
        _id(call_id),
        _text_or_none(message.get("name")),
        result_json(result),
        where,
        status="error" if message.get("is_error") is True else status,
    )


def _is_part(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") in _TEXTS


def _text(builder: ConversationBuilder, content: Any, where: _Where) -> str:
    """Return the text of a content; its parts are joined without anything between them."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if not isinstance(content, list):
        problem = f"expected a text, null or a list of parts, found {content!r:.60}"
        raise bad("content", problem, where())
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(part, str):
            texts.append(part)
        elif kind in _TEXTS and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind == "refusal" and isinstance(part.get("refusal"), str):
            texts.append(part["refusal"])
        elif kind in _REASONING_PARTS:
            builder.note(REASONING)
        else:
            problem = f"only texts can be played, found a part of the type {kind!r:.60}"
            raise bad("content", problem, where())
    return "".join(texts)


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _id(value: Any) -> str | None:
    """Return the id of a call; some logs have numbers."""
    return str(value) if isinstance(value, (str, int)) else None


# What a record says about the conversation.


def record_id(record: Mapping[str, Any], at: Place) -> str:
    """Return the id of a conversation; its place in the file, if the log gives none."""
    for key in _ID_KEYS:
        value = record.get(key)
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    return at.dialogue_id or ""


def read_date(record: Mapping[str, Any], note: Callable[[str], None]) -> str | None:
    """Return the day of a conversation, ISO; ``None`` if the log does not say.

    Args:
        record: the object of the log.
        note: called with a code if there is a date that cannot be read.
    """
    facts = record.get("metadata")
    for source in (record, facts if isinstance(facts, dict) else {}):
        for key in _DATE_KEYS:
            value = source.get(key)
            if value is not None and value != "":
                day = _day(value)
                if day is None:
                    note(UNREAD_DATE)
                return day
    return None


def _day(value: Any) -> str | None:
    """Read a day, a time in ISO form, or seconds or milliseconds since 1970."""
    try:
        if isinstance(value, str) and value.isdecimal():
            value = float(value)
        if isinstance(value, str):
            text = value.strip().replace("Z", "+00:00")
            is_day = len(text) == len("2024-05-15")
            return (date if is_day else datetime).fromisoformat(text).isoformat()[:10]
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            seconds = value / 1000 if value >= _LEAST_MILLISECONDS else value
            return datetime.fromtimestamp(seconds, timezone.utc).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return None
    return None


def _user(record: Mapping[str, Any]) -> str | None:
    for key in _USER_KEYS:
        value = record.get(key)
        if isinstance(value, (str, int)) and not isinstance(value, bool):
            return str(value)
    return None


def read_split_name(record: Mapping[str, Any]) -> str | None:
    """Return the split that a record names; ``None`` if it names none that is known."""
    name = record.get("split", record.get("data_split"))
    return _SPLITS.get(name.lower()) if isinstance(name, str) else None


def read_tools(
    record: Mapping[str, Any], at: Place, note: Callable[[str], None]
) -> tuple[FunctionTool, ...] | None:
    """Return the tools on offer; ``None`` if the log does not say.

    Raises:
        BadConversationError: a tool is malformed, or two have one name.
    """
    key = next((key for key in ("tools", "functions") if record.get(key) is not None), None)
    if key is None:
        return None
    listed = record[key]
    if isinstance(listed, list) and (plain := _plain_tools(listed)) is not None:
        return plain
    if isinstance(listed, str):  # ShareGPT keeps JSON in a text
        listed = _decoded(listed, at.inside(f".{key}"))
    if not isinstance(listed, list):
        raise bad("tools", f"expected a list, found {listed!r:.60}", at.inside(f".{key}"))
    tools: dict[str, FunctionTool] = {}
    for number, each in enumerate(listed):
        where = at.inside(f".{key}[{number}]")
        tool = _tool(each, where)
        if tool is None:
            note(OTHER_TOOLS)
        elif tool.name in tools:
            raise bad("tools", f"two tools have the name {tool.name!r:.80}", where)
        else:
            tools[tool.name] = tool
    return tuple(tools.values())


def _plain_tools(listed: list[Any]) -> tuple[FunctionTool, ...] | None:
    """Return tools of which nothing is to be said, read only once; ``None`` for others."""
    try:
        return _kept_tools(msgspec.msgpack.encode(listed))
    except (BadConversationError, ValueError, OverflowError, RecursionError):
        return None


@lru_cache(maxsize=64)
def _kept_tools(encoded: bytes) -> tuple[FunctionTool, ...] | None:
    tools = [_tool(each, Place("")) for each in msgspec.msgpack.decode(encoded)]
    kept = {tool.name: tool for tool in tools if tool is not None}
    return tuple(kept.values()) if len(kept) == len(tools) else None


def _decoded(text: str, at: Place) -> Any:
    try:
        return msgspec.json.decode(text) if text.strip() else []
    except (msgspec.DecodeError, RecursionError) as error:
        raise bad("tools", f"expected JSON, found {text!r:.60}: {error}", at) from error


def _tool(value: Any, at: Place) -> FunctionTool | None:
    """Return a tool; ``None`` for one that is not a function, such as a search on the web."""
    if not isinstance(value, dict):
        raise bad("tools", f"expected an object, found {value!r:.60}", at)
    kind = value.get("type", "function")
    if kind != "function":
        return None
    function = value.get("function", value)
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or not name.strip():
        raise bad("tools", f"expected a function with a name, found {value!r:.80}", at)
    keys = ("parameters", "inputSchema", "input_schema")
    schema: Any = next((function[key] for key in keys if function.get(key) is not None), {})
    description = function.get("description")
    return FunctionTool(
        key=name,
        name=name,
        description=description if isinstance(description, str) else "",
        parameters=checked_parameters(schema, at),
    )


def checked_parameters(schema: Any, at: Place) -> dict[str, Any]:
    """Return the schema of a tool's arguments, with the type that some leave out.

    Raises:
        BadConversationError: it is not the schema of an object, or cannot be kept.
    """
    if not isinstance(schema, dict) or schema.get("type") not in (None, "object"):
        raise bad("tools", f"expected the JSON schema of an object, found {schema!r:.80}", at)
    flaw = json_flaw(schema, _MAX_SCHEMA_DEPTH)
    if flaw is not None:
        raise bad("tools", flaw, at)
    known = {key: value for key, value in schema.items() if value is not None}
    return {"type": "object", "properties": {}, **known}


# Writing.


def chat_messages(task: Task) -> list[dict[str, Any]]:
    """Write a dialogue as messages in OpenAI's chat format, with its system prompt if it has one.

    Results that are objects or arrays are written as JSON, others as they are, so that reading them
    gives the same values.
    """
    messages: list[dict[str, Any]] = []
    if task.system is not None:
        messages.append({"role": "system", "content": task.system})
    for index, turn in enumerate(task.turns):
        if turn.user or index:
            messages.append({"role": "user", "content": turn.user})
        messages += _call_messages(turn.calls, len(messages))
        if turn.text or not turn.calls:
            messages.append({"role": "assistant", "content": turn.text})
    return messages


def _call_messages(calls: Any, number: int) -> list[dict[str, Any]]:
    written: list[dict[str, Any]] = []
    for place in sorted({call.round for call in calls}):
        group = [call for call in calls if call.round == place]
        ids = [f"call_{number}_{place}_{each}" for each in range(len(group))]
        objects = [
            call_object(call_id, call.name, msgspec.json.encode(call.arguments).decode())
            for call_id, call in zip(ids, group, strict=True)
        ]
        written.append(call_message(objects))
        for call_id, call in zip(ids, group, strict=True):
            is_nested = call.results[:1] in ("{", "[")
            content = call.results if is_nested else msgspec.json.decode(call.results)
            result = {"role": "tool", "tool_call_id": call_id, "content": content}
            written.append(
                result if call.status == "success" else {**result, "status": call.status}
            )
    return written


def chat_record(conversation: Conversation) -> dict[str, Any]:
    """Write a conversation as a record, without its tools."""
    task = conversation.task
    facts = {"id": task.dialogue_id, "date": task.date, "user_id": conversation.user}
    known = {key: value for key, value in facts.items() if value is not None}
    return {**known, "messages": chat_messages(task)}
