"""What a user wants from one service, planned before it is talked about."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

import msgspec

from agent_gym_env.corpus.sgd import DONTCARE
from agent_gym_env.synthesis.service_model import Row, ServiceModel

_OPTIONAL_WANTED = 0.3
_INDIFFERENT = 0.05
_FINDS_NOTHING = 0.035
_TRIES = 20


class Errand(msgspec.Struct):
    """What a user wants from one service.

    Attributes:
        model: the service.
        search: the intent that looks entities up, if any.
        booking: the transaction after it or by itself, if any.
        wishes: canonical values, or ``dontcare``, that the search is to use.
        details: canonical values for the transaction that the user would give.
        carried: slots whose values come from another service.
    """

    model: ServiceModel
    search: str | None
    booking: str | None
    wishes: dict[str, str] = {}
    details: dict[str, str] = {}
    carried: set[str] = set()


def plan(
    model: ServiceModel,
    search: str | None,
    booking: str | None,
    known: Mapping[str, str],
    rng: Random,
) -> Errand:
    """Plan an errand.

    Args:
        model: the service.
        search: the intent that looks entities up, if any.
        booking: the transaction, if any.
        known: canonical values by concept that earlier errands settled.
        rng: draws values.
    """
    errand = Errand(model, search, booking)
    if search is not None:
        _plan_search(errand, search, known, rng)
    if booking is not None:
        _plan_booking(errand, booking, known, rng)
    return errand


def changed_wish(errand: Errand, search: str, rng: Random) -> tuple[str, str] | None:
    """Draw another value for a slot of a search which still finds something."""
    slots = [it for it in errand.model.parameters(search) if _is_open(errand, it)]
    rng.shuffle(slots)
    for slot in slots:
        values = [v for v in errand.model.examples(slot) if v != errand.wishes.get(slot)]
        rng.shuffle(values)
        for value in values[:_TRIES]:
            if found(errand.model, search, {**errand.wishes, slot: value}):
                return slot, value
    return None


def found(model: ServiceModel, search: str, wishes: Mapping[str, str]) -> list[Row]:
    """What a search with these wishes lists."""
    wanted = {slot: value for slot, value in wishes.items() if value != DONTCARE}
    return model.search(search, wanted, wishes.keys() - wanted.keys())


def _is_open(errand: Errand, slot: str) -> bool:
    """Whether the user may come to want another value here."""
    return errand.model.kind(slot) != "boolean" or slot not in errand.wishes


def _plan_search(errand: Errand, search: str, known: Mapping[str, str], rng: Random) -> None:
    model = errand.model
    target = _target(model, search, known, rng)
    required = set(model.intent(search).required_slots)
    for slot in model.parameters(search):
        if slot not in required and rng.random() > _OPTIONAL_WANTED:
            continue
        value = target[slot] if slot in target else _free_value(model, slot, known, rng)
        errand.wishes[slot] = value
        if known.get(model.concept(slot)) == value and slot in required:
            errand.carried.add(slot)
    _settle_defaults(errand, search, target)
    for slot, default in model.intent(search).optional_slots.items():
        if default == DONTCARE and slot not in errand.wishes and rng.random() < _INDIFFERENT:
            errand.wishes[slot] = DONTCARE
    if rng.random() < _FINDS_NOTHING:
        _spoil(errand, search, rng)


def _target(model: ServiceModel, search: str, known: Mapping[str, str], rng: Random) -> Row:
    """Draw an entity that the user will be able to find, near what is known where possible."""
    rows = model.entities()
    for slot in model.intent(search).required_slots:
        value = known.get(model.concept(slot))
        near = [row for row in rows if row.get(slot) == value]
        rows = near or rows
    return rng.choice(rows) if rows else {}


def _settle_defaults(errand: Errand, search: str, target: Row) -> None:
    """Say a wish aloud where the default would hide the entity."""
    for slot, default in errand.model.intent(search).optional_slots.items():
        hides = default != DONTCARE and slot in target and target[slot] != default
        if slot not in errand.wishes and hides:
            errand.wishes[slot] = target[slot]


def _spoil(errand: Errand, search: str, rng: Random) -> None:
    """Turn the wishes into ones that nothing fulfils, where there are such."""
    model = errand.model
    for slot in model.parameters(search):
        if not model.is_attribute(slot) or slot in errand.carried:
            continue
        values = list(model.examples(slot))
        rng.shuffle(values)
        for value in values[:_TRIES]:
            if not found(model, search, {**errand.wishes, slot: value}):
                errand.wishes[slot] = value
                return


def _plan_booking(errand: Errand, booking: str, known: Mapping[str, str], rng: Random) -> None:
    model = errand.model
    required = model.intent(booking).required_slots
    settled = {**known, **{model.concept(slot): it for slot, it in errand.wishes.items()}}
    for slot in model.parameters(booking):
        if errand.search is not None and _comes_with_row(model, errand.search, slot):
            continue
        if slot in errand.wishes:
            continue
        if slot in required or rng.random() < _OPTIONAL_WANTED:
            errand.details[slot] = _free_value(model, slot, known, rng)
            concept = model.concept(slot)
            if settled.get(concept) == errand.details[slot] and slot in required:
                errand.carried.add(slot)


def _comes_with_row(model: ServiceModel, search: str, slot: str) -> bool:
    return model.is_attribute(slot) and slot in model.intent(search).result_slots


def _free_value(model: ServiceModel, slot: str, known: Mapping[str, str], rng: Random) -> str:
    value = known.get(model.concept(slot))
    examples = model.examples(slot)
    fits = value is not None and (not model.is_categorical(slot) or value in examples)
    if value is not None and fits:
        return value
    return rng.choice(examples)
