"""From whatever an agent sends to the one form that the environment acts on.

What an agent gets wrong is repaired, or marked for a refusal inside the world. Only what is no
action at all (a number, a mapping without any known key) raises: that is a programmer's mistake.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from agent_gym_env.envs.spaces import MAX_TEXT_LENGTH, is_unicode
from agent_gym_env.types import Action, ToolCall

MAX_DEPTH = 32
"""Levels of lists and objects inside a call's arguments, the arguments themselves included."""

MAX_TOOL_CALLS = 16
"""Calls in one action; those beyond are refused."""

_MOST_REFUSED = 8192
"""More calls than 64 KiB of JSON can hold are not even refused one by one."""

MAX_NAME_LENGTH = 256
"""Characters of a tool's name."""

MALFORMED = "malformed_tool_call"
"""The name that a call goes by when its own cannot be read."""

_HERMES_CALL = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
_EXPECTED_CALL = 'a call is {"name": "Service-Intent", "arguments": {…}}'
_UNREADABLE = (msgspec.DecodeError, UnicodeEncodeError, RecursionError, ValueError)
_decode = msgspec.json.Decoder().decode
_decode_calls = msgspec.json.Decoder(list[ToolCall]).decode
_encode = msgspec.json.Encoder().encode


class RefusedCall(NamedTuple):
    """A call that cannot be executed.

    Attributes:
        name: as far as it could be read.
        error: ``"code: what was found, what is expected"``.
    """

    name: str
    error: str


ParsedAction = tuple[str, Sequence["ToolCall | RefusedCall"], "str | None"]
"""Text within its limit; calls to be executed in order; the stable code of what had to be repaired.

A plain tuple: one is made at every step.
"""


def parse_action(action: Any) -> ParsedAction:
    """Understand an action.

    Args:
        action: a member of the action space (``text`` and ``tool_calls``, a JSON list); a mapping
            with ``text`` and ``tool_call`` (one parsed call or ``None``); an `Action`; an assistant
            message in OpenAI's format or a list of them; or a string, whose Hermes ``<tool_call>``
            tags are taken as calls and the rest as text.

    Raises:
        TypeError: it is none of these, or a part is of a type that cannot be text or a call.
        ValueError: it is a mapping without any of the known keys.
    """
    if type(action) is dict:  # the common case, before the slow check for any mapping
        text, calls = action.get("text"), action.get("tool_calls")
        if type(text) is str and type(calls) is str:
            if len(text) <= MAX_TEXT_LENGTH and text.isascii():
                plain = _plain_calls(calls) if calls else ()
                if plain is not None:
                    return ("" if plain and text.isspace() else text), plain, None
            return _parse_leaves(text, calls)
    if isinstance(action, Mapping):
        return _parse_mapping(action)
    if isinstance(action, str):
        return _parse_completion(action)
    if isinstance(action, Action):
        return _assemble(action.text, map(_call_from_python, action.tool_calls))
    if isinstance(action, (list, tuple)):
        return _parse_messages(action)
    raise TypeError(
        f"an action is a mapping with 'text' and 'tool_calls', an Action, an assistant message, a "
        f"list of those, or a string; this is {type(action).__name__}"
    )


def _parse_leaves(text: str, tool_calls: str) -> ParsedAction:
    """Understand a member of the action space, given by its two texts."""
    return _assemble(text, _calls_from_json(tool_calls) if tool_calls else ())


def _plain_calls(text: str) -> Sequence[ToolCall] | None:
    """Read calls that are nothing but what they should be; ``None`` where a closer look is needed.

    Most calls are, and to look closely takes several times as long.
    """
    if len(text) > MAX_TEXT_LENGTH or text.count("{") + text.count("[") > MAX_DEPTH:
        return None
    try:
        calls = _decode_calls(text)
    except _UNREADABLE:
        return None
    if len(calls) > MAX_TOOL_CALLS:
        return None
    for call in calls:
        if not 0 < len(call.name) <= MAX_NAME_LENGTH:
            return None
    return calls


def _parse_mapping(action: Mapping[str, Any]) -> ParsedAction:
    if action.get("role") == "assistant" or "content" in action:
        return _parse_messages((action,))
    if not {"text", "tool_calls", "tool_call"} & action.keys():
        raise ValueError(
            "an action needs 'text', 'tool_calls' or 'tool_call', or the 'content' of an assistant "
            f"message; its keys are {sorted(map(str, action))[:8]}"
        )
    return _assemble(_text_of(action.get("text")), _calls_of_mapping(action))


def _calls_of_mapping(action: Mapping[str, Any]) -> Iterable[ToolCall | RefusedCall]:
    one = action.get("tool_call")
    calls = action.get("tool_calls")
    if isinstance(calls, str):
        return _calls_from_json(calls) if calls else ()
    if calls is None:
        return () if one is None else (_call_from_python(one),)
    if isinstance(calls, (list, tuple)):
        return map(_call_from_python, calls)
    raise TypeError(f"'tool_calls' is a JSON text or a list of calls, not {type(calls).__name__}")


def _text_of(value: Any) -> str:
    """Read text that may be ``None`` or a list of content parts."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        parts = [part.get("text") for part in value if isinstance(part, Mapping)]
        return "".join(part for part in parts if isinstance(part, str))
    raise TypeError(f"an action's text is a string, not {type(value).__name__}")


def _parse_messages(messages: Sequence[Any]) -> ParsedAction:
    """Take the calls of all assistant messages, and the last one's words."""
    text = ""
    calls: list[ToolCall | RefusedCall] = []
    for message in messages:
        if not isinstance(message, Mapping):
            raise TypeError(
                f"a list as an action holds assistant messages, not {type(message).__name__}"
            )
        if message.get("role", "assistant") != "assistant":
            raise ValueError(
                f"only an assistant's message is an action; this one's role is {message['role']!r}"
            )
        text = _text_of(message.get("content")) or text
        calls.extend(_calls_of_mapping(message))
    return _assemble(text, calls)


def _parse_completion(completion: str) -> ParsedAction:
    if "<tool_call>" not in completion:
        return _parse_leaves(completion, "")
    if len(completion) > 2 * MAX_TEXT_LENGTH:
        completion = completion[: 2 * MAX_TEXT_LENGTH]
    calls = [_call_from_json(body) for body in _HERMES_CALL.findall(completion)]
    return _assemble(_HERMES_CALL.sub("", completion).strip(), calls)


def _assemble(text: str, calls: Iterable[ToolCall | RefusedCall]) -> ParsedAction:
    error = None
    if len(text) > MAX_TEXT_LENGTH:
        text, error = text[:MAX_TEXT_LENGTH], "text_too_long"
    if not is_unicode(text):
        text, error = _without_surrogates(text), error or "invalid_unicode"
    calls = list(calls)
    if len(calls) > MAX_TOOL_CALLS:
        problem = f"too_many_tool_calls: {len(calls)} calls in one action, at most {MAX_TOOL_CALLS}"
        beyond = [RefusedCall(call.name, problem) for call in calls[MAX_TOOL_CALLS:]]
        calls[MAX_TOOL_CALLS:] = beyond[:_MOST_REFUSED]
    if calls and text.isspace():
        text = ""  # what some servers send beside a call is no reply
    # A str subclass such as numpy's must not travel on into episodes.
    return str(text), calls, error


def _without_surrogates(text: str) -> str:
    """Join surrogate pairs; put U+FFFD for lone ones."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _calls_from_json(text: str) -> Iterable[ToolCall | RefusedCall]:
    value = _value_from_json(text)
    if isinstance(value, RefusedCall):
        return (value,)
    if isinstance(value, list):
        return map(_parse_call, value)
    if isinstance(value, dict):
        return (_parse_call(value),)
    return (_malformed(f"tool_calls is a JSON list of calls, not {_json_type(value)}"),)


def _call_from_json(text: str) -> ToolCall | RefusedCall:
    value = _value_from_json(text)
    return value if isinstance(value, RefusedCall) else _parse_call(value)


def _value_from_json(text: str) -> Any:
    if len(text) > MAX_TEXT_LENGTH:
        return RefusedCall(
            MALFORMED,
            f"tool_calls_too_long: {len(text)} characters, at most {MAX_TEXT_LENGTH}",
        )
    try:
        # A subclass such as numpy's would be read as the bytes behind it.
        return _decode(str(text))
    except _UNREADABLE as error:
        return _malformed(f"this is not JSON ({_reason(error)}); {_EXPECTED_CALL}")


def _reason(error: Exception) -> str:
    return "not Unicode" if isinstance(error, UnicodeError) else str(error)[:200]


def _malformed(problem: str, name: str = MALFORMED) -> RefusedCall:
    return RefusedCall(name, f"malformed_tool_call: {problem}")


def _call_from_python(value: Any) -> ToolCall | RefusedCall:
    """Take a call through JSON, so that it is held to the same rules and shares nothing."""
    try:
        text = _encode(value).decode()
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        return _malformed(f"a call holds JSON values only; {_EXPECTED_CALL}")
    return _call_from_json(text)


def _parse_call(value: Any) -> ToolCall | RefusedCall:
    """Read a call from the plain values of its JSON."""
    if not isinstance(value, dict):
        return _malformed(f"{_EXPECTED_CALL}, not {_json_type(value)}")
    function = value.get("function")
    call = function if isinstance(function, dict) else value
    name, arguments = call.get("name"), call.get("arguments")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_LENGTH:
        return _malformed(f"{_EXPECTED_CALL}; its name is {_json_type(name)}")
    if isinstance(arguments, str):
        arguments = _value_from_json(arguments or "{}")
    if isinstance(arguments, RefusedCall):
        return RefusedCall(name, arguments.error)
    if not isinstance(arguments, dict) and arguments is not None:
        problem = f"the arguments are a JSON object, not {_json_type(arguments)}"
        return _malformed(problem, name)
    if arguments and _is_too_deep(arguments):
        problem = f"tool_call_too_deep: the arguments nest more than {MAX_DEPTH} levels"
        return RefusedCall(name, problem)
    return ToolCall(name, arguments or {})


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return False
    return True


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    names: dict[type, str] = {
        dict: "an object", list: "a list", str: "a text", bool: "a boolean",
        int: "a number", float: "a number",
    }  # fmt: skip
    return names.get(type(value), type(value).__name__)
