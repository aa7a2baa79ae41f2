"""Replies without their values, and how to fill them in another conversation."""

from __future__ import annotations

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
    """A reply without its values, as words and holes."""

    parts: tuple[Hole | str, ...]


class _Span(msgspec.Struct, frozen=True, order=True):
    start: int
    end: int
    hole: Hole


def take_values_out(text: str, marked: Sequence[SpokenValue], state: State) -> Template | None:
    """Make a template of a reply.

    Args:
        text: the reply.
        marked: slot values that the annotation marks in it; the others are found by their words.
        state: of the conversation, when the reply has been said.

    Returns:
        ``None`` where a value stays in the words, or the reply is about several rows: said in
        another conversation it would be wrong.
    """
    spans = _marked_spans(text, marked, state)
    for span in _other_spans(text, {span.hole.slot for span in spans}, state):
        if _is_free(span, spans):
            spans.append(span)
    slots = [span.hole.slot for span in spans]
    parts: list[Hole | str] = []
    position = 0
    for span in sorted(spans):
        parts += [text[position : span.start], span.hole]
        position = span.end
    parts.append(text[position:])
    literal = "".join(part for part in parts if isinstance(part, str))
    if len(set(slots)) < len(slots) or any(character.isdigit() for character in literal):
        return None
    return Template(tuple(part for part in parts if part))


def _is_free(span: _Span, spans: Sequence[_Span]) -> bool:
    return all(span.end <= other.start or span.start >= other.end for other in spans)


def _marked_spans(text: str, marked: Sequence[SpokenValue], state: State) -> list[_Span]:
    row, arguments = _row(state), _known(state)
    spans: list[_Span] = []
    for value in marked:
        said_by_user = value.slot not in row and value.slot in arguments
        source: Source = "argument" if said_by_user else "row"
        found = _find_spans(text, value.text, value.slot, source)
        spans += [span for span in found if _is_free(span, spans)][:1]
    return spans


def _other_spans(text: str, done: set[str], state: State) -> list[_Span]:
    row, arguments = _row(state), _known(state)
    spans = []
    for slot, value in {**row, **arguments}.items():
        if slot in done or not _is_findable(state, slot, value):
            continue
        source: Source = "row" if row.get(slot) == value else "argument"
        spans += _find_spans(text, value, slot, source)[:1]
    if state.has_called and len(state.rows) > 1:
        spans += _find_spans(text, str(len(state.rows)), "", "count")[:1]
    return spans


def _is_findable(state: State, slot: str, value: str) -> bool:
    if value.isdecimal() and len(value) < _SHORT:
        described = state.offer.slots.get(state.service, {}).get(slot)
        return described is not None and described.is_count
    return len(value) >= _SHORT and value not in ("True", "False")


def _find_spans(text: str, value: str, slot: str, source: Source) -> list[_Span]:
    """Find a value where it stands as whole words."""
    lower, wanted = text.lower(), value.lower()
    if len(lower) != len(text):  # as of a capital I with a dot: places would be shifted
        return []
    spans = []
    start = lower.find(wanted)
    while start >= 0 and wanted:
        end = start + len(wanted)
        if not (lower[start - 1 : start].isalnum() or lower[end : end + 1].isalnum()):
            spans.append(_Span(start, end, Hole(slot, source, text[start:end])))
        start = lower.find(wanted, start + 1)
    return spans


class Filler:
    """Says templates with the values of one conversation.

    Args:
        state: of the conversation.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._row = _row(state)
        self._arguments = _known(state)
        self._stand_ins: dict[tuple[str, str, int], list[str]] = {}

    def fill(self, template: Template) -> str | None:
        """Say a template; ``None`` if a value is lacking."""
        said = []
        taken: dict[str, str] = {}
        for part in template.parts:
            text = part if isinstance(part, str) else self._say(part, taken)
            if text is None:
                return None
            said.append(text)
        return "".join(said)

    def _say(self, hole: Hole, taken: dict[str, str]) -> str | None:
        state = self._state
        if hole.source == "count":
            return str(len(state.rows)) if state.has_called and state.rows else None
        value = self._value(hole, taken)
        if value is None or value in ("True", "False"):
            return None
        return say(value, like=hole.like, dates=state.vocabulary.dates, today=state.today)

    def _value(self, hole: Hole, taken: dict[str, str]) -> str | None:
        pools = [self._row, self._arguments]
        if hole.source == "argument":
            pools.reverse()
        for pool in pools:
            name = taken.get(hole.slot) or self._stand_in(hole, pool, taken)
            if name is not None and name in pool:
                taken[hole.slot] = name
                return pool[name]
        return None

    def _stand_in(self, hole: Hole, pool: Row, taken: Mapping[str, str]) -> str | None:
        """Name the slot of a pool that stands for a hole's slot, if one does."""
        if hole.slot in pool:
            return hole.slot
        kind = kind_of_value(hole.like, self._state.today)
        place = (hole.slot, kind, id(pool))
        if place not in self._stand_ins:
            self._stand_ins[place] = self._rank_stand_ins(hole.slot, kind, pool)
        free = (name for name in self._stand_ins[place] if name not in taken.values())
        return next(free, None)

    def _rank_stand_ins(self, slot: str, kind: str, pool: Row) -> list[str]:
        state = self._state
        words = set(identifier_words(slot))
        likeness = {}
        for name, value in pool.items():
            if kind_of_value(value, state.today) == kind:
                other = set(identifier_words(name))
                likeness[name] = 2 * len(words & other) / max(len(words | other), 1)
                likeness[name] += slot in state.vocabulary.phrases.get(phrase_key(value), ())
        near = [name for name in likeness if likeness[name] >= _NEAR]
        return sorted(near, key=lambda name: -likeness[name])


def _row(state: State) -> Row:
    return state.row.get(state.service, {})


def _known(state: State) -> dict[str, str]:
    """The values of the service's slots, those that a call would have by default included."""
    filled = state.values.get(state.service, {})
    known = {slot: value.value for slot, value in filled.items()}
    return {**known, **state.arguments(state.tool)} if state.tool else known
