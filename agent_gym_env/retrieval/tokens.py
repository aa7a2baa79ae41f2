"""Stems and hashes of words, by which utterances and schemas are compared."""

from __future__ import annotations

import functools
import itertools
import re
import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.uint32]
"""Hashes of words and flags, shape ``(features,)``."""

_TOKEN = re.compile(r"[^\W_]+(?:['.-][^\W_]+)*|[$#&]")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_WORD = re.compile(r"[a-z]+")
_STOP_WORDS = frozenset(
    _WORD.findall(
        "a an and are as at be by for from has if in is it its of on or that the this to was were "
        "whether which who will with you your"
    )
)


class Token(NamedTuple):
    """A word of an utterance, or one of the signs ``$``, ``#`` and ``&``.

    Attributes:
        start: index of the first character.
        end: index after the last character.
        text: word as written.
        stem: word in lower case, without the ending of a plural.
    """

    start: int
    end: int
    text: str
    stem: str


def tokens_of(text: str) -> list[Token]:
    """Return the tokens of an utterance."""
    return [
        Token(match.start(), match.end(), match[0], stem(match[0].lower()))
        for match in _TOKEN.finditer(text)
    ]


@functools.lru_cache(maxsize=1 << 12)
def stems_of(text: str) -> tuple[str, ...]:
    """Return the stems of an utterance."""
    return tuple(stem(word.lower()) for word in _TOKEN.findall(text))


def phrase_key(text: str) -> str:
    """Return the key by which a phrase is looked up: its stems, joined by spaces."""
    return " ".join(stems_of(text))


@functools.lru_cache(maxsize=1 << 14)
def stem(word: str) -> str:
    """Remove the ending of a plural from a word in lower case."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


@functools.lru_cache(maxsize=1 << 12)
def identifier_words(identifier: str) -> tuple[str, ...]:
    """Return the stems of an identifier: ``Restaurants_1`` and ``FindRestaurants`` share one."""
    return tuple(stem(part.lower()) for part in _PART.findall(identifier))


@functools.lru_cache(maxsize=1 << 12)
def content_words(description: str) -> tuple[str, ...]:
    """Return the stems of a description, without stop words."""
    words = _WORD.findall(description.lower())
    return tuple(stem(word) for word in words if word not in _STOP_WORDS)


def pairs(words: Sequence[str]) -> list[str]:
    """Return the pairs of neighbouring words, with marks for the beginning and the end."""
    marked = ("^", *words, "$")
    return [f"{left} {right}" for left, right in itertools.pairwise(marked)]


def hashed(namespace: str, words: Iterable[str]) -> Features:
    """Return hashes of words, which are the same on every machine."""
    return np.array([_hash(namespace, word) for word in words], np.uint32)


# Bounded: users choose the words.
@functools.lru_cache(maxsize=1 << 17)
def _hash(namespace: str, word: str) -> int:
    return zlib.crc32(f"{namespace} {word}".encode("utf-8", "surrogatepass"))
