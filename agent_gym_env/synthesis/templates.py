"""Templates of wordings, and the utterances that are made from them.

A template such as ``"[I'd like|I want] a table for {party_size}"`` has choices and placeholders:
``[a|b|]`` is one of its alternatives, which may be nested or empty, and ``{slot}`` is a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from random import Random
from typing import NamedTuple

from agent_gym_env.synthesis.surfaces import Surface

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_PLACEHOLDER = re.compile(r"\{(\w*)\}")
_VOWEL_SOUND = re.compile(r"[aeiouAEIOU]|8|1[18]\b")
_ENDS = (".", "!", "?")


def slots(template: str) -> set[str]:
    """Return the names of a template's placeholders."""
    return set(_PLACEHOLDER.findall(template))


def check(template: str) -> str | None:
    """Return the problem of a template; ``None`` if it is well-formed."""
    rest = template
    while _CHOICE.search(rest):
        rest = _CHOICE.sub("", rest)
    if "[" in rest or "]" in rest:
        return "its square brackets do not pair up"
    if "{" in _PLACEHOLDER.sub("", template) or "}" in _PLACEHOLDER.sub("", template):
        return "a placeholder is a slot's name in braces, such as {city}"
    if not template.strip():
        return "it is empty"
    return None


def choose(template: str, rng: Random) -> str:
    """Draw an alternative for each choice of a template. Placeholders stay."""
    while _CHOICE.search(template):
        template = _CHOICE.sub(lambda match: rng.choice(match[1].split("|")), template)
    return " ".join(template.split())


def split(chosen: str) -> list[tuple[str, str | None]]:
    """Split a template without choices into pairs of text and the placeholder after it."""
    pieces = _PLACEHOLDER.split(chosen)
    followed: list[tuple[str, str | None]] = list(zip(pieces[::2], pieces[1::2], strict=False))
    return [*followed, (pieces[-1], None)]


class Value(NamedTuple):
    """A value that a phrase says.

    Attributes:
        service: service of the slot.
        slot: name of the slot.
        canonical: value in the form that the service takes.
        surface: value as it is said.
    """

    service: str
    slot: str
    canonical: str
    surface: Surface


Phrase = list[str | Value]
"""Words and values in the order in which they are said."""


class Mention(NamedTuple):
    """The place of a value in an utterance, in characters."""

    service: str
    slot: str
    canonical: str
    start: int
    end: int


def fill(chosen: str, values: Mapping[str, Value | Phrase]) -> Phrase:
    """Replace the placeholders of a template by values or phrases.

    Args:
        chosen: template whose alternatives are chosen already, see `choose`.
        values: value or phrase for each placeholder.
    """
    phrase: Phrase = []
    for literal, slot in split(chosen):
        if slot is None:
            phrase.append(literal)
            continue
        filling = values[slot]
        if isinstance(filling, Value):
            phrase += [_fitted(literal, filling.surface), filling]
        else:
            phrase += [literal, *filling]
    return [part for part in phrase if part]


def join(phrases: Iterable[Phrase], separator: str = " ") -> Phrase:
    """Concatenate phrases with a separator."""
    joined: Phrase = []
    for phrase in phrases:
        if joined and phrase:
            joined.append(separator)
        joined += phrase
    return joined


def sentence(phrase: Phrase, end: str = ".") -> Phrase:
    """Add a full stop or another mark to a phrase that does not end with one."""
    last = phrase[-1] if phrase else "."
    closed = isinstance(last, str) and last.rstrip().endswith(_ENDS)
    return phrase if closed else [*phrase, end]


def spell(phrases: Iterable[Phrase]) -> tuple[str, list[Mention]]:
    """Return the text of phrases, with capitalised sentences, and the places of its values."""
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
    """Adapt the words before a value to it: "on" and the article."""
    words = literal
    if not surface.takes_on and words.lower().endswith("on ") and words[:-3][-1:] in ("", " "):
        words = words[:-3]
    words += surface.lead
    if words.lower().endswith((" a ", "(a ")) or words.lower() == "a ":
        words = f"{words[:-1]}n " if _VOWEL_SOUND.match(surface.text) else words
    return words


def _capitalised(words: str) -> str:
    return words[:1].upper() + words[1:]
