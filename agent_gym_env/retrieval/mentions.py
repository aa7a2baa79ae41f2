"""Values in an utterance: dates, times, numbers, known phrases and proper names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Literal, NamedTuple

from agent_gym_env.retrieval.tokens import Token, phrase_key
from agent_gym_env.values.patterns import find_values

MentionKind = Literal["known", "date", "time", "number", "name"]

_PRECEDENCE: tuple[MentionKind, ...] = ("known", "date", "time", "number", "name")
_LONGEST_PHRASE = 8
_SENTENCE_END = re.compile(r"[.?!:]['\")]*\s*$")
_CONNECTORS = frozenset(("of", "the", "&", "and", "de", "la", "at", "#"))


class Mention(NamedTuple):
    """A value in an utterance.

    Attributes:
        start: index of the first character.
        end: index after the last character.
        kind: kind that was recognised.
        text: words in the utterance.
        value: ISO date, ``HH:MM`` or plain number; for other kinds the text.
        key: `phrase_key` of the text.
    """

    start: int
    end: int
    kind: MentionKind
    text: str
    value: str
    key: str


def find_mentions(
    text: str,
    tokens: Sequence[Token],
    *,
    today: str | None,
    phrases: Sequence[Collection[str]],
    common: Collection[str],
) -> list[Mention]:
    """Return the mentions of an utterance from left to right; of overlapping ones the longest.

    Args:
        text: utterance.
        tokens: tokens of the text.
        today: date of the utterance, ISO.
        phrases: collections of known phrases, by `phrase_key`.
        common: words in lower case that are not names at the beginning of a sentence.
    """
    found = [
        Mention(start, end, kind, text[start:end], value, phrase_key(text[start:end]))
        for start, end, kind, value in find_values(text, today)
    ]
    found += _known_phrases(text, tokens, phrases)
    found += _proper_names(text, tokens, common)
    found.sort(key=lambda each: (each.start - each.end, _PRECEDENCE.index(each.kind)))
    kept: list[Mention] = []
    for mention in found:
        if all(mention.end <= other.start or mention.start >= other.end for other in kept):
            kept.append(mention)
    return sorted(kept)


def _known_phrases(
    text: str, tokens: Sequence[Token], phrases: Sequence[Collection[str]]
) -> Iterator[Mention]:
    """Yield the longest known phrase that begins at each token."""
    for first in range(len(tokens)):
        key = longest = ""
        for last in range(first, min(first + _LONGEST_PHRASE, len(tokens))):
            key = f"{key} {tokens[last].stem}" if key else tokens[last].stem
            if any(key in table for table in phrases):
                longest, end = key, tokens[last].end
        if longest:
            start = tokens[first].start
            yield Mention(start, end, "known", text[start:end], text[start:end], longest)


def _proper_names(text: str, tokens: Sequence[Token], common: Collection[str]) -> Iterator[Mention]:
    """Yield runs of capitalised words, with connecting words and numbers inside them."""
    index = 0
    while index < len(tokens):
        if not _begins_name(text, tokens, index, common):
            index += 1
            continue
        last = _end_of_name(text, tokens, index)
        start, end = tokens[index].start, tokens[last].end
        name = text[start:end]
        yield Mention(start, end, "name", name, name, phrase_key(name))
        index = last + 1


def _begins_name(text: str, tokens: Sequence[Token], index: int, common: Collection[str]) -> bool:
    token = tokens[index]
    if token.text[0].isdigit():  # such as a house number
        following = tokens[index + 1 : index + 2]
        return any(each.text[0].isupper() and _adjoin(text, token, each) for each in following)
    if not token.text[0].isupper() or token.text.split("'")[0] == "I":
        return False
    begins_sentence = index == 0 or _SENTENCE_END.search(text[: token.start]) is not None
    return not (begins_sentence and token.text.lower() in common)


def _end_of_name(text: str, tokens: Sequence[Token], index: int) -> int:
    last = index
    for ahead in range(index + 1, len(tokens)):
        if not _adjoin(text, tokens[ahead - 1], tokens[ahead]):
            break
        word = tokens[ahead].text
        if word[0].isupper() or word[0].isdigit():
            last = ahead
        elif word.lower() not in _CONNECTORS:
            break
    return last


def _adjoin(text: str, token: Token, following: Token) -> bool:
    """Return whether only spaces, a dash or an apostrophe separate two tokens."""
    gap = text[token.end : following.start]
    return len(gap) <= 2 and gap.strip() in ("", "-", "'")
