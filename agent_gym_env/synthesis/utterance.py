"""Builds an utterance from phrases and remembers where it says which value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from agent_gym_env.synthesis.surfaces import Surface
from agent_gym_env.synthesis.templates import split

_VOWEL_SOUND = re.compile(r"[aeiouAEIOU]|8|1[18]\b")
_ENDS = (".", "!", "?")


class Value(NamedTuple):
    """A value that a phrase says.

    Attributes:
        service: the service whose slot it is.
        slot: the slot.
        canonical: the value as the service takes it.
        surface: the value as it is said.
    """

    service: str
    slot: str
    canonical: str
    surface: Surface


Phrase = list[str | Value]
"""Words and values in the order in which they are said."""


class Mention(NamedTuple):
    """Where an utterance says a value, in characters."""

    service: str
    slot: str
    canonical: str
    start: int
    end: int


def fill(chosen: str, holes: Mapping[str, Value | Phrase]) -> Phrase:
    """Put values or phrases into the holes of a template whose choices are settled."""
    phrase: Phrase = []
    for literal, hole in split(chosen):
        if hole is None:
            phrase.append(literal)
            continue
        filling = holes[hole]
        if isinstance(filling, Value):
            phrase += [_fitted(literal, filling.surface), filling]
        else:
            phrase += [literal, *filling]
    return [part for part in phrase if part]


def join(phrases: Iterable[Phrase], separator: str = " ") -> Phrase:
    """Put phrases behind each other."""
    joined: Phrase = []
    for phrase in phrases:
        if joined and phrase:
            joined.append(separator)
        joined += phrase
    return joined


def sentence(phrase: Phrase, end: str = ".") -> Phrase:
    """Close a phrase with a full stop or another mark unless it ends with one already."""
    last = phrase[-1] if phrase else "."
    closed = isinstance(last, str) and last.rstrip().endswith(_ENDS)
    return phrase if closed else [*phrase, end]


def spell(phrases: Iterable[Phrase]) -> tuple[str, list[Mention]]:
    """Write phrases behind each other, each sentence with a capital, and say where values stand."""
    text = ""
    mentions: list[Mention] = []
    for phrase in phrases:
        text += " " if text else ""
        for part in phrase:
            words = part if isinstance(part, str) else part.surface.text
            if not text or text.rstrip().endswith(_ENDS):
                words = _capitalised(words)
            if isinstance(part, Value):
                place = (len(text), len(text) + len(words))
                mentions.append(Mention(part.service, part.slot, part.canonical, *place))
            text += words
    return text, mentions


def _fitted(literal: str, surface: Surface) -> str:
    """Fit the words before a value to it: "on" and the article."""
    words = literal
    if not surface.takes_on and words.lower().endswith("on ") and words[:-3][-1:] in ("", " "):
        words = words[:-3]
    words += surface.lead
    if words.lower().endswith((" a ", "(a ")) or words.lower() == "a ":
        words = f"{words[:-1]}n " if _VOWEL_SOUND.match(surface.text) else words
    return words


def _capitalised(words: str) -> str:
    return words[:1].upper() + words[1:]
