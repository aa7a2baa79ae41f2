"""Finds where a value breaks a JSON schema, to tell an agent.

The keywords that tools use are followed: types, choices, properties, items, bounds of numbers,
lengths, unions and references. Patterns and formats are not: a pattern of a stranger's schema can
take any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from agent_gym_env.lm.json_schema import Schema
from agent_gym_env.values.equality import same_json

_MAX_LISTED = 12
_MAX_DEPTH = 32
_TYPES: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: _is_number(value) and value % 1 == 0,
    "number": lambda value: _is_number(value),
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}
_BOUNDS: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "minimum": (lambda value, bound: value >= bound, "a number of at least"),
    "maximum": (lambda value, bound: value <= bound, "a number of at most"),
    "exclusiveMinimum": (lambda value, bound: value > bound, "a number above"),
    "exclusiveMaximum": (lambda value, bound: value < bound, "a number below"),
}
_LENGTHS: dict[str, tuple[type, Callable[[float, float], bool], str]] = {
    "minLength": (str, lambda size, bound: size >= bound, "characters at least"),
    "maxLength": (str, lambda size, bound: size <= bound, "characters at most"),
    "minItems": (list, lambda size, bound: size >= bound, "items at least"),
    "maxItems": (list, lambda size, bound: size <= bound, "items at most"),
}


class Mismatch(NamedTuple):
    """The first place where a value breaks a schema.

    Attributes:
        place: path of the value, for example ``passengers[0].age``; ``""`` for the whole.
        value: what was found there.
        expected: what the schema expects there, in words.
    """

    place: str
    value: Any
    expected: str


def mismatch(schema: Mapping[str, Any], value: Any) -> Mismatch | None:
    """Compare a JSON value with a schema; ``None`` if it keeps to it.

    Never raises for a schema that is malformed: a rule that cannot be read is not followed.
    """
    return next(_mismatches(Schema(schema), value, "", _MAX_DEPTH), None)


def _mismatches(schema: Schema, value: Any, place: str, depth: int) -> Iterator[Mismatch]:
    rules = schema.value
    if not depth:
        return
    expected = next(_broken_rules(rules, value), None)
    if expected is not None:
        yield Mismatch(place, value, expected)
        return
    for part in _schemas(rules.get("allOf")):
        yield from _mismatches(schema.below(part), value, place, depth - 1)
    for union in ("anyOf", "oneOf"):
        yield from _of_union(schema, _schemas(rules.get(union)), value, place, depth - 1)
    if isinstance(value, dict):
        yield from _of_members(schema, value, place, depth - 1)
    elif isinstance(value, list):
        items = rules.get("items")
        each = schema.below(items) if isinstance(items, dict) else Schema(True)
        for number, item in enumerate(value):
            yield from _mismatches(each, item, f"{place}[{number}]", depth - 1)


def _of_union(
    schema: Schema, parts: list[dict[str, Any]], value: Any, place: str, depth: int
) -> Iterator[Mismatch]:
    """Yield what the part misses that comes closest, unless one part holds."""
    found = []
    for part in parts:
        broken = next(_mismatches(schema.below(part), value, place, depth), None)
        if broken is None:
            return
        found.append(broken)
    if found:
        deepest = max(found, key=lambda each: len(each.place))
        at_once = [each.expected for each in found if each.place == deepest.place]
        yield deepest._replace(expected=" or ".join(dict.fromkeys(at_once)))


def _of_members(
    schema: Schema, value: dict[str, Any], place: str, depth: int
) -> Iterator[Mismatch]:
    rules = schema.value
    properties = rules.get("properties")
    known = properties if isinstance(properties, dict) else {}
    required = rules.get("required")
    names = required if isinstance(required, list) else []
    missing = [name for name in names if isinstance(name, str) and name not in value]
    if missing:
        yield Mismatch(place, value, f"an object with {_listing(missing)}")
    others = rules.get("additionalProperties")
    for name, member in value.items():
        inside = f"{place}.{name}" if place else name
        if isinstance(known.get(name), dict):
            yield from _mismatches(schema.below(known[name]), member, inside, depth)
        elif name not in known and isinstance(others, dict):
            yield from _mismatches(schema.below(others), member, inside, depth)
        elif name not in known and others is False and "patternProperties" not in rules:
            yield Mismatch(inside, member, f"no such member; there are {_listing(known) or 'none'}")


def _broken_rules(rules: Mapping[str, Any], value: Any) -> Iterator[str]:
    """Yield in words what the rules of one level expect and the value is not."""
    kinds = rules.get("type")
    names = kinds if isinstance(kinds, list) else [kinds]
    known = [name for name in names if isinstance(name, str) and name in _TYPES]
    if known and len(known) == len(names) and not any(_TYPES[name](value) for name in known):
        yield f"the type {' or '.join(known)}"
    choices = rules.get("enum")
    if isinstance(choices, list) and not any(same_json(value, choice) for choice in choices):
        yield f"one of {_listing(map(repr, choices))}"
    if "const" in rules and not same_json(value, rules["const"]):
        yield repr(rules["const"])
    for name, (holds, words) in _BOUNDS.items():
        bound = rules.get(name)
        if isinstance(bound, (int, float)) and _is_number(value) and not holds(value, bound):
            yield f"{words} {bound}"
    for name, (kind, holds, words) in _LENGTHS.items():
        bound = rules.get(name)
        if (
            isinstance(bound, (int, float))
            and isinstance(value, (str, list))
            and isinstance(value, kind)
            and not holds(len(value), bound)
        ):
            yield f"{bound} {words}"


def _schemas(parts: Any) -> list[dict[str, Any]]:
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _listing(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - _MAX_LISTED
    return ", ".join(listed[:_MAX_LISTED]) + (f" and {more} more" if more > 0 else "")
