"""Infers the schemas of tools that a log calls but does not describe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent_gym_env.corpus.tool_specs import FunctionTool

MAX_PROPERTIES = 64
"""An object with more different names is taken for a mapping, whose names are values."""


class Shape:
    """Collects the JSON types of the values of one place, and of their members.

    Attributes:
        kinds: JSON types that were seen.
    """

    __slots__ = ("_items", "_objects", "_properties", "_times", "kinds")

    def __init__(self) -> None:
        self.kinds: dict[str, None] = {}
        self._objects = 0
        self._properties: dict[str, Shape] = {}
        self._times: dict[str, int] = {}
        self._items: Shape | None = None

    def add(self, value: Any) -> None:
        """Take a value into account."""
        self.kinds[_kind(value)] = None
        if isinstance(value, dict):
            self._objects += 1
            for name, member in value.items():
                if name in self._properties or len(self._properties) <= MAX_PROPERTIES:
                    self._properties.setdefault(name, Shape()).add(member)
                    self._times[name] = self._times.get(name, 0) + 1
        elif isinstance(value, list):
            self._items = self._items or Shape()
            for item in value:
                self._items.add(item)

    def schema(self) -> dict[str, Any]:
        """Return a JSON schema that every value so far keeps to."""
        kinds = [kind for kind in self.kinds if kind != "integer" or "number" not in self.kinds]
        schema: dict[str, Any] = {"type": kinds[0] if len(kinds) == 1 else sorted(kinds)}
        if not kinds:
            return {}
        if self._objects and len(self._properties) <= MAX_PROPERTIES:
            schema["properties"] = {n: each.schema() for n, each in self._properties.items()}
            always = [name for name, times in self._times.items() if times == self._objects]
            if always:
                schema["required"] = always
        if self._items is not None and self._items.kinds:
            schema["items"] = self._items.schema()
        return schema


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


class ToolInference:
    """Collects the calls of tools without a schema."""

    def __init__(self) -> None:
        self._shapes: dict[str, Shape] = {}

    def add(self, name: str, arguments: Mapping[str, Any]) -> None:
        """Take a call into account."""
        shape = self._shapes.get(name)
        if shape is None:
            shape = self._shapes[name] = Shape()
        shape.add(dict(arguments))

    def names(self) -> tuple[str, ...]:
        """Return the names of the tools, in the order in which they were first called."""
        return tuple(self._shapes)

    def tools(self) -> tuple[FunctionTool, ...]:
        """Return the tools; an argument is required if every call has it."""
        return tuple(
            FunctionTool(name, name, "", {"type": "object", "properties": {}, **shape.schema()})
            for name, shape in self._shapes.items()
        )
