"""Parser of the tool calls in a model's text: strict first, then lenient; the rest is text."""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import msgspec

from agent_gym_env.lm.call_forms import read_call
from agent_gym_env.lm.lenient_json import (
    MAX_DEPTH,
    UnreadableError,
    nests_deeper,
    read,
    read_prefix,
)
from agent_gym_env.types import ToolCall

MAX_LENGTH = 65_536
"""Most characters of a reply that is searched for calls."""

MAX_TRIES = 16
"""Most places in a reply that are tried as calls, and most calls that are returned."""

_REASONING_MARK = re.compile(r"<(/?)(?:seed:)?(?:think(?:ing)?|thought|reasoning)>|\[(/?)THINK\]")
_WHOLE_CALL = re.compile(
    r"<tool_call>\s*[\[{](?:(?!</?tool_call>).)*[\]}]\s*</tool_call>", re.DOTALL
)
_TAG = re.compile(r"<(tool_call|function_call|tool_calls)>(.*?)(?:</\1>|\Z)", re.DOTALL)
_FENCE = re.compile(r"```[ \t]*\w*[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)
_CALL_BEGINS = re.compile(
    r"\{\s*[\"'“]?(?:name|tool|tool_name|function|tool_calls?|type|id|functionCall|function_call|"
    r"toolUse|action|arguments|parameters|args|input)[\"'”]?\s*:"
)
_KEYWORD = re.compile(r"\s*(\w+)\s*=")
_SEPARATOR = re.compile(r"\s*(,?)\s*")
_ONLY_BRACKETS = re.compile(r"[\s\[\],;`]*")


class ParsedReply(msgspec.Struct, frozen=True):
    """The words and calls of a reply.

    Attributes:
        text: words beside the calls.
        tool_calls: calls in order.
    """

    text: str
    tool_calls: tuple[ToolCall, ...] = ()


def parse_reply(text: str, tool_names: Collection[str] = ()) -> ParsedReply:
    """Split a reply into its words and tool calls.

    These forms are tried in order until calls are found: Hermes ``<tool_call>`` tags; fenced code;
    JSON objects that look like calls; ``Name(argument="value")`` for the offered tools. Reasoning
    is left out; see `without_reasoning`.

    Args:
        text: text that the model wrote.
        tool_names: names of the offered tools. Without tags only these are read as calls.
    """
    text, _ = without_reasoning(text)
    if len(text) > MAX_LENGTH:
        return ParsedReply(text)
    for find in (_tagged, _fenced, _objects, _spelled):
        found = list(find(text, tool_names))
        if found:
            calls = tuple(call for _, _, calls in found for call in calls)
            return ParsedReply(_without(text, found), calls[:MAX_TRIES])
    return ParsedReply(text.strip())


def without_reasoning(text: str) -> tuple[str, bool]:
    """Remove a model's reasoning, marked by ``<think>`` and similar tags, from its text.

    Text before a ``</think>`` without an opening tag is reasoning, too: some chat templates write
    the opening tag into the prompt. Reasoning without a closing tag goes on to the end of the text.
    Inside a whole ``<tool_call>`` these tags are part of the arguments.

    Returns:
        The rest, and whether the text breaks off inside the reasoning.
    """
    marks = list(_REASONING_MARK.finditer(text))
    if not marks:
        return text, False
    calls = [call.span() for call in _WHOLE_CALL.finditer(text)]
    kept: list[str] = []
    begin, is_open = 0, False
    for mark in marks:
        if not is_open and _is_within(mark.start(), calls):
            continue
        closes = bool(mark[1] or mark[2])
        if not closes and not is_open:
            kept.append(text[begin : mark.start()])
        elif closes and not is_open:
            kept.clear()
        is_open = not closes
        begin = mark.end()
    if not is_open:
        kept.append(text[begin:])
    return "".join(kept).strip(), is_open


def _is_within(place: int, spans: list[tuple[int, int]]) -> bool:
    """Return whether a place lies inside one of some spans, which are sorted."""
    before = bisect.bisect(spans, (place, place)) - 1
    return before >= 0 and place < spans[before][1]


def ends_with_open_reasoning(text: str) -> bool:
    """Return whether a text ends with a mark that opens reasoning, as some chat templates do."""
    text = text.rstrip()
    marks = list(_REASONING_MARK.finditer(text))
    return bool(marks) and marks[-1].end() == len(text) and not (marks[-1][1] or marks[-1][2])


def read_arguments(arguments: str | dict[str, Any] | None) -> dict[str, Any] | None:
    """Read the arguments of a call leniently; ``None`` if they are not a JSON object."""
    if not arguments:
        return {}
    if isinstance(arguments, str):
        try:
            arguments = read(arguments)
        except UnreadableError:
            return None
    if not isinstance(arguments, dict) or nests_deeper(arguments, MAX_DEPTH):
        return None
    return arguments


def tagged_call(name: str, arguments: str | dict[str, Any] | None) -> str:
    """Write a call as a model without native tools does; arguments in JSON stay as they are."""
    if not isinstance(arguments, str):
        arguments = msgspec.json.encode(arguments or {}).decode()
    body = f'{{"name": {msgspec.json.encode(name).decode()}, "arguments": {arguments}}}'
    # In JSON it is the same, and no value can close the tag.
    return "<tool_call>\n{}\n</tool_call>".format(body.replace("<", "\\u003c"))


_Found = tuple[int, int, list[ToolCall]]
"""Begin and end of calls in the text, and the calls."""


def _tagged(text: str, tool_names: Collection[str]) -> Iterator[_Found]:
    for match in _TAG.finditer(text):
        body = match[2].strip()
        calls = _calls_in(body, lambda name: True) or [
            call for _, _, calls in _spelled(body, tool_names) for call in calls
        ]
        if calls:
            yield match.start(), match.end(), calls


def _fenced(text: str, tool_names: Collection[str]) -> Iterator[_Found]:
    for match in _FENCE.finditer(text):
        body = match[1].strip()
        calls = _calls_in(body, tool_names.__contains__) or [
            call for _, _, calls in _spelled(body, tool_names) for call in calls
        ]
        if calls:
            yield match.start(), match.end(), calls


def _objects(text: str, tool_names: Collection[str]) -> Iterator[_Found]:
    end = 0
    for tries, match in enumerate(_CALL_BEGINS.finditer(text)):
        if tries == MAX_TRIES:
            return
        if match.start() < end:
            continue
        try:
            value, after = read_prefix(text, match.start())
        except UnreadableError:
            continue
        calls = list(_calls(value, tool_names.__contains__))
        if calls:
            end = after
            yield match.start(), end, calls


def _spelled(text: str, tool_names: Collection[str]) -> Iterator[_Found]:
    """Find calls that are written like Python's."""
    if not tool_names:
        return
    names = "|".join(map(re.escape, sorted(tool_names, key=len, reverse=True)))
    end = 0
    begins = re.compile(rf"(?<![\w-])({names})\s*\(")
    for tries, match in enumerate(begins.finditer(text)):
        if tries == MAX_TRIES:
            return
        if match.start() < end:
            continue
        try:
            arguments, end = _keywords(text, match.end())
        except UnreadableError:
            continue
        yield match.start(), end, [ToolCall(match[1], arguments)]


def _keywords(text: str, at: int) -> tuple[dict[str, Any], int]:
    """Read ``name="value", …)`` or ``{…})``."""
    arguments: dict[str, Any] = {}
    while not text.startswith(")", at := _skip(text, at)):
        keyword = _KEYWORD.match(text, at)
        if keyword:
            arguments[keyword[1]], at = read_prefix(text, keyword.end())
            continue
        value, at = read_prefix(text, at)
        if arguments or not isinstance(value, dict):
            raise UnreadableError("arguments have names")
        arguments = value
    return arguments, at + 1


def _skip(text: str, at: int) -> int:
    match = _SEPARATOR.match(text, at)
    return match.end() if match else at


def _calls_in(body: str, is_tool: Callable[[str], bool]) -> list[ToolCall]:
    documents = _documents([body]) or _documents(body.splitlines()[:MAX_TRIES])
    return [call for document in documents for call in _calls(document, is_tool)]


def _documents(texts: Iterable[str]) -> list[Any]:
    return [value for value in map(_document, texts) if value is not None]


def _document(text: str) -> Any | None:
    try:
        return read(text)
    except UnreadableError:
        return None


def _calls(value: Any, is_tool: Callable[[str], bool], depth: int = 3) -> Iterator[ToolCall]:
    """Find the calls in a value that may be one, a list of them, or an object around them."""
    if isinstance(value, list) and depth:
        for item in value:
            yield from _calls(item, is_tool, depth - 1)
    if not isinstance(value, dict):
        return
    for key in ("tool_calls", "tool_call", "function_call"):
        if isinstance(value.get(key), list) and depth:
            yield from _calls(value[key], is_tool, depth - 1)
            return
    call = _call(value)
    if call is not None and is_tool(call.name):
        yield call


def _call(value: dict[str, Any]) -> ToolCall | None:
    """Read a call; ``None`` if it has no name, or if a part of it would be lost."""
    form = read_call(value)
    if not form.name or not isinstance(form.name, str) or form.problem is not None:
        return None
    if not (form.arguments is None or isinstance(form.arguments, (str, dict))):
        return None
    arguments = read_arguments(form.arguments)
    if arguments is None or (form.unread and not arguments):
        return None
    return ToolCall(form.name, arguments)


def _without(text: str, found: list[_Found]) -> str:
    begins = [0, *(end for _, end, _ in found)]
    ends = [*(begin for begin, _, _ in found), len(text)]
    rest = "".join(text[begin:end] for begin, end in zip(begins, ends, strict=True)).strip()
    return "" if _ONLY_BRACKETS.fullmatch(rest) else rest
