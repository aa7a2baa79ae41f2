"""JSON as models write it: single quotes, trailing commas, unquoted keys, Python literals.

Nothing is evaluated. Time is linear in the length of the text, and nesting is limited.
"""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec

MAX_DEPTH = 32
"""Levels of lists and objects in a document or in a call's arguments, the outermost included."""

MAX_LENGTH = 65_536
"""Most characters of a text; longer ones are refused."""

_QUOTES = "\"'“”\u2018\u2019"
_CLOSERS = {'"': '"', "'": "'", "“": "”", "\u2018": "\u2019"}
_SPACE = re.compile(r"\s*")
_BARE = re.compile(rf"[^\s,:{{}}\[\]()={_QUOTES}]+")
_STRING_STEP = re.compile(rf"[^\\{_QUOTES}]+")
_STRING_ENDS = re.compile(r"\s*(?:[,:}\])]|\Z)")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_LITERALS = {"true": True, "false": False, "null": None, "none": None}
_CONTROL = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
_INTEGER = re.compile(r"-?\d{1,18}")
"""An integer of 64 bits; longer ones are read as floats."""

_decode = msgspec.json.Decoder().decode
_NOT_STRICT = (msgspec.DecodeError, UnicodeEncodeError, RecursionError)


class UnreadableError(ValueError):
    """The text cannot be read as JSON."""


def read(text: str) -> Any:
    """Read a JSON document, strictly if possible and leniently otherwise.

    Raises:
        UnreadableError: the text cannot be repaired.
    """
    try:
        value = _decode(text)
    except _NOT_STRICT:
        value, end = read_prefix(text, 0)
    else:
        return _bounded(value, text)
    if _space(text, end) != len(text):
        raise UnreadableError(f"something follows the value at character {end}")
    return value


def read_strictly(text: str) -> Any:
    """Read a JSON document within the limits of depth and length.

    Raises:
        UnreadableError: it is not JSON, or beyond a limit.
    """
    try:
        return _bounded(_decode(text), text)
    except _NOT_STRICT as error:
        raise UnreadableError(str(error)) from error


def nests_deeper(value: Any, levels: int) -> bool:
    """Return whether lists and objects lie inside each other in more levels than given."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(levels):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return False
    return bool(level)


def _bounded(value: Any, text: str) -> Any:
    if len(text) > MAX_LENGTH:
        raise UnreadableError(f"more than {MAX_LENGTH} characters")
    if nests_deeper(value, MAX_DEPTH):
        raise UnreadableError(f"more than {MAX_DEPTH} levels")
    return value


def read_prefix(text: str, start: int) -> tuple[Any, int]:
    """Read the value that begins at an index.

    Returns:
        The value, and the index after it.

    Raises:
        UnreadableError: no value begins there.
    """
    if len(text) - start > MAX_LENGTH:
        raise UnreadableError(f"more than {MAX_LENGTH} characters")
    return _value(text, start, MAX_DEPTH)


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    at = _space(text, at)
    first = text[at : at + 1]
    if first == "{":
        return _object(text, at + 1, depth - 1)
    if first == "[":
        return _list(text, at + 1, depth - 1)
    if first in _CLOSERS:
        return _string(text, at)
    bare = _BARE.match(text, at)
    if bare is None:
        raise UnreadableError(f"no value at character {at}")
    return _literal(bare[0]), bare.end()


def _object(text: str, at: int, depth: int) -> tuple[dict[str, Any], int]:
    members: dict[str, Any] = {}
    while not text.startswith("}", at := _past_comma(text, at, members, depth)):
        key, at = _key(text, at)
        at = _space(text, at)
        if not text.startswith(":", at):
            raise UnreadableError(f"no ':' at character {at}")
        members[key], at = _value(text, at + 1, depth)
    return members, at + 1


def _list(text: str, at: int, depth: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    while not text.startswith("]", at := _past_comma(text, at, items, depth)):
        item, at = _value(text, at, depth)
        items.append(item)
    return items, at + 1


def _past_comma(text: str, at: int, before: Any, depth: int) -> int:
    """Return the index of the next member or of the closing bracket, after at most one comma."""
    if depth < 0:
        raise UnreadableError(f"more than {MAX_DEPTH} levels")
    at = _space(text, at)
    if not before or text[at : at + 1] in ("}", "]"):
        return at
    if not text.startswith(",", at):
        raise UnreadableError(f"no ',' at character {at}")
    return _space(text, at + 1)


def _key(text: str, at: int) -> tuple[str, int]:
    if text[at : at + 1] in _CLOSERS:
        return _string(text, at)
    bare = _BARE.match(text, at)
    if bare is None:
        raise UnreadableError(f"no name at character {at}")
    return bare[0], bare.end()


def _string(text: str, at: int) -> tuple[str, int]:
    """Read a string. A quote ends it only where something can follow: "it's" needs no escape."""
    closer = _CLOSERS[text[at]]
    at += 1
    pieces: list[str] = []
    while at < len(text):
        if step := _STRING_STEP.match(text, at):
            pieces.append(step[0])
            at = step.end()
        elif text[at] == closer and _STRING_ENDS.match(text, at + 1):
            return _joined("".join(pieces)), at + 1
        elif escape := _ESCAPE.match(text, at):
            pieces.append(_unescaped(escape))
            at = escape.end()
        else:
            pieces.append(text[at])
            at += 1
    raise UnreadableError("a string has no end")


def _unescaped(escape: re.Match[str]) -> str:
    code, character = escape.groups()
    return chr(int(code, 16)) if code else _CONTROL.get(character, character)


def _joined(text: str) -> str:
    """Join surrogate pairs; replace lone surrogates by U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _literal(word: str) -> Any:
    if word.lower() in _LITERALS:
        return _LITERALS[word.lower()]
    if not _NUMBER.fullmatch(word):
        raise UnreadableError(f"{word[:40]!r} is not a value")
    number = float(word)
    return int(word) if _INTEGER.fullmatch(word) else number if math.isfinite(number) else word


def _space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
