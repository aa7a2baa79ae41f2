"""Phrases that both speakers use: values, fragments, lists and verb phrases."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from random import Random

from agent_gym_env.synthesis import templates
from agent_gym_env.synthesis.moves import Part
from agent_gym_env.synthesis.surfaces import Surface
from agent_gym_env.synthesis.templates import Phrase, Value, fill, join

Saying = Callable[[str, str, Random], Surface]
"""Draws a way to say the canonical value of a slot."""

_OTHER_PERSON = {
    **{"I": "you", "my": "your", "me": "you", "mine": "yours", "myself": "yourself"},
    **{"I'm": "you're", "I'd": "you'd", "I've": "you've", "our": "your", "us": "you"},
}
_PERSON = re.compile(r"(?<!\w)(" + "|".join(_OTHER_PERSON) + r")(?![\w'])")


def draw(options: Sequence[str], rng: Random, inner: Phrase | None = None) -> Phrase:
    """Draw a template, and fill its empty placeholder with a phrase."""
    return fill(templates.choose(rng.choice(options), rng), {"": inner or []})


def value(part: Part, slot: str, canonical: str, saying: Saying, rng: Random) -> Value:
    """Return a value in one of the ways to say it."""
    return Value(part.model.name, slot, canonical, saying(slot, canonical, rng))


def fragments(part: Part, values: Mapping[str, str], saying: Saying, rng: Random) -> list[Phrase]:
    """Return the fragments of the values that have one, in the order of ``values``."""
    wording = part.model.wording
    return [
        fill(wording.fragment(slot, it, rng), {slot: value(part, slot, it, saying, rng)})
        for slot, it in values.items()
        if wording.has_fragment(slot, it)
    ]


def wishes(part: Part, values: Mapping[str, str], saying: Saying, rng: Random) -> list[Phrase]:
    """Return clauses for the values that have no fragment."""
    wording = part.model.wording
    return [
        fill(wording.wish(slot, it), {slot: value(part, slot, it, saying, rng)})
        for slot, it in values.items()
        if not wording.has_fragment(slot, it)
    ]


def deed(part: Part, intent: str, rng: Random) -> str:
    """Return a verb phrase for an intent, in the user's words."""
    return part.model.wording.deed(intent, rng)


def other_person(words: str) -> str:
    """Change the user's words to the system's: "my" becomes "your"."""
    return _PERSON.sub(lambda match: _OTHER_PERSON[match[1]], words)


def listed(phrases: Sequence[Phrase], word: str = "and") -> Phrase:
    """Join phrases as a list: one, two and three."""
    if len(phrases) < 2:
        return join(phrases)
    return [*join(phrases[:-1], ", "), f" {word} ", *phrases[-1]]
