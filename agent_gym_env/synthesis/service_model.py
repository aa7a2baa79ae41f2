"""A simulated service: its signature, its entities and its answers."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from datetime import date, timedelta
from typing import NamedTuple

from agent_gym_env.corpus.sgd import TODAY, Intent, Service
from agent_gym_env.synthesis.entities import ServiceEntry, known_values, slot_kind
from agent_gym_env.synthesis.surfaces import DAYS_AHEAD, Kind
from agent_gym_env.synthesis.wording import Wording
from agent_gym_env.values.equality import DONTCARE

MOST_ROWS = 10
"""Largest number of rows that a search returns."""

_REFUSED_OF_1000 = {True: 150, False: 60}
"""Refused bookings in 1000, by whether they have a time that the service can move."""

_COUNTER_OFFERS_OF_1000 = 650
_TIME_SHIFTS = (30, -30, 60, -60, 90)
_OPENS, _CLOSES = 6 * 60, 23 * 60 + 30
_HALF_HOURS = tuple(f"{hour:02}:{minute}" for hour in range(9, 21) for minute in ("00", "30"))

Row = dict[str, str]


class Answer(NamedTuple):
    """Answer of a service to a booking.

    Attributes:
        succeeded: whether the booking was made.
        rows: the booking, or a counter-offer; empty for a refusal without one.
    """

    succeeded: bool
    rows: list[Row]


class ServiceModel:
    """A service with its entities. Equal calls have equal answers.

    Args:
        service: schema of the service.
        entry: entry in the entities file.

    Attributes:
        service: schema of the service.
        name: name of the service.
        wording: words for its slots and intents.
        searches: names of the intents that look entities up.
        transactions: names of the transactional intents.
    """

    def __init__(self, service: Service, entry: ServiceEntry) -> None:
        self.service = service
        self.name = service.service_name
        self.wording = Wording(service, entry)
        self._entry = entry
        self._slots = {slot.name: slot for slot in service.slots}
        self._intents = {intent.name: intent for intent in service.intents}
        self._attributes = frozenset(entry.rows[0]) if entry.rows else frozenset[str]()
        self.searches = [name for name, it in self._intents.items() if not it.is_transactional]
        self.transactions = [name for name, it in self._intents.items() if it.is_transactional]

    def intent(self, name: str) -> Intent:
        """Return the schema of an intent."""
        return self._intents[name]

    def parameters(self, intent: str) -> list[str]:
        """Return the slots that an intent takes, in the order of the schema."""
        signature = self._intents[intent]
        taken = {*signature.required_slots, *signature.optional_slots}
        return [slot for slot in self._slots if slot in taken]

    def is_parameter(self, slot: str) -> bool:
        """Return whether some intent takes the slot."""
        return any(slot in self.parameters(intent) for intent in self._intents)

    def search_before(self, intent: str) -> str | None:
        """Return the search whose chosen row an intent uses, if there is one.

        It is the search in the entities file. If that names none, it is, for a transaction, the
        search with most of the required slots that the user does not specify in the search.
        """
        entry = self._entry.intents.get(intent)
        if entry and entry.after:
            return entry.after
        if not self._intents[intent].is_transactional or not self.searches:
            return None
        best = max(self.searches, key=lambda search: len(self.row_gives(search, intent)))
        return best if self.row_gives(best, intent) else None

    def intents_after(self, search: str) -> list[str]:
        """Return the intents that use the chosen row of a search."""
        return [intent for intent in self._intents if self.search_before(intent) == search]

    def row_gives(self, search: str, intent: str) -> list[str]:
        """Return the required slots of an intent that only the chosen row of a search has."""
        found = self._attributes & set(self._intents[search].result_slots)
        asked = set(self._intents[search].required_slots)
        needed = self._intents[intent].required_slots
        return [slot for slot in needed if slot in found and slot not in asked]

    def kind(self, slot: str) -> Kind:
        """Return the kind of a slot's values."""
        return slot_kind(self._slots[slot], self._entry)

    def concept(self, slot: str) -> str | None:
        """Return the concept of a slot whose values may carry over between services.

        Values carry over between slots of one concept. It is the concept in the entities file, or
        else the name of a slot for free text or dates. Numbers and times in slots of one name
        seldom mean the same.
        """
        entry = self._entry.slots.get(slot)
        if entry and entry.concept:
            return entry.concept
        is_free = not self.is_categorical(slot) and self.kind(slot) in ("text", "date")
        return slot if is_free else None

    def concepts(self) -> set[str]:
        """Return the concepts of all slots that have one."""
        found = {self.concept(slot) for slot in self._slots}
        return {concept for concept in found if concept is not None}

    def takes(self, slot: str, value: str) -> bool:
        """Return whether a slot may have a value that comes from another service."""
        return value in self.examples(slot) if self.is_bound(slot) else True

    def is_bound(self, slot: str) -> bool:
        """Return whether a slot takes only values in the schema or the entities."""
        return self.is_categorical(slot) or self.is_attribute(slot)

    def name_slot(self) -> str | None:
        """Return the slot that names an entity, if the service has one."""
        return self._entry.name_slot or None

    def is_categorical(self, slot: str) -> bool:
        """Return whether the schema lists the slot's values."""
        return self._slots[slot].is_categorical

    def is_attribute(self, slot: str) -> bool:
        """Return whether the entities have this slot."""
        return slot in self._attributes

    def is_unknown(self, slot: str) -> bool:
        """Return whether only the service knows the slot's value."""
        return self.is_attribute(slot) or not self.is_parameter(slot)

    def entities(self) -> list[Row]:
        """Return the rows of the entities file."""
        return self._entry.rows

    def examples(self, slot: str) -> list[str]:
        """Return values that a user may ask for."""
        stated = self._entry.slots.get(slot)
        if stated and stated.values:
            return stated.values
        return known_values(self._slots[slot], self._entry) or _examples_of(self.kind(slot))

    def search(
        self, intent: str, parameters: Mapping[str, str], indifferent: Collection[str] = ()
    ) -> list[Row]:
        """Return the entities that match, at most `MOST_ROWS`.

        Args:
            intent: search intent.
            parameters: canonical values by slot.
            indifferent: slots without a preference of the user; their defaults do not filter.
        """
        wanted = self._with_defaults(intent, parameters, indifferent)
        fitting = (row for row in self._entry.rows if _fits(row, wanted))
        rows = [self._result(intent, {**row, **parameters}, row) for row in fitting]
        return _distinct(rows)[:MOST_ROWS]

    def book(self, intent: str, parameters: Mapping[str, str], chosen: Mapping[str, str]) -> Answer:
        """Return the answer to a transaction: its row, a row with another time, or no row."""
        if not self.refuses(intent, parameters):
            return Answer(True, [self._result(intent, {**chosen, **parameters}, chosen)])
        if _share("counter", self.name, intent, parameters) < _COUNTER_OFFERS_OF_1000:
            slot = self._movable_time(intent, parameters)
            for other in _other_times(parameters[slot]) if slot else ():
                moved = {**parameters, slot: other} if slot else {}
                if not self.refuses(intent, moved):
                    return Answer(False, [self._result(intent, {**chosen, **moved}, chosen)])
        return Answer(False, [])

    def refuses(self, intent: str, parameters: Mapping[str, str]) -> bool:
        """Return whether the service refuses this transaction."""
        movable = self._movable_time(intent, parameters) is not None
        return _share("refuse", self.name, intent, parameters) < _REFUSED_OF_1000[movable]

    def _movable_time(self, intent: str, parameters: Mapping[str, str]) -> str | None:
        for slot in self.parameters(intent):
            if slot in parameters and self.kind(slot) == "time" and not self.is_attribute(slot):
                return slot
        return None

    def _with_defaults(
        self, intent: str, parameters: Mapping[str, str], indifferent: Collection[str]
    ) -> Row:
        defaults = self._intents[intent].optional_slots.items()
        filters = {s: v for s, v in defaults if v != DONTCARE and s not in indifferent}
        return {**filters, **parameters}

    def _result(self, intent: str, known: Mapping[str, str], entity: Mapping[str, str]) -> Row:
        signature = self._intents[intent]
        row = {}
        for slot in signature.result_slots:
            default = signature.optional_slots.get(slot, DONTCARE)
            if slot in known:
                row[slot] = known[slot]
            elif default != DONTCARE:
                row[slot] = default
            else:
                about = known if signature.is_transactional else entity
                options = self.examples(slot)
                row[slot] = options[_share(slot, self.name, about) % len(options)]
        return row


def _fits(row: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(row.get(slot, value) == value for slot, value in wanted.items())


def _distinct(rows: list[Row]) -> list[Row]:
    return list({tuple(sorted(row.items())): row for row in rows}.values())


def _share(purpose: str, service: str, *about: object) -> int:
    """Return a pseudo-random number from 0 to 999 that depends on the arguments alone."""
    parts = [sorted(it.items()) if isinstance(it, Mapping) else it for it in about]
    digest = hashlib.blake2b(repr((purpose, service, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % 1000


def _other_times(value: str) -> list[str]:
    now = int(value[:2]) * 60 + int(value[3:])
    moved = [now + shift for shift in _TIME_SHIFTS]
    return [f"{time // 60:02}:{time % 60:02}" for time in moved if _OPENS <= time <= _CLOSES]


def _examples_of(kind: Kind) -> list[str]:
    if kind == "date":
        today = date.fromisoformat(TODAY)
        return [(today + timedelta(days=ahead)).isoformat() for ahead in range(DAYS_AHEAD)]
    if kind == "time":
        return list(_HALF_HOURS)
    return ["True", "False"] if kind == "boolean" else ["1", "2", "3", "4", "5", "6"]
