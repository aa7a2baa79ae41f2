"""The forms in which libraries write tool calls and reasoning.

=========================  =================================================================
OpenAI, Mistral, Ollama    ``{"id", "type": "function", "function": {"name", "arguments"}}``
OpenAI, responses          ``{"type": "function_call", "call_id", "name", "arguments"}``
Anthropic                  ``{"type": "tool_use", "id", "name", "input"}``
Bedrock                    ``{"toolUse": {"toolUseId", "name", "input"}}``
Gemini                     ``{"functionCall": {"name", "args"}}``, or in snake case
LangChain, DSPy            ``{"name", "args", "id", "type": "tool_call"}``
Llama, Cohere              ``{"name", "parameters"}``
Inspect                    ``{"id", "function": "name", "arguments"}``
Pydantic AI, LlamaIndex    ``{"tool_name", "args"}``, ``{"tool_name", "tool_kwargs"}``
=========================  =================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

NAME_KEYS = ("name", "tool_name", "toolName", "tool", "function", "action")
ARGUMENT_KEYS = (
    "arguments", "parameters", "args", "input", "params", "kwargs", "tool_input", "tool_kwargs",
    "action_input",
)  # fmt: skip
WRAPPER_KEYS = (
    "function", "function_call", "functionCall", "tool_call", "toolCall", "tool_use", "toolUse",
    "custom", "toolInvocation",
)  # fmt: skip
"""Keys below which a library writes the name and the arguments."""

_CALL_TYPES = frozenset((
    "function", "function_call", "tool_call", "tool-call", "tool_use", "custom_tool_call",
    "invalid_tool_call",
))  # fmt: skip
_ABOUT_A_CALL = frozenset((
    "id", "type", "index", "call_id", "tool_call_id", "toolCallId", "toolUseId", "tool_id",
    "status", "object", "part_kind", "block_type", "caller", "namespace", "cache_control",
    "thought_signature", "thoughtSignature", "extra_content", "extras", "created_by",
    "provider_name", "provider_details", "provider_specific_fields", "will_continue", "requestor",
    "state", "step",
))  # fmt: skip
"""Keys that do not decide which tool is called."""

_KNOWN = _ABOUT_A_CALL.union(NAME_KEYS, ARGUMENT_KEYS)
_PLAIN = frozenset(("name", "arguments"))
_OF_MESSAGES = frozenset(("role", "content", "text", "tool_calls"))
_REASONING = re.compile("reason|think|thought|tool_plan", re.IGNORECASE)
_MAX_WRAPPERS = 3


class CallForm(NamedTuple):
    """A call as it was written, before its values are checked.

    Attributes:
        name: name of the tool, usually a text; ``None`` if it is missing.
        arguments: arguments in the library's form: an object, its JSON, or ``None``.
        unread: unknown keys whose values are not empty.
        problem: why the call is ambiguous; ``None`` if it is not.
    """

    name: Any
    arguments: Any
    unread: tuple[str, ...] = ()
    problem: str | None = None


def read_call(value: Mapping[str, Any]) -> CallForm:
    """Read a call in any of the forms above."""
    if value.keys() <= _PLAIN:  # most are, and a closer look takes ten times as long
        return CallForm(value.get("name"), value.get("arguments"))
    items = list(_members(value, _MAX_WRAPPERS))
    names = _distinct(item for item in items if item[0] in NAME_KEYS)
    given = _distinct(item for item in items if item[0] in ARGUMENT_KEYS)
    unread = tuple(key for key, member in items if key not in _KNOWN and not is_nothing(member))
    problem = _several("names", names) or _several("arguments", given)
    return CallForm(_first(names, items, NAME_KEYS), _first(given, items, ARGUMENT_KEYS), unread,
                    problem)  # fmt: skip


def is_call(value: Mapping[str, Any]) -> bool:
    """Return whether a mapping is a call by itself, and not a message."""
    kind = value.get("type", value.get("part_kind"))
    if isinstance(kind, str) and kind in _CALL_TYPES:
        return True
    if _OF_MESSAGES & value.keys():
        return False
    has_name = any(isinstance(value.get(key), str) for key in NAME_KEYS)
    return wraps_call(value) or (has_name and any(key in value for key in ARGUMENT_KEYS))


def wraps_call(value: Mapping[str, Any]) -> bool:
    """Return whether a mapping holds a call below one of the keys that libraries use."""
    return any(isinstance(value.get(key), Mapping) for key in WRAPPER_KEYS)


def is_reasoning(part: Mapping[str, Any]) -> bool:
    """Return whether a part of a message is the model's reasoning, which the user never sees."""
    kinds = (part.get(key) for key in ("type", "part_kind", "block_type"))
    if any(isinstance(kind, str) and _REASONING.search(kind) for kind in kinds):
        return True
    is_apart = "reasoningContent" in part or "reasoning" in part
    return part.get("thought") is True or (is_apart and "text" not in part)


def words_of(parts: Iterable[Any]) -> str | None:
    """Join the words of a message's parts; ``None`` where no part is words."""
    found = [words for words in map(_words, parts) if words is not None]
    return "".join(found) if found else None


def _words(part: Any) -> str | None:
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping) or is_reasoning(part):
        return None
    words = (part.get(key) for key in ("text", "refusal"))
    return next((text for text in words if isinstance(text, str)), None)


def is_nothing(value: Any) -> bool:
    """Return whether a value is ``None`` or empty."""
    return value is None or (isinstance(value, (str, list, tuple, Mapping)) and not value)


def _members(value: Mapping[str, Any], wrappers: int) -> Iterator[tuple[str, Any]]:
    for key, member in value.items():
        if key in WRAPPER_KEYS and isinstance(member, Mapping) and wrappers:
            yield from _members(member, wrappers - 1)
        else:
            yield str(key), member


def _distinct(items: Iterator[tuple[str, Any]]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in items:
        if not is_nothing(value) and all(value != other for _, other in found):
            found.append((key, value))
    return found


def _several(what: str, found: list[tuple[str, Any]]) -> str | None:
    if len(found) < 2:
        return None
    keys = " and ".join(repr(key) for key, _ in found)
    return f"it has different {what} in {keys}"


def _first(
    found: list[tuple[str, Any]], items: list[tuple[str, Any]], keys: tuple[str, ...]
) -> Any:
    """Return the first value found, or else the first empty one."""
    if found:
        return found[0][1]
    return next((value for key, value in items if key in keys), None)
