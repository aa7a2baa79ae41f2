"""Converts the actions of agents, in any of many forms, to one form for the environment.

Mistakes of an agent are repaired, or answered with an error as the result of the call. Only an
unsupported action type, or a mapping without any known key, raises: a programmer's mistake.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from agent_gym_env.corpus.goals import AGENT_ACTS
from agent_gym_env.envs.assistant_message import (
    AssistantMessage,
    CallsText,
    as_mapping,
    read_message,
)
from agent_gym_env.envs.spaces import MAX_TEXT_LENGTH, is_unicode
from agent_gym_env.lm.call_forms import CallForm, read_call
from agent_gym_env.lm.lenient_json import MAX_DEPTH, nests_deeper
from agent_gym_env.lm.parse import without_reasoning
from agent_gym_env.types import Action, DialogueAct, ToolCall

MAX_TOOL_CALLS = 16
"""Largest number of calls in one action; further ones are refused."""

MAX_ACTS = 256
"""Largest number of acts in one action; further ones are left out."""

_MOST_REFUSED = 8192
"""Largest number of refused calls that are listed: as many as 64 KiB of JSON can hold."""

MAX_NAME_LENGTH = 256
"""Largest length of a tool's name, in characters."""

MALFORMED = "malformed_tool_call"
"""The name of a call whose own name cannot be read."""

UNREAD = "unread_content"
"""The code of an action with a part that is neither words nor a call, which was left out."""

UNFINISHED = "unfinished_reasoning"
"""The code of an action that breaks off in the model's reasoning."""

_HERMES_CALL = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
_EXPECTED_CALL = 'a call is {"name": "Service-Intent", "arguments": {…}}'
_UNREADABLE = (msgspec.DecodeError, UnicodeEncodeError, RecursionError, ValueError)


class _PlainCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call with a name and arguments, and nothing else."""

    name: str
    arguments: dict[str, Any] = {}


_decode = msgspec.json.Decoder().decode
_decode_calls = msgspec.json.Decoder(list[_PlainCall]).decode
_decode_acts = msgspec.json.Decoder(tuple[DialogueAct, ...]).decode


def _members(value: Any) -> Any:
    members = as_mapping(value)
    if members is None:
        raise TypeError(type(value).__name__)
    return dict(members)


_encode = msgspec.json.Encoder(enc_hook=_members).encode


class RefusedCall(NamedTuple):
    """A call that cannot be executed.

    Attributes:
        name: name of the tool, as far as it could be read.
        error: message of the form ``"code: what was found, what is expected"``.
    """

    name: str
    error: str


_ReadCall = tuple["ToolCall | RefusedCall", bool]
"""A call, and whether a part of it was left out."""

ParsedAction = tuple[str, Sequence["ToolCall | RefusedCall"], "str | None"]
"""Text within its limit; calls to be executed in order; the stable code of what had to be repaired.

A plain tuple: one is made at every step.
"""

ActionWithActs = tuple[ParsedAction, tuple[DialogueAct, ...]]
"""A parsed action, and the acts that say what its text does."""


def parse_action(action: Any) -> ParsedAction:
    """Parse an action.

    Args:
        action: a member of the action space (``text`` and ``tool_calls``, a JSON list); a mapping
            with ``text`` and ``tool_call`` (one parsed call or ``None``); an `Action`; a string,
            whose Hermes ``<tool_call>`` tags are taken as calls and the rest as text; or what a
            library gives: a message of the assistant, a list of them, a call by itself, or a whole
            completion, as mappings or as objects. `agent_gym_env.lm.call_forms` lists the forms of
            calls.

    Raises:
        TypeError: it is none of these, or a part is of a type that cannot be text or a call.
        ValueError: it is a mapping without any of the known keys, or of another speaker.
    """
    if type(action) is dict:  # the common case, before the slow check for any mapping
        text, calls = action.get("text"), action.get("tool_calls")
        if type(text) is str and type(calls) is str and len(action) == 2:
            if len(text) <= MAX_TEXT_LENGTH and text.isascii():
                plain = _plain_calls(calls) if calls else ()
                if plain is not None:
                    return ("" if plain and text.isspace() else text), plain, None
            return _parse_leaves(text, calls)
    if isinstance(action, str):
        return _parse_completion(action)
    if isinstance(action, Action):
        return _assemble(action.text, map(_call_from_python, action.tool_calls))
    return _parse_message(read_message(action))


def parse_action_with_acts(action: Any) -> ActionWithActs:
    """Parse an action that may carry acts.

    Args:
        action: as in `parse_action`; an `Action` or a mapping may have ``acts``, a list of
            ``[act, slot, value]``. Acts that cannot be read are left out.

    Raises:
        TypeError: the action is of an unsupported type.
        ValueError: it is a mapping without any of the known keys, or of another speaker.
    """
    given: Any = ()
    if isinstance(action, Action):
        given = action.acts
    elif isinstance(action, Mapping) and "acts" in action:
        given = action["acts"]
        action = {key: value for key, value in action.items() if key != "acts"} or {"text": ""}
    parsed = parse_action(action)
    if given is None or (isinstance(given, (tuple, list)) and not given):
        return parsed, ()
    read = _read_acts(given)
    acts = tuple([act for act in read if act.act in AGENT_ACTS])
    text, calls, error = parsed
    whole = acts and len(acts) == len(read) <= MAX_ACTS
    return (text, calls, error if whole else error or UNREAD), acts[:MAX_ACTS]


def _read_acts(given: Any) -> tuple[DialogueAct, ...]:
    """Read acts through JSON, so that they hold nothing but text; return none if they do not."""
    try:
        return _decode_acts(_encode(given))
    except (*_UNREADABLE, TypeError, OverflowError, msgspec.MsgspecError):
        return ()


def _parse_leaves(text: str, tool_calls: str) -> ParsedAction:
    """Parse a member of the action space, given by its two texts."""
    return _assemble(text, _calls_from_json(tool_calls) if tool_calls else ())


def _plain_calls(text: str) -> Sequence[ToolCall] | None:
    """Read well-formed calls quickly; return ``None`` for calls that need a closer look.

    Most calls are well-formed, and the closer look takes several times as long.
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
    return [ToolCall(call.name, call.arguments) for call in calls]


def _parse_message(message: AssistantMessage) -> ParsedAction:
    calls = [read for value in message.calls for read in _calls_from_message(value)]
    beside = map(_call_from_python, message.beside)
    calls += [read for read in beside if read not in calls]
    error = UNREAD if message.unread else UNFINISHED if message.unfinished else None
    return _assemble(message.text, calls, error)


def _calls_from_message(value: Any) -> Iterable[_ReadCall]:
    if isinstance(value, CallsText):
        return _calls_from_json(value.text)
    return (_call_from_python(value),)


def _parse_completion(completion: str) -> ParsedAction:
    completion, unfinished = without_reasoning(completion)
    error = UNFINISHED if unfinished else None
    if "<tool_call>" not in completion:
        return _assemble(completion, (), error)
    if len(completion) > 2 * MAX_TEXT_LENGTH:
        completion = completion[: 2 * MAX_TEXT_LENGTH]
    bodies = _HERMES_CALL.findall(completion)
    calls = [call for body in bodies for call in _calls_from_tag(body)]
    return _assemble(_HERMES_CALL.sub("", completion).strip(), calls, error)


def _assemble(text: str, calls: Iterable[_ReadCall], left_out: str | None = None) -> ParsedAction:
    error = None
    if len(text) > MAX_TEXT_LENGTH:
        text, error = text[:MAX_TEXT_LENGTH], "text_too_long"
    if not is_unicode(text):
        text, error = _without_surrogates(text), error or "invalid_unicode"
    read = list(calls)
    if any(unread for _, unread in read):
        left_out = left_out or UNREAD
    made = [call for call, _ in read]
    if len(made) > MAX_TOOL_CALLS:
        problem = f"too_many_tool_calls: {len(made)} calls in one action, at most {MAX_TOOL_CALLS}"
        beyond = [RefusedCall(call.name, problem) for call in made[MAX_TOOL_CALLS:]]
        made[MAX_TOOL_CALLS:] = beyond[:_MOST_REFUSED]
    if made and text.isspace():
        text = ""  # some servers send white space beside a call; it is not a reply
    # A str subclass such as numpy's must not travel on into episodes.
    return str(text), made, error or left_out


def _without_surrogates(text: str) -> str:
    """Join surrogate pairs; put U+FFFD for lone ones."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _calls_from_json(text: str) -> Iterable[_ReadCall]:
    value = _value_from_json(text)
    if isinstance(value, RefusedCall):
        return ((value, False),)
    if isinstance(value, list):
        return map(_parse_call, value)
    if isinstance(value, dict):
        return (_parse_call(value),)
    problem = f"tool_calls is a JSON list of calls, not {_json_type(value)}"
    return ((_malformed(problem), False),)


def _calls_from_tag(text: str) -> Iterable[_ReadCall]:
    """Read the content of one tag: a call, or a list of calls."""
    value = _value_from_json(text)
    if isinstance(value, RefusedCall):
        return ((value, False),)
    return map(_parse_call, value) if value and isinstance(value, list) else (_parse_call(value),)


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


def _call_from_python(value: Any) -> _ReadCall:
    """Convert a call through JSON, so that the same rules apply and no object is shared."""
    try:
        text = _encode(value).decode()
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        return _malformed(f"a call holds JSON values only; {_EXPECTED_CALL}"), False
    value = _value_from_json(text)
    return (value, False) if isinstance(value, RefusedCall) else _parse_call(value)


def _parse_call(value: Any) -> _ReadCall:
    """Read a call from decoded JSON; the second value is whether a part of it was left out."""
    if not isinstance(value, dict):
        return _malformed(f"{_EXPECTED_CALL}, not {_json_type(value)}"), False
    form = read_call(value)
    call = _checked(form)
    if isinstance(call, ToolCall) and form.unread and not call.arguments:
        problem = f"{_EXPECTED_CALL}; it has no arguments, and the unknown keys {form.unread[:8]}"
        return _malformed(problem, call.name), False
    return call, bool(form.unread)


def _checked(form: CallForm) -> ToolCall | RefusedCall:
    name, arguments = form.name, form.arguments
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_LENGTH:
        return _malformed(f"{_EXPECTED_CALL}; its name is {_json_type(name)}")
    if form.problem is not None:
        return _malformed(f"{_EXPECTED_CALL}; {form.problem}", name)
    if isinstance(arguments, str):
        arguments = _value_from_json(arguments or "{}")
    if isinstance(arguments, RefusedCall):
        return RefusedCall(name, arguments.error)
    if not isinstance(arguments, dict) and arguments is not None:
        problem = f"the arguments are a JSON object, not {_json_type(arguments)}"
        return _malformed(problem, name)
    if arguments and nests_deeper(arguments, MAX_DEPTH):
        problem = f"tool_call_too_deep: the arguments nest more than {MAX_DEPTH} levels"
        return RefusedCall(name, problem)
    return ToolCall(name, arguments or {})


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    names: dict[type, str] = {
        dict: "an object", list: "a list", str: "a text", bool: "a boolean",
        int: "a number", float: "a number",
    }  # fmt: skip
    return names.get(type(value), type(value).__name__)
