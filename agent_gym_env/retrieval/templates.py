"""Replies without their values, and how to fill them in another conversation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from agent_gym_env.corpus.task import SpokenValue
from agent_gym_env.retrieval.state import Row, State
from agent_gym_env.retrieval.surfaces import say
from agent_gym_env.retrieval.tokens import identifier_words, phrase_key
from agent_gym_env.retrieval.vocabulary import kind_of_value

Source = Literal["row", "argument", "count"]

_SHORT = 3
"""A shorter value that the annotation does not mark is too likely to be a chance match."""

_NEAR = 0.6
"""Slots of another name that are less alike than this do not stand for each other."""


class Hole(msgspec.Struct, frozen=True, array_like=True):
    """A value's place in a reply.

    Attributes:
        slot: of the service that the reply was about.
        source: whether the value was the offered row's, an argument's, or the number of results.
        like: the value as it was said.
    """

    slot: str
    source: Source
    like: str


class Template(msgspec.Struct, frozen=True, array_like=True):
    """A reply without its values.

    Attributes:
        parts: words and holes.
        moves_on: whether the reply is about another row than the conversation was before.
    """

    parts: tuple[Hole | str, ...]
    moves_on: bool = False


class _Span(msgspec.Struct, frozen=True, order=True):
    start: int
    end: int
    hole: Hole


def take_values_out(
    text: str, marked: Sequence[SpokenValue], state: State, *, moves_on: bool
) -> Template:
    """Make a template of a reply.

    Args:
        text: the reply.
        marked: slot values that the annotation marks in it; the others are found by their words.
        state: of the conversation, when the reply has been said.
        moves_on: as in `Template`.
    """
    spans = _marked_spans(text, marked, state)
    for span in _other_spans(text, {span.hole.slot for span in spans}, state):
        if all(span.end <= other.start or span.start >= other.end for other in spans):
            spans.append(span)
    parts: list[Hole | str] = []
    position = 0
    for span in sorted(spans):
        if span.start >= position:
            parts += [text[position : span.start], span.hole]
            position = span.end
    parts.append(text[position:])
    return Template(tuple(part for part in parts if part), moves_on)


def _marked_spans(text: str, marked: Sequence[SpokenValue], state: State) -> list[_Span]:
    row, arguments = _row(state), _known(state)
    spans = []
    position = 0
    for value in marked:
        start = text.find(value.text, position)
        if start < 0:
            continue
        position = start + len(value.text)
        said_by_user = value.slot not in row and value.slot in arguments
        hole = Hole(value.slot, "argument" if said_by_user else "row", value.text)
        spans.append(_Span(start, position, hole))
    return spans


def _other_spans(text: str, done: set[str], state: State) -> list[_Span]:
    row, arguments = _row(state), _known(state)
    spans = []
    for slot, value in {**row, **arguments}.items():
        if slot in done or not _is_findable(state, slot, value):
            continue
        source: Source = "row" if row.get(slot) == value else "argument"
        spans += _find_span(text, value, slot, source)
    if state.has_called and len(state.rows) > 1:
        spans += _find_span(text, str(len(state.rows)), "", "count")
    return spans


def _is_findable(state: State, slot: str, value: str) -> bool:
    if value.isdecimal() and len(value) < _SHORT:
        described = state.offer.slots.get(state.service, {}).get(slot)
        return described is not None and described.is_count
    return len(value) >= _SHORT and value not in ("True", "False")


def _find_span(text: str, value: str, slot: str, source: Source) -> list[_Span]:
    match = re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text, re.IGNORECASE)
    return [_Span(match.start(), match.end(), Hole(slot, source, match[0]))] if match else []


def fill_in(template: Template, state: State) -> str | None:
    """Say a template with the values of a conversation; ``None`` if it lacks one."""
    row = state.next_row() if template.moves_on else _row(state)
    if row is None:
        return None
    arguments = _known(state)
    said = []
    taken: dict[str, str] = {}
    for part in template.parts:
        if isinstance(part, str):
            said.append(part)
            continue
        value = _value_for(part, row, arguments, state, taken)
        if value is None:
            return None
        said.append(say(value, like=part.like, dates=state.vocabulary.dates, today=state.today))
    return "".join(said)


def _value_for(
    hole: Hole, row: Row, arguments: Row, state: State, taken: dict[str, str]
) -> str | None:
    if hole.source == "count":
        return str(len(state.rows)) if state.has_called and state.rows else None
    pools = (row, arguments) if hole.source == "row" else (arguments, row)
    for pool in pools:
        name = taken.get(hole.slot) or _nearest(hole, pool, state, taken)
        if name is not None and name in pool:
            taken[hole.slot] = name
            value = pool[name]
            return None if value in ("True", "False") else value
    return None


def _nearest(hole: Hole, pool: Row, state: State, taken: Mapping[str, str]) -> str | None:
    """Name the slot of a pool that stands for a hole's slot, if one does."""
    names = [name for name in pool if name not in taken.values()]
    if hole.slot in names:
        return hole.slot
    kind = kind_of_value(hole.like, state.today)
    words = set(identifier_words(hole.slot))
    best, nearest = _NEAR, None
    for name in names:
        value = pool[name]
        if kind_of_value(value, state.today) != kind:
            continue
        other = set(identifier_words(name))
        likeness = 2 * len(words & other) / max(len(words | other), 1)
        likeness += hole.slot in state.vocabulary.phrases.get(phrase_key(value), ())
        if likeness > best or (likeness == best and nearest is None):
            best, nearest = likeness, name
    return nearest


def _row(state: State) -> Row:
    return state.row.get(state.service, {})


def _known(state: State) -> dict[str, str]:
    """The values of the service's slots, those that a call would have by default included."""
    filled = state.values.get(state.service, {})
    known = {slot: value.value for slot, value in filled.items()}
    return {**known, **state.arguments(state.tool)} if state.tool else known
