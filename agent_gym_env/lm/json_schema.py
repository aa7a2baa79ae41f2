"""Parts of a JSON schema that are valid on their own.

Schemas of pydantic and MCP refer by ``$ref`` to definitions at the schema's root.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

_WHOLE = "whole"
_MAX_REFERENCES = 32
MAX_LENGTH = 2**31 - 1
"""Largest length that is written; grammars do not support larger ones."""

_OF_NAMES = frozenset((
    "properties", "patternProperties", "$defs", "definitions", "dependentSchemas",
))  # fmt: skip
"""Keys below which the keys are names, whatever they look like."""

_OF_VALUES = frozenset(("enum", "const", "default", "examples"))
"""Keys below which there are values, and no schemas."""

_LENGTHS = frozenset((
    "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties",
))  # fmt: skip
_RULES = _LENGTHS.union((
    "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
))  # fmt: skip

IsFollowed = Callable[[str, Any, Any], bool]
"""Returns whether a rule can be followed, given its key, its value and the schema's ``type``."""


class Schema:
    """A schema, or a part of one.

    Args:
        value: the schema, or the part; ``True`` for anything.
        root: the whole, if ``value`` is a part of it.

    Attributes:
        value: the part itself, with its references replaced by their targets.
    """

    def __init__(self, value: Mapping[str, Any] | bool, root: Any = None) -> None:
        self._root = value if root is None else root
        self.value = self._resolved(value)

    def below(self, value: Mapping[str, Any] | bool) -> Schema:
        """Return a part that is written inside this schema."""
        return Schema(value, self._root)

    def alone(self, is_followed: IsFollowed = lambda *_: True) -> dict[str, Any]:
        """Write the schema so that it is valid on its own.

        Args:
            is_followed: asked of patterns, bounds and lengths. What it refuses is left out, as are
                rules that llguidance does not know; a value may then break them.
        """
        written: dict[str, Any] = _rewritten(self.value, is_followed)
        if _refers(self.value):
            written["$defs"] = {_WHOLE: _rewritten(self._root, is_followed)}
        return {**written, "x-guidance": {"lenient": True}}

    def _resolved(self, value: Mapping[str, Any] | bool) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            return {}
        for _ in range(_MAX_REFERENCES):
            value, before = self._step(value), value
            if value is before:
                break
        return {key: _length(each) if key in _LENGTHS else each for key, each in value.items()}

    def _step(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """Replace one reference by its target; keywords beside the reference win."""
        rest = {key: member for key, member in value.items() if key not in ("$ref", "allOf")}
        if isinstance(value.get("$ref"), str) and "allOf" not in value:
            target = self._target(value["$ref"])
            return {**target, **rest} if isinstance(target, Mapping) else value
        match value.get("allOf"):
            case [dict() as only] if "$ref" not in value and not only.keys() & rest.keys():
                return {**only, **rest}
        return value

    def _target(self, reference: str) -> Any:
        """Return the target of a reference within the schema; ``None`` for another kind."""
        if reference != "#" and not reference.startswith("#/"):
            return None
        target = self._root
        for step in unquote(reference[1:]).split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(target, Mapping) or step not in target:
                return None
            target = target[step]
        return target


def _refers(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "$ref" in value or any(map(_refers, value.values()))
    return isinstance(value, list) and any(map(_refers, value))


def _length(value: Any) -> Any:
    """Return a length as grammars expect it; leave a value that is not a length unchanged."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    return int(min(value, MAX_LENGTH)) if value >= 0 and value % 1 == 0 else value


def _rewritten(value: Any, is_followed: IsFollowed) -> Any:
    """Point references to where the whole is kept, and leave out what cannot be followed."""
    if isinstance(value, list):
        return [_rewritten(item, is_followed) for item in value]
    if not isinstance(value, Mapping):
        return value
    written: dict[str, Any] = {}
    for key, member in value.items():
        if key in _OF_VALUES:
            written[key] = member
        elif key in _OF_NAMES and isinstance(member, Mapping):
            written[key] = {
                name: _rewritten(each, is_followed)
                for name, each in member.items()
                if key != "patternProperties" or is_followed("pattern", name, "string")
            }
        elif key == "$ref" and isinstance(member, str):
            written[key] = _moved(member)
        elif key in _RULES and isinstance(member, (str, int, float)):
            rule = _length(member) if key in _LENGTHS else member
            if is_followed(key, rule, value.get("type")):
                written[key] = rule
        elif key != "$id":  # it would move the root of references
            written[key] = _rewritten(member, is_followed)
    return written


def _moved(reference: str) -> str:
    if reference == "#" or reference.startswith("#/"):
        return f"#/$defs/{_WHOLE}{reference[1:]}"
    return reference
