"""The text of an agent's turn: the values in it, its sentences, and their features."""

from __future__ import annotations

import functools
import itertools
import re
import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent_gym_env.retrieval.tokens import stem
from agent_gym_env.values.equality import DONTCARE, canonical
from agent_gym_env.values.patterns import find_values

MAX_READ_TEXT = 4_000
"""A user reads so many characters of a turn."""

_KEPT_LENGTH = 500
"""Longest sentence whose features are kept."""

BITS = 17
"""An n-gram is one of ``2**BITS`` features."""

_TOKEN = re.compile(r"\w+(?:'\w+)?|[?$]")
_SENTENCE = re.compile(r"[^.?!\n;]+[.?!\n;]*")
_WORD = re.compile(r"[^\W_]")
_ABBREVIATION = re.compile(r"\b(?:a\.m|p\.m|mr|mrs|ms|dr|st|no)\.(?=\s|$)|(?<=\d)\.(?=\d)", re.I)
_NOT_SOUGHT = ("", "true", "false", DONTCARE)


Token = tuple[str, int, int]
"""A word, the index of its first character, and that after its last."""


class FoundValue(NamedTuple):
    """A value in a text.

    Attributes:
        start: index of the first character.
        end: index after the last character.
        key: the canonical form.
        slots: slots that are known to have this value; empty for an unknown value.
        kind: ``date``, ``time``, ``number`` or ``name``.
    """

    start: int
    end: int
    key: str
    slots: frozenset[str]
    kind: str


def tokens_of(text: str) -> list[Token]:
    """Return the words of a text in lower case, and its question marks and dollar signs."""
    lower = text.translate(_LOWER)
    return [(match[0], match.start(), match.end()) for match in _TOKEN.finditer(lower)]


_LOWER: dict[int, str | int] = {
    ord("\u2019"): "'",
    **{code: code + 32 for code in range(ord("A"), ord("Z") + 1)},
}
"""Lower case that keeps the place of each character, which ``str.lower`` does not."""


class _Entry(NamedTuple):
    """A value as a user recognises it.

    Attributes:
        key: the canonical form; ``""`` for a value that no text is searched for.
        phrases: sequences of words by which it is recognised.
    """

    key: str
    phrases: tuple[tuple[str, ...], ...]


# Bounded: rows and wishes of a dialogue are met again in each of its turns.
@functools.lru_cache(maxsize=1 << 15)
def _entry(value: str, today: str | None) -> _Entry:
    key = canonical(value, today)
    return _Entry("" if key in _NOT_SOUGHT else key, _phrases(value))


def _phrases(value: str) -> tuple[tuple[str, ...], ...]:
    """Return the word sequences by which a value is recognised: whole, and without "the"."""
    words = tuple(word for word, _, _ in tokens_of(value) if word not in "?$")
    if len(words) > 1 and words[0] == "the":
        return words, words[1:]
    return (words,) if words else ()


class KnownValues:
    """The values that a user can recognise, by the words that they begin with.

    Args:
        today: day of the conversation, ISO.
    """

    __slots__ = ("_phrases", "_slots", "_today")

    def __init__(self, today: str | None) -> None:
        self._today = today
        self._slots: dict[str, set[str]] = {}
        self._phrases: dict[str, dict[tuple[str, ...], str]] = {}

    def add(self, slot: str, value: str, forms: Iterable[str] = ()) -> str:
        """Learn a value of a slot, and other forms in which people say it; return its key."""
        key, phrases = _entry(value, self._today)
        if not key:
            return canonical(value, self._today)
        slots = self._slots.get(key)
        if slots is None:
            self._slots[key] = {slot}
            self._add_phrases(phrases, key)
        else:
            slots.add(slot)
        for form in forms:
            self._add_phrases(_entry(form, self._today).phrases, key)
        return key

    def _add_phrases(self, phrases: Iterable[tuple[str, ...]], key: str) -> None:
        for words in phrases:
            self._phrases.setdefault(words[0], {})[words] = key

    def copy(self) -> KnownValues:
        """Return a copy that learns on its own."""
        copied = KnownValues(self._today)
        copied._slots = {key: set(slots) for key, slots in self._slots.items()}
        copied._phrases = {word: dict(phrases) for word, phrases in self._phrases.items()}
        return copied

    def find(self, text: str, tokens: Sequence[Token]) -> list[FoundValue]:
        """Find the values in a text from left to right, without overlap; longer ones go first.

        Args:
            text: the text.
            tokens: its words.
        """
        found = self._known(tokens)
        for start, end, kind, key in find_values(text, self._today):
            over = [value for value in found if value.start < end and start < value.end]
            if any(value.end - value.start > end - start for value in over):
                continue
            if over and key not in self._slots:
                continue
            for value in over:
                found.remove(value)
            found.append(FoundValue(start, end, key, frozenset(self._slots.get(key, ())), kind))
        found.sort(key=lambda value: value.start)
        return found

    def _known(self, tokens: Sequence[Token]) -> list[FoundValue]:
        words = [word for word, _, _ in tokens]
        found, at = [], 0
        while at < len(words):
            phrases = self._phrases.get(words[at])
            phrase = None if phrases is None else _longest(phrases, words, at)
            if phrases is None or phrase is None:
                at += 1
                continue
            key, last = phrases[phrase], at + len(phrase) - 1
            slots, kind = frozenset(self._slots[key]), value_kind(key)
            found.append(FoundValue(tokens[at][1], tokens[last][2], key, slots, kind))
            at = last + 1
        return found


def _longest(
    phrases: Iterable[tuple[str, ...]], words: Sequence[str], at: int
) -> tuple[str, ...] | None:
    """Return the longest phrase at a place, or ``None``."""
    fitting = (p for p in phrases if tuple(words[at : at + len(p)]) == p)
    return max(fitting, key=len, default=None)


@functools.lru_cache(maxsize=1 << 14)
def value_kind(key: str) -> str:
    """Return the kind of a canonical value: ``date``, ``time``, ``number`` or ``name``."""
    if re.fullmatch(r"\d{4}-\d\d-\d\d", key):
        return "date"
    if re.fullmatch(r"\d\d:\d\d", key):
        return "time"
    return "number" if re.fullmatch(r"-?\d+(?:\.\d+)?", key) else "name"


def without_values(text: str, found: Iterable[FoundValue]) -> str:
    """Return the text with each value replaced by the name of its kind."""
    parts, at = [], 0
    for value in found:
        parts += [text[at : value.start], f"x{value.kind}"]
        at = value.end
    return "".join([*parts, text[at:]])


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a text; signs without a word are none."""
    text = _ABBREVIATION.sub(lambda match: match[0].replace(".", " "), text)
    return [each.strip() for each in _SENTENCE.findall(text) if _WORD.search(each)]


def ngrams(sentence: str) -> NDArray[np.uint32]:
    """Return the hashed 1- to 3-grams of a sentence, each once, shape ``(features,)``."""
    return _ngrams(sentence) if len(sentence) <= _KEPT_LENGTH else _ngrams.__wrapped__(sentence)


# Bounded: agents choose the words. Without their values sentences come again and again.
@functools.lru_cache(maxsize=1 << 14)
def _ngrams(sentence: str) -> NDArray[np.uint32]:
    words = ["<", *_TOKEN.findall(sentence.translate(_LOWER)), ">"]
    grams = {*words[1:-1]}
    grams.update(f"{a} {b}" for a, b in itertools.pairwise(words))
    grams.update(f"{a} {b} {c}" for a, b, c in zip(words, words[1:], words[2:], strict=False))
    hashes = (zlib.crc32(gram.encode("utf-8", "surrogatepass")) >> (32 - BITS) for gram in grams)
    return np.array(sorted(set(hashes)), np.uint32)


def stems_of(sentence: str) -> tuple[str, ...]:
    """Return the stems of a sentence's words."""
    return _stems(sentence) if len(sentence) <= _KEPT_LENGTH else _stems.__wrapped__(sentence)


@functools.lru_cache(maxsize=1 << 14)
def _stems(sentence: str) -> tuple[str, ...]:
    return tuple(stem(word) for word in _TOKEN.findall(sentence.translate(_LOWER)))
