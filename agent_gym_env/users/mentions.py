"""Finds the values of slots in the words of a user."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from agent_gym_env.values.equality import DONTCARE, canonical
from agent_gym_env.values.patterns import find_values, read_value
from agent_gym_env.values.words import words

SILENT = frozenset((DONTCARE, "True", "False", ""))
"""Values that a whole clause says, such as "with parking"."""

_PRONOUN = re.compile(r"\bone\b", re.IGNORECASE)


class Mentions:
    """The values in a text.

    Args:
        text: the text.
        today: the day of the dialogue, ISO.
    """

    __slots__ = ("_found", "_text", "_today", "_words")

    def __init__(self, text: str, today: str | None) -> None:
        self._text = text
        self._today = today
        self._words = _spaced(text)
        self._found: frozenset[str] | None = None

    def has(self, value: str) -> bool:
        """Return whether the text says a value; every text says those in `SILENT`."""
        if value in SILENT:
            return True
        if _is_readable(value, self._today):
            return canonical(value, self._today) in self._read()
        return _value_words(value) in self._words

    def has_any(self, values: Iterable[str]) -> bool:
        """Return whether the text says one of some values, those in `SILENT` left out.

        The word "one" does not say the number 1: it is a pronoun more often.
        """
        said = [value for value in values if value not in SILENT and self.has(value)]
        if [canonical(value, self._today) for value in said] != ["1"]:
            return bool(said)
        return Mentions(_PRONOUN.sub(" ", self._text), self._today).has(said[0])

    def numbers(self) -> set[str]:
        """Return the keys of all dates, times and numbers; the word "one" is not a number here."""
        found = find_values(_PRONOUN.sub(" ", self._text), self._today)
        return {value.canonical for value in found}

    def _read(self) -> frozenset[str]:
        if self._found is None:
            found = find_values(self._text, self._today)
            self._found = frozenset(value.canonical for value in found)
        return self._found


def locate(text: str, value: str, today: str | None) -> tuple[int, int] | None:
    """Return where a text says a value: first character, and the one behind the last.

    Returns:
        ``None`` for a text that does not say it, or says it twice.
    """
    if value in SILENT:
        return None
    if _is_readable(value, today):
        key = canonical(value, today)
        places = [(v.start, v.end) for v in find_values(text, today) if v.canonical == key]
    else:
        pattern = rf"(?<!\w){re.escape(value)}(?!\w)"
        places = [match.span() for match in re.finditer(pattern, text, re.IGNORECASE)]
    return places[0] if len(places) == 1 else None


# A user has the same few wishes in every turn.
@lru_cache(maxsize=4096)
def _is_readable(value: str, today: str | None) -> bool:
    """Return whether a value is a date, a time or a number, which people say in several forms."""
    return read_value(value.lower(), today) is not None


@lru_cache(maxsize=4096)
def _value_words(value: str) -> bytes:
    return _spaced(value)


def _spaced(text: str) -> bytes:
    return b" " + b" ".join(words(text)) + b" "
