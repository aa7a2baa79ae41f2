"""Messages about unknown names: they list the known ones and suggest the nearest."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from functools import cache, lru_cache
from os import PathLike, fspath
from types import SimpleNamespace
from typing import Any, get_type_hints

import msgspec
from msgspec import inspect as shapes

_MOST_LISTED = 40

# Kept, because annotations are compiled each time that a type is looked at.
_type_info = lru_cache(maxsize=None)(shapes.type_info)


def unknown_name(what: str, found: object, known: Iterable[str]) -> str:
    """Return a message about an unknown name.

    Args:
        what: kind of the name, for example ``policy``.
        found: the unknown name.
        known: the known names.
    """
    names = list(known)
    return f"{what} must be {_listed(names)}, not {found!r:.80}{did_you_mean(found, names)}"


def refuse_unknown(owner: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse unknown options.

    Args:
        owner: owner of the options, for example ``policy 'constant'``.
        given: names of the given options.
        known: names of the known options.

    Raises:
        ValueError: a name is not known; the message lists the known ones and the nearest.
    """
    names = sorted(known)
    for name in given:
        if name not in names:
            listed = f"its options are {', '.join(names)}" if names else "it has no options"
            raise ValueError(f"{owner} has no option {name!r}{did_you_mean(name, names)}; {listed}")


_MAKERS = ("__init__", "__new__")


def parameters(taker: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a function or class by name.

    Python would compile the text of a signature for a class that defines no ``__init__``.
    """
    inherited = (getattr(taker, name) is getattr(object, name) for name in _MAKERS)
    if isinstance(taker, type) and all(inherited):
        return {}
    return inspect.signature(taker).parameters


@cache
def keywords(*takers: Callable[..., Any]) -> frozenset[str]:
    """Return the names of keyword-only arguments and arguments with a default."""
    found = (each for taker in takers for each in parameters(taker).values())
    return frozenset(
        each.name
        for each in found
        if each.kind is each.KEYWORD_ONLY
        or (each.kind is each.POSITIONAL_OR_KEYWORD and each.default is not each.empty)
    )


@cache
def argument_types(taker: Callable[..., Any]) -> dict[str, Any]:
    """Return the types of the arguments of a function or class.

    A type that its module imports for type checkers only is left out.

    Args:
        taker: function or class.
    """
    is_class = isinstance(taker, type) and not issubclass(taker, msgspec.Struct)
    target = taker.__init__ if is_class else taker
    try:
        hints = get_type_hints(target, include_extras=True)
    except (NameError, AttributeError, TypeError):
        hints = dict(_types_one_by_one(target))
    return {name: hint for name, hint in hints.items() if name != "return"}


def _types_one_by_one(target: Any) -> Iterator[tuple[str, Any]]:
    names = getattr(target, "__globals__", None) or getattr(target, "__func__", target).__globals__
    for name, annotation in target.__annotations__.items():
        alone = SimpleNamespace(__annotations__={name: annotation})
        with suppress(NameError, AttributeError, TypeError):
            yield name, get_type_hints(alone, globalns=names, include_extras=True)[name]


def refuse_wrong_types(owner: str, given: Mapping[str, Any], types: Mapping[str, Any]) -> None:
    """Refuse options whose values are not of their types.

    An option whose type is not one of JSON's, such as a model, is left to what takes it.

    Args:
        owner: has the options, for example ``policy 'constant'``.
        given: options by name.
        types: the type of each option by name.

    Raises:
        ValueError: a value is of another type, or out of its range.
    """
    for name, value in given.items():
        if name not in types or not _is_json_type(types[name]):
            continue
        try:
            msgspec.convert(_plain(value), types[name])
        except msgspec.ValidationError as error:
            problem, path = explained(error, types[name])
            found = f", found {value!r:.80}" if re.search(r" [<>]=? \S+$", problem) else ""
            raise ValueError(f"{owner}: {name + path}: {problem}{found}") from error


def _is_json_type(hint: Any) -> bool:
    try:
        return _is_json(_type_info(hint))
    except TypeError:  # a type that msgspec does not know
        return False


def _plain(value: Any) -> Any:
    import numpy as np  # here, because the command line shows its help without it

    if isinstance(value, np.generic):
        return value.item()
    return fspath(value) if isinstance(value, PathLike) else value


def _is_json(shape: shapes.Type) -> bool:
    if isinstance(shape, shapes.CustomType):
        return False
    if isinstance(shape, shapes.Metadata):
        return _is_json(shape.type)
    return all(map(_is_json, shape.types)) if isinstance(shape, shapes.UnionType) else True


def explained(error: msgspec.ValidationError, shape: Any) -> tuple[str, str]:
    """Explain a decoder's error: what it found, what it expected, and where.

    Args:
        error: error of the decoder.
        shape: type to be decoded.

    Returns:
        The problem, and the place in msgspec's notation (``.turns[3].frames``; ``""`` for the top).
    """
    problem, _, path = str(error).rpartition(" - at `")
    problem, path = (problem, path.rstrip("`").lstrip("$")) if problem else (path, "")
    if path.startswith("key"):
        path = ""
    place = _inside(_type_info(shape), path)
    return _with_names(problem, place), path


def _with_names(problem: str, place: Sequence[shapes.Type]) -> str:
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", problem, re.DOTALL)
    if unknown:
        names = list(_fields(place))
        return (
            f"unknown field {unknown[1]!r:.80}{did_you_mean(unknown[1], names)}; "
            f"expected {_listed(names)}"
        )
    missing = re.fullmatch(r"Object missing required field `(.*)`", problem)
    if missing:
        return f"the field {missing[1]!r} is missing"
    invalid = re.fullmatch(r"Invalid (?:enum )?value '(.*)'", problem, re.DOTALL)
    values = list(dict.fromkeys(map(str, _values(place))))
    if invalid and values:
        nearest = did_you_mean(invalid[1], values)
        return f"expected {_listed(values)}, found {invalid[1]!r:.80}{nearest}"
    if values and problem == "Expected `str`":
        return f"expected {_listed(values)}"
    wrong = re.fullmatch(r"Expected `(.*?)`(.*?)(?:, got `(.*)`)?", problem)
    if wrong:
        found = f", found {_in_words(wrong[3])}" if wrong[3] else ""
        return f"expected {_in_words(wrong[1])}{wrong[2]}{found}"
    return problem


def _in_words(types: str) -> str:
    """Write msgspec's names of JSON's types as words, for example ``a string or null``."""
    words = {
        "str": "a string",
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "array": "a list",
        "object": "an object",
        "null": "null",
    }
    return " or ".join(words.get(name, name) for name in types.split(" | "))


def _inside(shape: shapes.Type, path: str) -> Sequence[shapes.Type]:
    """Follow a path through a type; several types where it is a union, none where it is lost."""
    places = list(_alternatives(shape))
    for field, index in re.findall(r"\.(\w+)|\[([^\]]*)\]", path):
        places = [
            inside
            for place in places
            for each in _members(place, field, index)
            for inside in _alternatives(each)
        ]
    return places


def _alternatives(shape: shapes.Type) -> Iterator[shapes.Type]:
    if isinstance(shape, shapes.UnionType):
        for each in shape.types:
            yield from _alternatives(each)
    elif isinstance(shape, shapes.Metadata):
        yield from _alternatives(shape.type)
    else:
        yield shape


def _members(place: shapes.Type, field: str, index: str) -> Iterator[shapes.Type]:
    if isinstance(place, shapes.StructType):
        if field == place.tag_field:
            yield place
        yield from (each.type for each in place.fields if each.encode_name == field)
    elif isinstance(place, shapes.DictType):
        yield place.value_type
    elif isinstance(place, shapes.TupleType):
        yield from place.item_types[int(index) : int(index) + 1] if index.isdecimal() else ()
    elif isinstance(place, shapes.CollectionType):
        yield place.item_type


def _fields(place: Sequence[shapes.Type]) -> dict[str, None]:
    structs = [each for each in place if isinstance(each, shapes.StructType)]
    tags = {each.tag_field: None for each in structs if each.tag_field is not None}
    return {**tags, **{field.encode_name: None for each in structs for field in each.fields}}


def _values(place: Sequence[shapes.Type]) -> Iterator[object]:
    for each in place:
        if isinstance(each, shapes.LiteralType):
            yield from each.values
        elif isinstance(each, shapes.StructType) and each.tag is not None:
            yield each.tag


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "nothing"
    shown = list(names[:_MOST_LISTED])
    more = f" or one of {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return (f"one of {', '.join(shown)}" if len(names) > 1 else shown[0]) + more


def did_you_mean(found: object, known: Sequence[str]) -> str:
    """Ask whether another name was meant; return ``""`` where none is near."""
    by_lower = {name.lower(): name for name in known}
    near = get_close_matches(str(found)[:80].lower(), by_lower, n=1, cutoff=0.6)
    return f" (did you mean {by_lower[near[0]]!r}?)" if near else ""
