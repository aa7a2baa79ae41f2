"""The format of the entities file: what a service knows and how people talk about it.

Everything but the rows of a service with search intents is optional. `docs/guides/synthesis.md`
describes the format for those who write one.
"""

from __future__ import annotations

import msgspec

from agent_gym_env.corpus.sgd import Slot
from agent_gym_env.synthesis.surfaces import Kind, kind_of

_KINDS_BY_LAST_WORD: dict[str, Kind] = {"date": "date", "day": "date", "time": "time"}

ByValue = dict[str, list[str]]
"""Wordings for single values of a slot; ``"*"`` for the values that are not listed."""

Wordings = list[str] | ByValue


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Strict: a misspelt field is an error, never dropped in silence."""


class SlotEntry(_Entry, frozen=True):
    """What is known of a slot beyond its schema.

    Attributes:
        kind: how its values are said; told from the values when absent.
        concept: slots of one concept carry over from one service to the next; its name if absent.
        values: example values, for a slot that the rows do not give.
        spoken: other ways to say a value, by value.
        label: the slot as a noun phrase; made from its name when absent.
        inform: phrases that complete what the user wants, such as ``"for {} people"``.
        request: questions with which the system asks for the value.
        ask: questions, without question mark, with which the user asks for the attribute.
        tell: clauses with which the system says the attribute, such as ``"their number is {}"``.
        again: phrases for a value that carries over, such as ``"on the same day"``.
    """

    kind: Kind | None = None
    concept: str = ""
    values: list[str] = []
    spoken: dict[str, list[str]] = {}
    label: str = ""
    inform: Wordings = []
    request: list[str] = []
    ask: list[str] = []
    tell: Wordings = []
    again: list[str] = []


class IntentEntry(_Entry, frozen=True):
    """What is known of an intent beyond its schema.

    Attributes:
        noun: what it finds, where that is not the service's noun.
        plural: more than one of them.
        after: the search of the same service whose chosen row this transaction takes up.
        do: what it does as the user would say it after "I'd like to", such as ``"book a table"``.
        open: whole sentences with which the user opens instead.
        offer: sentences that present a row, with its slots as holes.
        select: sentences with which the user takes a row, where "I'll take it" is out of place.
        offer_intent: questions with which the system proposes the intent.
        success: sentences that report a success.
        failure: sentences that report a failure or an empty result.
    """

    noun: str = ""
    plural: str = ""
    after: str = ""
    do: list[str] = []
    open: list[str] = []
    offer: list[str] = []
    select: list[str] = []
    offer_intent: list[str] = []
    success: list[str] = []
    failure: list[str] = []


class ServiceEntry(_Entry, frozen=True):
    """What is known of a service beyond its schema.

    Attributes:
        name_slot: the slot that names an entity.
        noun: what an entity is called, such as ``"restaurant"``.
        plural: more than one of them.
        rows: the entities, in the order in which a search lists them.
        slots: entries by slot.
        intents: entries by intent.
    """

    name_slot: str = ""
    noun: str = "option"
    plural: str = ""
    rows: list[dict[str, str]] = []
    slots: dict[str, SlotEntry] = {}
    intents: dict[str, IntentEntry] = {}


def known_values(slot: Slot, entry: ServiceEntry) -> list[str]:
    """Return the canonical values that a slot can be seen to take, each once, in file order."""
    values = [*slot.possible_values, *entry.slots.get(slot.name, SlotEntry()).values]
    values += [row[slot.name] for row in entry.rows if slot.name in row]
    return list(dict.fromkeys(values))


def slot_kind(slot: Slot, entry: ServiceEntry) -> Kind:
    """Return the kind of a slot: the one stated, or the one that its values and name suggest."""
    stated = entry.slots.get(slot.name, SlotEntry()).kind
    if stated is not None:
        return stated
    found = kind_of(slot.name, known_values(slot, entry))
    if found == "text" and not known_values(slot, entry):
        last = slot.name.rsplit("_", 1)[-1]
        return _KINDS_BY_LAST_WORD.get(last, "text")
    return found
