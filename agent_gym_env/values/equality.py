"""Compares slot values by their meaning, for tool replay, rewards and metrics."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from agent_gym_env.values.patterns import read_value

DONTCARE = "dontcare"
"""The value of a slot about which the user has no preference."""

MAX_READ_CHARS = 160
"""A longer value is compared as text; the longest of SGD has 120 characters."""

_BOOLEANS = {"true": "true", "yes": "true", "false": "false", "no": "false"}
_ASCII_SEPARATORS = bytes(code for code in range(128) if not chr(code).isalnum())
_AROUND = " \t\r\n.,;!?'\""


def canonical(value: object, today: str | None) -> str:
    """Return the key of a slot value: values with equal keys are the same value.

    Case, punctuation and spacing do not count; a date, a time of day, a number and a boolean have
    one key each, however they are written or said. Takes any JSON value and never raises for it.

    Args:
        value: the value.
        today: day of the conversation, ISO; ``None`` if it is not known.
    """
    text = value if type(value) is str else value_text(value)
    if len(text) > MAX_READ_CHARS:
        return _squash(text.lower())
    return _canonical(text, today)


def same_value(value: object, other: object, today: str | None) -> bool:
    """Return whether two slot values of a conversation are the same."""
    return canonical(value, today) == canonical(other, today)


def is_form(value: object, expected: object, forms: Iterable[str], today: str | None) -> bool:
    """Return whether a value is the expected one, or one of the forms in which people say it.

    A list or an object is not a form of a text. Where the expected value is another JSON value than
    a text, only an equal one will do.
    """
    if not isinstance(expected, str):
        return same_json(value, expected)
    if value == expected:
        return True
    if not isinstance(value, (str, int, float)):
        return False
    key = canonical(value, today)
    return key == canonical(expected, today) or any(key == canonical(form, today) for form in forms)


def same_json(value: object, other: object) -> bool:
    """Return whether two JSON values are equal: 2 equals 2.0, but neither "2" nor true."""
    if isinstance(value, dict) and isinstance(other, dict):
        return value.keys() == other.keys() and all(
            same_json(each, other[key]) for key, each in value.items()
        )
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(map(same_json, value, other))
    if isinstance(value, bool) or isinstance(other, bool):
        return value is other
    return value == other


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


class Agreement(NamedTuple):
    """Counts of the arguments of a call that agree with the expected ones.

    Attributes:
        equal: number of arguments that both have with the same value.
        due: number of expected arguments.
        made: number of arguments of the call.
        either: number of distinct names in both together.
    """

    equal: int
    due: int
    made: int
    either: int

    def is_whole(self) -> bool:
        """Return whether the calls mean the same."""
        return self.equal == self.either


def agreement(
    expected: Mapping[str, object],
    forms: Mapping[str, Iterable[str]],
    made: Mapping[str, object],
    defaults: Mapping[str, object],
    today: str | None,
) -> Agreement:
    """Compare the arguments of a call with the expected ones, by their meaning.

    Args:
        expected: values by argument name, texts in canonical form.
        forms: for an argument, other forms of its expected value.
        made: arguments of a call of the same tool.
        defaults: value by name of each optional argument; an argument at its default counts as
            absent.
        today: day of the conversation, ISO; ``None`` if it is not known.
    """
    due, said = stated_arguments(expected, defaults, today), stated_arguments(made, defaults, today)
    equal = sum(
        is_form(said[name], expected[name], forms.get(name, ()), today)
        for name in due.keys() & said.keys()
    )
    return Agreement(equal, len(due), len(said), len(due.keys() | said.keys()))


def stated_arguments(
    arguments: Mapping[str, object], defaults: Mapping[str, object], today: str | None
) -> dict[str, object]:
    """Leave out the optional arguments whose value means the same as their absence.

    Args:
        arguments: values by argument name.
        defaults: value by name of each optional argument.
        today: day of the conversation, ISO; ``None`` if it is not known.
    """
    return {
        name: value
        for name, value in arguments.items()
        if name not in defaults or not is_form(value, defaults[name], (DONTCARE,), today)
    }


# Bounded, because an agent chooses the values.
@lru_cache(maxsize=8192)
def _canonical(text: str, today: str | None) -> str:
    lower = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).lower()
    bare = lower.strip(_AROUND)
    return _BOOLEANS.get(bare) or read_value(bare, today) or _squash(lower)


def _squash(text: str) -> str:
    """Leave out punctuation, spacing, and the zeros that begin a number (of a phone, say)."""
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
