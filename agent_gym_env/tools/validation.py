"""Checks that a call names a known tool and has arguments that its schema allows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from itertools import islice
from typing import Any

from agent_gym_env.corpus.sgd import TODAY
from agent_gym_env.corpus.tool_specs import ToolSpec, without_nulls
from agent_gym_env.lm.schema_mismatch import mismatch
from agent_gym_env.types import ToolCall
from agent_gym_env.values.equality import DONTCARE, canonical, value_text

_MAX_EXCERPT_CHARS = 60
_MAX_LISTED = 12
_MAX_NAME_CHARS = 100


class ToolCatalogue:
    """The tools that an agent may call, by full name ``Service-Intent`` or, where clear, by intent.

    The message of a problem is ``"code: what was found, what is expected"``, always short. The
    codes are ``unknown_tool``, ``ambiguous_tool``, ``missing_argument``, ``unknown_argument`` and
    ``invalid_value``.

    Args:
        tools: tools of the dialogue, by full name.

    Attributes:
        has_functions: whether one of the tools is a function of a log.
    """

    def __init__(self, tools: Mapping[str, ToolSpec]) -> None:
        self.tools = tools
        self.has_functions = any(spec.parameters is not None for spec in tools.values())
        self._by_intent: dict[str, list[str]] = {}
        for spec in tools.values():
            self._by_intent.setdefault(spec.intent, []).append(spec.name)
        self._required = {name: frozenset(spec.required) for name, spec in tools.items()}
        self._choices = {name: _choices(spec) for name, spec in tools.items()}

    def resolve(self, name: str) -> ToolSpec | str:
        """Return the tool that a name refers to, or a message about the name."""
        spec = self.tools.get(name)
        if spec is not None:
            return spec
        candidates = self._by_intent.get(name, [])
        if len(candidates) == 1:
            return self.tools[candidates[0]]
        if candidates:
            return (
                f"ambiguous_tool: {_excerpt(name)} may be any of {_listing(candidates)}; "
                "give the full name"
            )
        return f"unknown_tool: there is no tool {_excerpt(name)}; {self._suggestion(name)}"

    def full_name(self, name: str) -> str:
        """Return the full name of the tool that a name refers to, or the name itself."""
        spec = self.resolve(name)
        return name if isinstance(spec, str) else spec.name

    def without_nulls(self, call: ToolCall) -> ToolCall:
        """Leave out optional arguments of a function that are null, which equals their absence."""
        spec = self.tools.get(call.name)
        if spec is None or spec.parameters is None or None not in call.arguments.values():
            return call
        return ToolCall(call.name, without_nulls(spec, call.arguments))

    def problem(self, spec: ToolSpec, arguments: Mapping[str, Any]) -> str | None:
        """Return a message about wrong arguments of a call; ``None`` if they are right."""
        if spec.parameters is not None:
            return _function_problem(spec, arguments)
        if not self._required[spec.name] <= arguments.keys():
            return _missing_argument(spec, arguments)
        choices = self._choices[spec.name]
        for name, value in arguments.items():
            if name not in choices:
                return _unknown_argument(spec, name)
            allowed = choices[name]
            # Values in the schema's own spelling are accepted at once.
            if type(value) is str and (value in allowed if allowed else value != DONTCARE):
                continue
            problem = _value_problem(spec, name, value)
            if problem is not None:
                return problem
        return None

    def _suggestion(self, name: str) -> str:
        if not self.tools:
            return "no tool is on offer"
        offered = f"on offer: {_listing(self.tools)}"
        if len(self.tools) <= _MAX_LISTED:
            return offered
        close = get_close_matches(name[:_MAX_NAME_CHARS], [*self.tools, *self._by_intent])
        return f"did you mean {_listing(close)}?" if close else offered


def _function_problem(spec: ToolSpec, arguments: Mapping[str, Any]) -> str | None:
    """Compare the arguments of a function with its JSON schema."""
    parameters = spec.parameters or {}
    if any(name not in arguments for name in spec.required):
        return _missing_argument(spec, arguments)
    if parameters.get("additionalProperties") is False:
        for name in arguments:
            if name not in spec.arguments:
                return _unknown_argument(spec, name)
    found = mismatch(parameters, dict(arguments))
    if found is None:
        return None
    what, value = found.place or spec.name, _excerpt(value_text(found.value))
    return f"invalid_value: {_excerpt(what)} is {value}; expected {found.expected:.400}"


def _choices(spec: ToolSpec) -> dict[str, frozenset[str]]:
    """Return the allowed values of each argument in the schema's spelling; empty for any."""
    return {
        name: frozenset((*slot.possible_values, *_optional_values(spec, name)))
        if slot.is_categorical
        else frozenset()
        for name, slot in spec.arguments.items()
    }


def _optional_values(spec: ToolSpec, name: str) -> tuple[str, ...]:
    return (spec.defaults[name], DONTCARE) if name in spec.defaults else ()


def _missing_argument(spec: ToolSpec, arguments: Mapping[str, Any]) -> str:
    missing = _listing(name for name in spec.required if name not in arguments)
    return f"missing_argument: {spec.name} was called without {missing}, which it requires"


def _unknown_argument(spec: ToolSpec, name: str) -> str:
    takes = _listing(spec.arguments) or "none"
    return f"unknown_argument: {spec.name} has no argument {_excerpt(name)}; it takes {takes}"


def _value_problem(spec: ToolSpec, name: str, value: object) -> str | None:
    if not isinstance(value, (str, int, float)):
        found, expected = _json_type(value), "a text, a number or a boolean"
        return f"invalid_value: {name} is {found}; expected {expected}"
    key = canonical(value, TODAY)
    if name in spec.required and key == DONTCARE:
        return f"invalid_value: {name} is required, {DONTCARE!r} is for optional arguments only"
    slot = spec.arguments[name]
    allowed = [*slot.possible_values, *_optional_values(spec, name)]
    if not slot.is_categorical or any(key == canonical(choice, TODAY) for choice in allowed):
        return None
    expected = _listing(dict.fromkeys(allowed))
    return f"invalid_value: {name} is {_excerpt(value_text(value))}; expected one of {expected}"


def _json_type(value: object) -> str:
    return "null" if value is None else "a list" if isinstance(value, list) else "an object"


def _excerpt(text: str) -> str:
    """Quote an agent's text: short, on one line, in ASCII."""
    quoted = ascii(text[:_MAX_EXCERPT_CHARS])
    return quoted if len(text) <= _MAX_EXCERPT_CHARS else f"{quoted}..."


def _listing(names: Iterable[str]) -> str:
    remaining = iter(names)
    listed = ", ".join(islice(remaining, _MAX_LISTED))
    more = sum(1 for _ in remaining)
    return f"{listed} and {more} more" if more else listed
