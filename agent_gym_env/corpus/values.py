"""The one notion of equal slot values, for tool replay, rewards, hashes and argument filling."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from itertools import islice
from typing import Literal, NamedTuple

from agent_gym_env.corpus import dates, numbers, times
from agent_gym_env.corpus.surface import any_of, either, read_first

Kind = Literal["date", "time", "number"]

MAX_READ_CHARS = 160
"""A longer value is compared as text; the longest of SGD has 120 characters."""

MAX_MENTIONS = 256
"""More dates, times and numbers are not looked for in one text."""

_RULES = {"date": dates.RULES, "time": times.RULES, "number": numbers.RULES}
_KINDS = "|".join(f"(?P<{kind}>{either(rules)})" for kind, rules in _RULES.items())
_VALUE = re.compile(_KINDS)
# Each value has a digit or begins one of its words with one of these, as "sevenpm" does.
_SPOKEN = re.compile(rf"(?<!\w){any_of(sorted(dates.WORDS | times.WORDS | numbers.WORDS))}")
_DIGIT = re.compile("[0-9]")
# Rules out most places of a text at a glance: nothing that is searched for begins otherwise.
_BEGIN = r"(?=[0-9adefhjlmnoqstwyz]|-[$\u20ac\u00a30-9]|[$\u20ac\u00a3]\s?[0-9])"
_MENTION = re.compile(rf"(?<!\w){_BEGIN}(?<!\d[-.,:/])(?:{_KINDS})(?!\w)(?![-.,:/]\d)")

_BOOLEANS = {"true": "true", "yes": "true", "false": "false", "no": "false"}
_ASCII_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_ASCII_SEPARATORS = bytes(code for code in range(128) if not chr(code).isalnum())
_AROUND = " \t\r\n.,;!?'\""


class FoundValue(NamedTuple):
    """A date, a time or a number in a text.

    Attributes:
        start: first character.
        end: the character behind the last.
        kind: what it is.
        canonical: equal to `canonical` of the text between.
    """

    start: int
    end: int
    kind: Kind
    canonical: str


def canonical(value: object, today: str) -> str:
    """Give the key of a slot value: values with equal keys are the same value.

    Case, punctuation and spacing do not count; a date, a time of day, a number and a boolean have
    one key each, however they are written or said. Takes any JSON value and never raises for it.

    Args:
        value: the value.
        today: the day on which it was said, ISO.
    """
    text = value if type(value) is str else value_text(value)
    if len(text) > MAX_READ_CHARS:
        return _squash(text.lower())
    return _canonical(text, today)


def same_value(value: object, other: object, today: str) -> bool:
    """Whether two slot values are the same, said on the same day."""
    return canonical(value, today) == canonical(other, today)


def find_values(text: str, today: str) -> list[FoundValue]:
    """Find dates, times and numbers in a text, from left to right, without overlap.

    Args:
        text: any text; of its values the first `MAX_MENTIONS` are found.
        today: the day on which it was said, ISO.
    """
    # Lower case that keeps every character's place, which str.lower() does not.
    lower = text.lower() if text.isascii() else text.translate(_ASCII_LOWER)
    if not (_DIGIT.search(lower) or _SPOKEN.search(lower)):
        return []
    return list(islice(_mentions(lower, date.fromisoformat(today)), MAX_MENTIONS))


def value_text(value: object) -> str:
    """Write a JSON value as text: a string as it is, ``True`` as ``"True"``, a list as JSON."""
    if isinstance(value, str):
        return value
    try:
        if isinstance(value, (bool, int, float)):
            return str(value)
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    except (ValueError, RecursionError):
        # An integer of thousands of digits, a list thousands deep: no corpus has such a value.
        return "beyond reading"


def _mentions(text: str, today: date) -> Iterator[FoundValue]:
    at = 0
    while match := _MENTION.search(text, at):
        kind: Kind = match.lastgroup  # type: ignore[assignment]
        found = read_first(_RULES[kind], match[0], today)
        if found is None:
            # A day that no month has, say; the numbers inside are numbers all the same.
            at = match.start() + 1
        else:
            yield FoundValue(match.start(), match.end(), kind, found)
            at = match.end()


# Bounded: an agent chooses what goes in.
@lru_cache(maxsize=8192)
def _canonical(text: str, today: str) -> str:
    lower = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).lower()
    bare = lower.strip(_AROUND)
    return _BOOLEANS.get(bare) or _read(bare, today) or _squash(lower)


def _read(text: str, today: str) -> str | None:
    match = _VALUE.fullmatch(text)
    if match is None or match.lastgroup is None:
        return None
    return read_first(_RULES[match.lastgroup], text, date.fromisoformat(today))


def _squash(text: str) -> str:
    """Leave out punctuation and spacing, and the zeros that begin a number (a phone's, say)."""
    if text.isascii():
        squashed = text.encode().translate(None, _ASCII_SEPARATORS).decode()
    else:
        squashed = "".join(filter(_is_content, text))
    if squashed.isdigit():
        squashed = squashed.lstrip("0") or "0"
    return squashed or text


def _is_content(character: str) -> bool:
    # Vowel signs of many scripts are marks, not letters.
    return character.isalnum() or unicodedata.category(character).startswith("M")
