"""The values that an utterance mentions: dates, times, numbers, known phrases and proper names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from agent_gym_env.corpus.values import find_values
from agent_gym_env.retrieval.offer import stem

_TOKEN = re.compile(r"[^\W_]+(?:['.-][^\W_]+)*|[$#&]")
_SENTENCE_END = re.compile(r"[.?!:]['\")]*\s*$")
_CONNECTORS = frozenset(("of", "the", "&", "and", "de", "la", "at", "'s", "#"))
_LONGEST_PHRASE = 8


class Token(NamedTuple):
    start: int
    end: int
    text: str
    stem: str


class Mention(NamedTuple):
    """A value in an utterance.

    Attributes:
        start: first character.
        end: the character behind the last.
        text: as said.
        kind: ``date``, ``time``, ``number``, ``known`` or ``name``.
        value: ISO date, ``HH:MM``, plain number, or the text.
        key: the stems of the words, joined.
    """

    start: int
    end: int
    text: str
    kind: str
    value: str
    key: str


def tokens_of(text: str) -> list[Token]:
    return [Token(m.start(), m.end(), m[0], stem(m[0].lower())) for m in _TOKEN.finditer(text)]


def phrase_key(text: str) -> str:
    """Normalise a phrase: the stems of its words."""
    return " ".join(stem(word.lower()) for word in _TOKEN.findall(text))


def find_mentions(
    text: str,
    tokens: list[Token],
    today: str,
    phrases: Iterable[Mapping[str, object]],
    common: frozenset[str] | set[str],
) -> list[Mention]:
    """Find mentions, from left to right, without overlap; the longer one wins.

    Args:
        text: the utterance.
        tokens: of the text.
        today: ISO date.
        phrases: tables of known phrases by `phrase_key`.
        common: words that are no name when they begin a sentence.
    """
    found = [
        Mention(v.start, v.end, text[v.start : v.end], v.kind, v.canonical, phrase_key(text[v.start : v.end]))
        for v in find_values(text, today)
    ]
    found += _known(text, tokens, tuple(phrases))
    found += _names(text, tokens, common)
    found.sort(key=lambda mention: (mention.start - mention.end, _RANK[mention.kind]))
    kept: list[Mention] = []
    for mention in found:
        if all(mention.end <= other.start or mention.start >= other.end for other in kept):
            kept.append(mention)
    return sorted(kept)


_RANK = {"known": 0, "date": 1, "time": 2, "number": 3, "name": 4}


def _known(text: str, tokens: list[Token], tables: tuple[Mapping[str, object], ...]) -> list[Mention]:
    found = []
    for first in range(len(tokens)):
        key = ""
        best = None
        for last in range(first, min(first + _LONGEST_PHRASE, len(tokens))):
            key = f"{key} {tokens[last].stem}" if key else tokens[last].stem
            if any(key in table for table in tables):
                best = (last, key)
        if best:
            last, key = best
            start, end = tokens[first].start, tokens[last].end
            found.append(Mention(start, end, text[start:end], "known", text[start:end], key))
    return found


def _names(text: str, tokens: list[Token], common: frozenset[str] | set[str]) -> list[Mention]:
    found = []
    index = 0
    while index < len(tokens):
        if not _starts_name(text, tokens, index, common):
            index += 1
            continue
        last = index
        ahead = index + 1
        while ahead < len(tokens) and _gap_is_plain(text, tokens[ahead - 1], tokens[ahead]):
            if tokens[ahead].text[0].isupper() or tokens[ahead].text[0].isdigit():
                last = ahead
            elif tokens[ahead].text.lower() not in _CONNECTORS:
                break
            ahead += 1
        start, end = tokens[index].start, tokens[last].end
        key = " ".join(token.stem for token in tokens[index : last + 1])
        found.append(Mention(start, end, text[start:end], "name", text[start:end], key))
        index = last + 1
    return found


def _starts_name(text: str, tokens: list[Token], index: int, common: frozenset[str] | set[str]) -> bool:
    token = tokens[index]
    if token.text[0].isdigit():
        return (
            index + 1 < len(tokens)
            and tokens[index + 1].text[0].isupper()
            and _gap_is_plain(text, token, tokens[index + 1])
        )
    if not token.text[0].isupper():
        return False
    if token.text.lower() in common and (index == 0 or _SENTENCE_END.search(text[: token.start])):
        return False
    return token.text.split("'")[0] != "I"


def _gap_is_plain(text: str, token: Token, following: Token) -> bool:
    gap = text[token.end : following.start]
    return gap.strip() in ("", "-", "'") and len(gap) <= 2
