"""Parts of a JSON schema that are valid on their own.

Schemas of pydantic and MCP refer by ``$ref`` to definitions at the schema's root.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

_WHOLE = "whole"
_MAX_REFERENCES = 32
_LOOKS_AROUND = re.compile(r"\(\?(?:[=!]|<[=!])|\\[1-9]")
"""What no automaton can follow: look-around, which pydantic writes for decimals, and references."""


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

    def alone(self) -> dict[str, Any]:
        """Write it so that it is understood by itself.

        Rules that llguidance does not know are left out; a value may then break them.
        """
        written: dict[str, Any] = _rewritten(self.value)
        if _refers(self.value):
            written["$defs"] = {_WHOLE: _rewritten(self._root)}
        return {**written, "x-guidance": {"lenient": True}}

    def _resolved(self, value: Mapping[str, Any] | bool) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            return {}
        for _ in range(_MAX_REFERENCES):
            value, before = self._step(value), value
            if value is before:
                break
        return dict(value)

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


def _rewritten(value: Any) -> Any:
    """Point references to where the whole is kept, and leave out what cannot be followed."""
    if isinstance(value, list):
        return [_rewritten(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {
        key: _moved(member) if key == "$ref" else _rewritten(member)
        for key, member in value.items()
        if not (isinstance(member, str) and _is_left_out(key, member))
    }


def _moved(reference: Any) -> Any:
    if not isinstance(reference, str):
        return _rewritten(reference)  # an argument of that name
    if reference == "#" or reference.startswith("#/"):
        return f"#/$defs/{_WHOLE}{reference[1:]}"
    return reference


def _is_left_out(key: str, value: str) -> bool:
    """Return whether a rule cannot be followed, or would move the root of references."""
    return key == "$id" or (key == "pattern" and bool(_LOOKS_AROUND.search(value)))
