"""The values that a user wants for an intent, drawn so that entities mostly match them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from random import Random

from agent_gym_env.synthesis.service_model import Row, ServiceModel
from agent_gym_env.values.equality import DONTCARE

_OPTIONAL_WANTED = 0.3
_INDIFFERENT = 0.04
_FINDS_NOTHING = 0.03
_TRIES = 20

Wishes = dict[str, str]
"""Canonical values, or ``dontcare``, by slot."""


def search_wishes(
    model: ServiceModel, search: str, known: Mapping[str, str], rng: Random
) -> Wishes:
    """Draw the values that a user wants for a search.

    Args:
        model: service.
        search: search intent.
        known: values by slot that are known already.
        rng: generator that draws the rest.
    """
    wishes = _wishes_for_an_entity(model, search, known, rng)
    for slot, default in model.intent(search).optional_slots.items():
        if default == DONTCARE and slot not in wishes and rng.random() < _INDIFFERENT:
            wishes[slot] = DONTCARE
    spoiled = _spoiled(model, search, wishes, known, rng) if rng.random() < _FINDS_NOTHING else None
    return spoiled or wishes


def booking_wishes(
    model: ServiceModel, booking: str, known: Mapping[str, str], rng: Random
) -> Wishes:
    """Draw the values that a user wants for a transaction.

    Args:
        model: service.
        booking: transactional intent.
        known: values by slot that are known already, those of the chosen row included.
        rng: generator that draws the rest.
    """
    signature = model.intent(booking)
    wanted = [
        slot
        for slot in model.parameters(booking)
        if slot in signature.required_slots or slot in known or rng.random() < _OPTIONAL_WANTED
    ]
    return {slot: known.get(slot) or rng.choice(model.examples(slot)) for slot in wanted}


def another_search(
    model: ServiceModel, search: str, wishes: Wishes, shown: Collection[Row], rng: Random
) -> tuple[str, str] | None:
    """Draw another value of one slot with which the search finds a new row."""
    slots = [slot for slot in model.parameters(search) if slot in wishes or rng.random() < 0.5]
    rng.shuffle(slots)
    for slot in slots:
        for value in _others(model, slot, wishes.get(slot), rng):
            rows = found(model, search, {**wishes, slot: value})
            if rows and rows[0] not in shown:
                return slot, value
    return None


def another_booking(
    model: ServiceModel, wishes: Wishes, fixed: Collection[str], rng: Random
) -> tuple[str, str] | None:
    """Draw another value of one slot that the chosen row does not determine."""
    slots = [slot for slot in wishes if slot not in fixed]
    if not slots:
        return None
    slot = rng.choice(slots)
    others = _others(model, slot, wishes[slot], rng)
    return (slot, others[0]) if others else None


def found(model: ServiceModel, search: str, wishes: Mapping[str, str]) -> list[Row]:
    """Return the rows of a search with these values."""
    wanted = {slot: value for slot, value in wishes.items() if value != DONTCARE}
    return model.search(search, wanted, wishes.keys() - wanted.keys())


def _wishes_for_an_entity(
    model: ServiceModel, search: str, known: Mapping[str, str], rng: Random
) -> Wishes:
    target = _target(model, search, known, rng)
    signature = model.intent(search)
    wishes: Wishes = {}
    for slot in model.parameters(search):
        default = signature.optional_slots.get(slot, DONTCARE)
        hidden = default != DONTCARE and target.get(slot, default) != default
        wanted = slot in signature.required_slots or slot in known or hidden
        if wanted or rng.random() < _OPTIONAL_WANTED:
            wishes[slot] = target.get(slot) or known.get(slot) or rng.choice(model.examples(slot))
    return wishes


def _target(model: ServiceModel, search: str, known: Mapping[str, str], rng: Random) -> Row:
    """Draw the entity that the user will find; it has the known values, if possible."""
    rows = model.entities()
    for slot in model.parameters(search):
        near = [row for row in rows if slot in known and row.get(slot) == known[slot]]
        rows = near or rows
    return rng.choice(rows)


def _spoiled(
    model: ServiceModel, search: str, wishes: Wishes, known: Mapping[str, str], rng: Random
) -> Wishes | None:
    """Change one value so that no entity matches, if possible."""
    slots = [slot for slot in wishes if model.is_attribute(slot) and slot not in known]
    rng.shuffle(slots)
    for slot in slots:
        for value in _others(model, slot, wishes[slot], rng):
            if not found(model, search, {**wishes, slot: value}):
                return {**wishes, slot: value}
    return None


def _others(model: ServiceModel, slot: str, value: str | None, rng: Random) -> list[str]:
    others = [it for it in model.examples(slot) if it != value]
    rng.shuffle(others)
    return others[:_TRIES]
