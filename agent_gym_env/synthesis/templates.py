"""Wordings with choices and holes, such as ``"[I'd like|I want] a table for {party_size}"``.

``[a|b|]`` stands for one of its alternatives (which may nest or be empty), ``{slot}`` for a value.
"""

from __future__ import annotations

import re
from random import Random

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_HOLE = re.compile(r"\{(\w*)\}")


def slots(template: str) -> set[str]:
    """Return the names of the values that a template may mention."""
    return set(_HOLE.findall(template))


def check(template: str) -> str | None:
    """Return what is wrong with a template, ``None`` when nothing is."""
    rest = template
    while _CHOICE.search(rest):
        rest = _CHOICE.sub("", rest)
    if "[" in rest or "]" in rest:
        return "its square brackets do not pair up"
    if "{" in _HOLE.sub("", template) or "}" in _HOLE.sub("", template):
        return "a hole is a slot's name in braces, such as {city}"
    if not template.strip():
        return "it is empty"
    return None


def choose(template: str, rng: Random) -> str:
    """Settle the choices of a template; its holes stay."""
    while _CHOICE.search(template):
        template = _CHOICE.sub(lambda match: rng.choice(match[1].split("|")), template)
    return " ".join(template.split())


def split(chosen: str) -> list[tuple[str, str | None]]:
    """Cut a template without choices into pairs of literal text and the hole behind it."""
    pieces = _HOLE.split(chosen)
    followed: list[tuple[str, str | None]] = list(zip(pieces[::2], pieces[1::2], strict=False))
    return [*followed, (pieces[-1], None)]
