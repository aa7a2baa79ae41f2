"""The format of the entities file: the entities of services, and words for them.

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
    """An entry in which an unknown field is an error."""


class SlotEntry(_Entry, frozen=True):
    """Information about a slot that is not in its schema.

    Attributes:
        kind: kind of its values; by default inferred from them.
        concept: name shared by slots whose values carry over from one service to the next; by
            default the slot's name.
        values: example values, for a slot that is not in the rows.
        spoken: other ways to say a value, by value.
        label: slot as a noun phrase; by default made from its name.
        inform: phrases that complete a wish of the user, such as ``"for {} people"``.
        request: questions of the system for the value.
        ask: questions of the user for the attribute, without question mark.
        tell: clauses of the system that say the attribute, such as ``"their number is {}"``.
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
    """Information about an intent that is not in its schema.

    Attributes:
        noun: noun for what it finds; by default the noun of the service.
        plural: plural of the noun.
        after: search of the same service whose chosen row this transaction uses.
        do: verb phrases of the user after "I'd like to", such as ``"book a table"``.
        open: whole sentences of the user that ask for the intent.
        offer: sentences that present a row, with its slots as placeholders.
        select: sentences of the user that take a row, where "I'll take it" does not fit.
        offer_intent: questions of the system that propose the intent.
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
    """Information about a service that is not in its schema.

    Attributes:
        name_slot: slot that names an entity.
        noun: noun for an entity, such as ``"restaurant"``.
        plural: plural of the noun.
        rows: entities, in the order in which a search lists them.
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
    """Return the canonical values of a slot in schema and entry, each once, in file order."""
    values = [*slot.possible_values, *entry.slots.get(slot.name, SlotEntry()).values]
    values += [row[slot.name] for row in entry.rows if slot.name in row]
    return list(dict.fromkeys(values))


def slot_kind(slot: Slot, entry: ServiceEntry) -> Kind:
    """Return the kind of a slot: the stated one, or the one inferred from values and name."""
    stated = entry.slots.get(slot.name, SlotEntry()).kind
    if stated is not None:
        return stated
    found = kind_of(slot.name, known_values(slot, entry))
    if found == "text" and not known_values(slot, entry):
        last = slot.name.rsplit("_", 1)[-1]
        return _KINDS_BY_LAST_WORD.get(last, "text")
    return found
