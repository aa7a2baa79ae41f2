"""Conversations in ShareGPT's format, with tools in Hermes' tags or in separate messages.

A record is ``{"conversations": [{"from": …, "value": …}]}``, perhaps with ``system`` and ``tools``.
Speakers are ``human``, ``gpt``, ``system``, and for tools ``function_call`` and ``observation`` or
``tool``. In Hermes' form the agent writes its calls in ``<tool_call>`` tags and reads results in
``<tool_response>`` tags, and the system prompt lists the tools in ``<tools>`` tags.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from agent_gym_env.corpus.logs.chat import read_date, read_split_name, read_tools, record_id
from agent_gym_env.corpus.logs.conversation import (
    REASONING,
    Conversation,
    ConversationBuilder,
    LoggedCall,
    bad,
    result_json,
    without_thoughts,
)
from agent_gym_env.corpus.reader import Place

_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
_RESPONSE = re.compile(r"<tool_response>(.*?)</tool_response>", re.DOTALL)
_TOOLS = re.compile(r"<tools>(.*?)</tools>", re.DOTALL)
_USERS = ("human", "user")
_AGENTS = ("gpt", "assistant", "model", "chatgpt", "bing", "bard")
_RESULTS = ("observation", "tool", "function_response", "tool_response")
_Where = Callable[[], Place]


def is_sharegpt(record: Mapping[str, Any]) -> bool:
    """Return whether a record has messages in ShareGPT's form."""
    said = record.get("conversations")
    return isinstance(said, list) and all(isinstance(e, dict) and "value" in e for e in said[:1])


def read_sharegpt(record: Mapping[str, Any], at: Place) -> Conversation:
    """Read a conversation.

    Args:
        record: the object of the log.
        at: place of the object.

    Raises:
        BadConversationError: it cannot be used; says where and why.
    """
    at = at._replace(dialogue_id=record_id(record, at))
    builder = ConversationBuilder(at)
    system = record.get("system")
    prompts = [system] if isinstance(system, str) and system else []
    if prompts:
        builder.add_system(prompts[0])
    prompts += [e.get("value") for e in record["conversations"] if _speaker(e) == "system"]
    for number, said in enumerate(record["conversations"]):
        _add(builder, said, lambda n=number: at.inside(f".conversations[{n}]"))  # type: ignore[misc]
    listed = read_tools(record, at, builder.note)
    if listed is None:
        listed = read_tools({"tools": _tools_of_prompts(prompts, at)}, at, builder.note)
    return builder.build(
        date=read_date(record, builder.note),
        tools=listed,
        split=read_split_name(record),
    )


def _speaker(said: Any) -> Any:
    return said.get("from", said.get("role")) if isinstance(said, dict) else None


def _add(builder: ConversationBuilder, said: Any, where: _Where) -> None:
    speaker = _speaker(said)
    value = said.get("value") if isinstance(said, dict) else None
    if not isinstance(value, str):
        raise bad(
            "message", f"expected {{'from', 'value'}} with texts, found {said!r:.80}", where()
        )
    if speaker == "system":
        builder.add_system(value)
    elif speaker in _USERS:
        builder.add_user(value, where)
    elif speaker in _AGENTS:
        _add_of_agent(builder, value, where)
    elif speaker == "function_call":
        for call in _calls(value, where):
            builder.add_call(call, where)
    elif speaker in _RESULTS:
        _add_results(builder, value, where)
    else:
        raise bad("role", f"expected human, gpt or a tool's role, found {speaker!r:.60}", where())


def _add_of_agent(builder: ConversationBuilder, value: str, where: _Where) -> None:
    plain = without_thoughts(value)
    if plain != value:
        builder.note(REASONING)
    builder.add_reply(_CALL.sub("", plain).strip(), where)
    for tag in _CALL.findall(plain):
        for call in _calls(tag, where):
            builder.add_call(call, where)


def _calls(text: str, where: _Where) -> list[LoggedCall]:
    """Read a call, or a list of calls that are made together."""
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        problem = f"expected a call as JSON, found {text.strip()!r:.80}: {error}"
        raise bad("arguments", problem, where()) from error
    calls = found if isinstance(found, list) else [found]
    if not calls or not all(isinstance(call, dict) for call in calls):
        raise bad("arguments", f"expected a call as a JSON object, found {text!r:.80}", where())
    return [
        LoggedCall(None, call.get("name"), call.get("arguments", call.get("parameters")))
        for call in calls
    ]


def _add_results(builder: ConversationBuilder, value: str, where: _Where) -> None:
    tagged = _RESPONSE.findall(value)
    if not tagged:
        builder.add_result(None, None, result_json(value.strip()), where)
    for result in tagged:
        name, content = _named_content(result)
        builder.add_result(None, name, result_json(content), where)


def _named_content(result: str) -> tuple[str | None, Any]:
    """Return the name of the tool, if Hermes' result gives it, and the content."""
    found = _object(result)
    if found is None or found.keys() != {"name", "content"} or not isinstance(found["name"], str):
        return None, result.strip()
    return found["name"], found["content"]


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None  # a plain text
    return found if isinstance(found, dict) else None


def _tools_of_prompts(prompts: list[Any], at: Place) -> list[Any] | None:
    """Return the tools that a system prompt lists, as an array or one on each line."""
    found: list[Any] = []
    blocks = [block for prompt in prompts for block in _TOOLS.findall(str(prompt))]
    for block in blocks:
        found += _tools_of_block(block, at)
    return found if blocks else None


def _tools_of_block(block: str, at: Place) -> list[Any]:
    try:
        whole = msgspec.json.decode(block)
    except (msgspec.DecodeError, RecursionError):
        return [_tool_line(line, at) for line in block.splitlines() if line.strip()]
    return whole if isinstance(whole, list) else [whole]


def _tool_line(line: str, at: Place) -> Any:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        problem = f"expected a tool as JSON in <tools>, found {line!r:.60}: {error}"
        raise bad("tools", problem, at) from error
