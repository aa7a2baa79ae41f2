"""The entities file: what a service knows and how people talk about it, checked against its schema.

Everything but the rows of a service with search intents is optional; `docs/synthesis.md` describes
the format for those who write one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from agent_gym_env.corpus.sgd import Intent, Service, Slot
from agent_gym_env.errors import DataError
from agent_gym_env.synthesis import templates
from agent_gym_env.synthesis.surfaces import Kind, kind_of

_Decoded = TypeVar("_Decoded")

_SELF_EXPLAINING: tuple[Kind, ...] = ("date", "time", "number", "boolean")
"""Kinds of slots whose example values need not be written down."""

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
        after: the search of the same service whose chosen row this transaction takes up.
        do: what it does as the user would say it after "I'd like to", such as ``"book a table"``.
        open: whole sentences with which the user opens instead.
        offer: sentences that present a row, with its slots as holes.
        select: sentences with which the user takes a row, where "I'll take it" is out of place.
        offer_intent: questions with which the system proposes the intent.
        success: sentences that report a success.
        failure: sentences that report a failure or an empty result.
    """

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


class Entities(_Entry, frozen=True):
    """An entities file."""

    services: dict[str, ServiceEntry]


def read_schema(path: Path) -> list[Service]:
    """Read a ``schema.json`` in SGD's format.

    Raises:
        DataError: the file cannot be read as one.
    """
    services = decode(path, list[Service])
    for index, service in enumerate(services):
        for pointer, problem in _schema_problems(service):
            raise DataError(problem, file=str(path), pointer=f"/{index}{pointer}")
    return services


def read_entities(path: Path, services: Sequence[Service]) -> dict[str, ServiceEntry]:
    """Read an entities file for some services; services that it leaves out have empty entries.

    Raises:
        DataError: the file cannot be read as one, or does not fit the services.
    """
    entries = decode(path, Entities).services
    for service in services:
        entry = entries.get(service.service_name, ServiceEntry())
        for pointer, problem in _entry_problems(service, entry):
            place = f"/services/{service.service_name}{pointer}"
            raise DataError(problem, file=str(path), pointer=place)
    return {name.service_name: entries.get(name.service_name, ServiceEntry()) for name in services}


def decode(path: Path, shape: type[_Decoded]) -> _Decoded:
    """Read a JSON file of a given shape, strictly.

    Raises:
        DataError: the file cannot be read, or has another shape.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=shape)
    except OSError as error:
        raise DataError(f"cannot read the file: {error.strerror}", file=str(path)) from error
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `$")
        raise DataError(problem, file=str(path), pointer=_pointer(place.rstrip("`"))) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"not JSON: {error}", file=str(path)) from error


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


def _pointer(place: str) -> str | None:
    """Turn msgspec's path, such as ``[0].slots[...]``, into a JSON pointer as far as it goes."""
    return place.replace("[", "/").replace("]", "").replace(".", "/").replace("/" * 4, "/…") or None


_Problems = Iterator[tuple[str, str]]
"""Pairs of a JSON pointer and what is wrong there."""


def _schema_problems(service: Service) -> _Problems:
    slots = {slot.name for slot in service.slots}
    for index, slot in enumerate(service.slots):
        if slot.is_categorical and not slot.possible_values:
            yield f"/slots/{index}", f"slot {slot.name!r} is categorical but lists no values"
    for index, intent in enumerate(service.intents):
        used = [*intent.required_slots, *intent.optional_slots, *intent.result_slots]
        for name in used:
            if name not in slots:
                yield (
                    f"/intents/{index}",
                    f"intent {intent.name!r} uses slot {name!r}, not declared",
                )


def _entry_problems(service: Service, entry: ServiceEntry) -> _Problems:
    yield from _row_problems(service, entry)
    yield from _slot_problems(service, entry)
    yield from _intent_problems(service, entry)
    for intent in service.intents:
        yield from _coverage_problems(service, intent, entry)


def _row_problems(service: Service, entry: ServiceEntry) -> _Problems:
    slots = {slot.name: slot for slot in service.slots}
    if entry.name_slot and entry.name_slot not in slots:
        yield "/name_slot", f"expected a slot of the service, found {entry.name_slot!r}"
    for index, row in enumerate(entry.rows):
        if missing := set(entry.rows[0]) ^ set(row):
            yield (
                f"/rows/{index}",
                f"rows must have the same slots, this differs in {_list(missing)}",
            )
        for name, value in row.items():
            place = f"/rows/{index}/{name}"
            if name not in slots:
                yield place, f"{name!r} is not a slot of the service"
            elif not value.strip():
                yield place, "expected a value, found an empty text"
            elif slots[name].is_categorical and value not in slots[name].possible_values:
                yield (
                    place,
                    f"expected one of {_list(slots[name].possible_values)}, found {value!r}",
                )


def _slot_problems(service: Service, entry: ServiceEntry) -> _Problems:
    slots = {slot.name: slot for slot in service.slots}
    for name, slot_entry in entry.slots.items():
        place = f"/slots/{name}"
        if name not in slots:
            yield place, f"{name!r} is not a slot of the service"
            continue
        slot = slots[name]
        for value in slot_entry.values:
            if slot.is_categorical and value not in slot.possible_values:
                yield f"{place}/values", f"{value!r} is none of {_list(slot.possible_values)}"
        for field in ("request", "ask", "again"):
            for index, wording in enumerate(getattr(slot_entry, field)):
                yield from _wording_problems(f"{place}/{field}/{index}", wording, set())
        for field in ("inform", "tell"):
            wordings = getattr(slot_entry, field)
            yield from _value_wording_problems(f"{place}/{field}", wordings, slot)


def _value_wording_problems(place: str, wordings: Wordings, slot: Slot) -> _Problems:
    by_value = wordings if isinstance(wordings, dict) else {"*": wordings}
    for value, options in by_value.items():
        if value != "*" and slot.is_categorical and value not in slot.possible_values:
            yield f"{place}/{value}", f"{value!r} is none of {_list(slot.possible_values)}"
        for index, wording in enumerate(options):
            spot = f"{place}/{value}/{index}" if isinstance(wordings, dict) else f"{place}/{index}"
            yield from _wording_problems(spot, wording, {""})
            if "{}" not in wording and (value == "*" or not slot.is_categorical):
                yield spot, "the wording must say the value: expected {} in it"


def _intent_problems(service: Service, entry: ServiceEntry) -> _Problems:
    intents = {intent.name: intent for intent in service.intents}
    for name, intent_entry in entry.intents.items():
        place = f"/intents/{name}"
        if name not in intents:
            yield place, f"{name!r} is not an intent of the service"
            continue
        if intent_entry.after and intent_entry.after not in intents:
            yield f"{place}/after", f"{intent_entry.after!r} is not an intent of the service"
        for field in ("do", "open", "select", "offer_intent", "success", "failure"):
            for index, wording in enumerate(getattr(intent_entry, field)):
                yield from _wording_problems(f"{place}/{field}/{index}", wording, set())
        for index, wording in enumerate(intent_entry.offer):
            allowed = set(intents[name].result_slots)
            yield from _wording_problems(f"{place}/offer/{index}", wording, allowed)


def _wording_problems(place: str, wording: str, allowed: set[str]) -> _Problems:
    if problem := templates.check(wording):
        yield place, f"{problem}: {wording!r}"
    elif unknown := templates.slots(wording) - allowed:
        expected = _list(allowed - {""}) or ("only {}" if allowed else "no hole")
        yield place, f"unknown hole {_list(unknown)} in {wording!r}; expected {expected}"


def _coverage_problems(service: Service, intent: Intent, entry: ServiceEntry) -> _Problems:
    """Find slots of an intent for which no value could be made up."""
    if not intent.is_transactional and not entry.rows:
        yield "/rows", f"expected at least one row: {intent.name!r} searches them"
    slots = {slot.name: slot for slot in service.slots}
    for name in dict.fromkeys([*intent.required_slots, *intent.result_slots]):
        if known_values(slots[name], entry) or slot_kind(slots[name], entry) in _SELF_EXPLAINING:
            continue
        if name in intent.optional_slots:
            continue
        yield (
            f"/slots/{name}",
            (
                f"no value of slot {name!r} is known, which intent {intent.name!r} needs: "
                "give it in the rows, or as 'values' of the slot"
            ),
        )


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
