"""Replies with placeholders for their values, which are filled in another conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Literal

import msgspec

from agent_gym_env.corpus.task import SpokenValue
from agent_gym_env.retrieval.state import Row, State
from agent_gym_env.retrieval.tokens import identifier_words, phrase_key
from agent_gym_env.retrieval.vocabulary import kind_of_value
from agent_gym_env.values.equality import canonical

Source = Literal["row", "argument", "count"]

_SHORT = 3
"""A shorter value that the annotation does not mark is probably a chance match; characters."""

_NEAR = 0.6
"""Lowest similarity at which the value of a slot with another name fills a placeholder."""


class Placeholder(msgspec.Struct, frozen=True, array_like=True):
    """The place of a value in a reply.

    Attributes:
        slot: slot of the service that the reply was about; ``""`` for the number of results.
        source: whether the value was the offered row's, an argument's, or the number of results.
        like: words in which the value was said.
    """

    slot: str
    source: Source
    like: str


class Template(msgspec.Struct, frozen=True, array_like=True):
    """A reply whose values are placeholders.

    Attributes:
        parts: words and placeholders, in order.
    """

    parts: tuple[Placeholder | str, ...]


class _Span(msgspec.Struct, frozen=True, order=True):
    start: int
    end: int
    placeholder: Placeholder


def template_of(text: str, marked: Sequence[SpokenValue], state: State) -> Template | None:
    """Replace the values in a reply by placeholders.

    Args:
        text: reply.
        marked: slot values that the annotation marks in it; others are found by their words.
        state: state of the conversation after the reply.

    Returns:
        ``None`` if a number would stay in the words, or the reply is about several rows: such a
        reply would be wrong in another conversation.
    """
    spans = _marked_spans(text, marked, state)
    for span in _other_spans(text, {span.placeholder.slot for span in spans}, state):
        if _is_free(span, spans):
            spans.append(span)
    slots = [span.placeholder.slot for span in spans]
    parts: list[Placeholder | str] = []
    position = 0
    for span in sorted(spans):
        parts += [text[position : span.start], span.placeholder]
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
        described = state.tools.slots.get(state.service, {}).get(slot)
        return described is not None and described.is_count
    return len(value) >= _SHORT and value not in ("True", "False")


def _find_spans(text: str, value: str, slot: str, source: Source) -> list[_Span]:
    """Return the places of a value that are whole words."""
    lower, wanted = text.lower(), value.lower()
    if len(lower) != len(text):  # For example "İ": places would be shifted.
        return []
    spans = []
    start = lower.find(wanted)
    while start >= 0 and wanted:
        end = start + len(wanted)
        if not (lower[start - 1 : start].isalnum() or lower[end : end + 1].isalnum()):
            spans.append(_Span(start, end, Placeholder(slot, source, text[start:end])))
        start = lower.find(wanted, start + 1)
    return spans


class TemplateFiller:
    """Fills templates with the values of one conversation.

    Args:
        state: state of the conversation.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._row = _row(state)
        self._arguments = _known(state)
        self._similar: dict[tuple[str, str, int], list[str]] = {}

    def fill(self, template: Template) -> str | None:
        """Return the text of a template; ``None`` if a value is missing."""
        said = []
        taken: dict[str, str] = {}
        for part in template.parts:
            text = part if isinstance(part, str) else self._text_of(part, taken)
            if text is None:
                return None
            said.append(text)
        return "".join(said)

    def _text_of(self, placeholder: Placeholder, taken: dict[str, str]) -> str | None:
        state = self._state
        if placeholder.source == "count":
            return str(len(state.rows)) if state.has_called and state.rows else None
        value = self._value(placeholder, taken)
        if value is None or value in ("True", "False"):
            return None
        return say_value(
            value, like=placeholder.like, dates=state.vocabulary.dates, today=state.today
        )

    def _value(self, placeholder: Placeholder, taken: dict[str, str]) -> str | None:
        pools = [self._row, self._arguments]
        if placeholder.source == "argument":
            pools.reverse()
        for pool in pools:
            name = taken.get(placeholder.slot) or self._slot_for(placeholder, pool, taken)
            if name is not None and name in pool:
                taken[placeholder.slot] = name
                return pool[name]
        return None

    def _slot_for(
        self, placeholder: Placeholder, pool: Row, taken: Mapping[str, str]
    ) -> str | None:
        """Return the slot of a pool whose value fills a placeholder, if there is one."""
        if placeholder.slot in pool:
            return placeholder.slot
        kind = kind_of_value(placeholder.like, self._state.today)
        place = (placeholder.slot, kind, id(pool))
        if place not in self._similar:
            self._similar[place] = self._similar_slots(placeholder.slot, kind, pool)
        free = (name for name in self._similar[place] if name not in taken.values())
        return next(free, None)

    def _similar_slots(self, slot: str, kind: str, pool: Row) -> list[str]:
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
    """Return the values of the service's slots, including the defaults of a call."""
    filled = state.values.get(state.service, {})
    known = {slot: value.value for slot, value in filled.items()}
    return {**known, **state.arguments(state.tool)} if state.tool else known


def say_value(value: str, *, like: str, dates: Mapping[str, str], today: str | None) -> str:
    """Return the words with which an agent says a value.

    Args:
        value: value in any form.
        like: words of a value of the same slot, with or without a currency sign.
        dates: words for dates, by ISO date; other dates are said as in "March 8th".
        today: date of the conversation, ISO.
    """
    kind = kind_of_value(value, today)
    if kind == "date":
        key = canonical(value, today)
        return dates.get(key) or _say_date(key)
    if kind == "time":
        return _say_time(canonical(value, today))
    if kind == "number" and like.startswith("$"):
        return _say_money(value)
    return value


def _say_date(iso: str) -> str:
    day = date.fromisoformat(iso)
    ending = (
        "th" if 10 <= day.day % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th")
    )
    return f"{day:%B} {day.day}{ending}"


def _say_time(clock: str) -> str:
    hour, minute = int(clock[:2]), clock[3:]
    half = "am" if hour < 12 else "pm"
    return f"{hour % 12 or 12}{'' if minute == '00' else f':{minute}'} {half}"


def _say_money(amount: str) -> str:
    whole, point, cents = amount.lstrip("$").replace(",", "").partition(".")
    return f"${int(whole):,}{point}{cents}" if whole.isdecimal() else amount
