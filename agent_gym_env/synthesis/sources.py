"""Reading schema and entities files, with errors that say where a file is invalid."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from agent_gym_env.corpus.sgd import Intent, Service, Slot
from agent_gym_env.errors import DataError
from agent_gym_env.storage.files import as_utf8, read_file
from agent_gym_env.suggestions import explained
from agent_gym_env.synthesis import templates
from agent_gym_env.synthesis.entities import (
    IntentEntry,
    ServiceEntry,
    SlotEntry,
    Wordings,
    known_values,
    slot_kind,
)
from agent_gym_env.synthesis.surfaces import Kind, fits

_Decoded = TypeVar("_Decoded")


class _RawEntities(msgspec.Struct, forbid_unknown_fields=True):
    services: dict[str, Any]


_SELF_EXPLAINING: tuple[Kind, ...] = ("date", "time", "number", "boolean")
"""Kinds of slots that need no example values in the entities file."""


def read_schema(path: Path) -> list[Service]:
    """Read a ``schema.json`` in SGD's format.

    Raises:
        DataError: the file is not a valid schema.
    """
    services = decode(path, list[Service])
    if not services:
        raise DataError("expected at least one service", file=str(path))
    for index, service in enumerate(services):
        for pointer, problem in _schema_problems(service):
            raise DataError(problem, file=str(path), pointer=f"/{index}{pointer}")
    return services


def read_entities(path: Path, services: Sequence[Service]) -> dict[str, ServiceEntry]:
    """Read an entities file for services. Services without an entry get an empty one.

    Raises:
        DataError: the file is not a valid entities file, or does not match the services.
    """
    entries = _read_entries(path)
    for service in services:
        entry = entries.get(service.service_name, ServiceEntry())
        for pointer, problem in _entry_problems(service, entry):
            place = f"/services/{service.service_name}{pointer}"
            raise DataError(problem, file=str(path), pointer=place)
    return {name.service_name: entries.get(name.service_name, ServiceEntry()) for name in services}


def decode(path: Path, shape: type[_Decoded]) -> _Decoded:
    """Decode a JSON file as a type.

    Raises:
        DataError: the file cannot be read, or has another structure.
    """
    try:
        return msgspec.json.decode(as_utf8(read_file(path), str(path)), type=shape)
    except msgspec.ValidationError as error:
        raise _mismatch(path, "", error, shape) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"not JSON: {error}", file=str(path)) from error


def _read_entries(path: Path) -> dict[str, ServiceEntry]:
    """Decode the entries one by one: msgspec does not report the key of an error."""
    entries = {}
    for name, parts in decode(path, _RawEntities).services.items():
        place = f"/services/{name}"
        fields = _convert(path, place, parts, dict[str, Any])
        for part, shape in (("slots", SlotEntry), ("intents", IntentEntry)):
            members = _convert(path, f"{place}/{part}", fields.get(part, {}), dict[str, Any])
            fields[part] = {
                key: _convert(path, f"{place}/{part}/{key}", member, shape)
                for key, member in members.items()
            }
        entries[name] = _convert(path, place, fields, ServiceEntry)
    return entries


def _convert(path: Path, place: str, value: object, shape: type[_Decoded]) -> _Decoded:
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise _mismatch(path, place, error, shape) from error


def _mismatch(path: Path, place: str, error: msgspec.ValidationError, shape: Any) -> DataError:
    problem, inside = explained(error, shape)
    known = inside.partition("[...]")[0]  # msgspec's word for some key of a map
    steps = re.findall(r"\.(\w+)|\[(\d+)\]", known)
    pointer = place + "".join(f"/{name or index}" for name, index in steps)
    return DataError(problem, file=str(path), pointer=pointer or None)


_Problems = Iterator[tuple[str, str]]
"""Pairs of a JSON pointer and the problem there."""


def _schema_problems(service: Service) -> _Problems:
    if not service.intents:
        yield "/intents", f"expected at least one intent of {service.service_name!r}"
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
            elif problem := _value_problem(value):
                yield place, problem
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
        yield from _example_problems(place, slot, entry)
        if slot_entry.label:
            yield from _wording_problems(f"{place}/label", slot_entry.label, set())
        for field in ("request", "ask", "again"):
            for index, wording in enumerate(getattr(slot_entry, field)):
                yield from _wording_problems(f"{place}/{field}/{index}", wording, set())
        for field in ("inform", "tell"):
            wordings = getattr(slot_entry, field)
            yield from _value_wording_problems(f"{place}/{field}", wordings, slot)


def _example_problems(place: str, slot: Slot, entry: ServiceEntry) -> _Problems:
    stated = entry.slots[slot.name]
    spoken = [form for forms in stated.spoken.values() for form in forms]
    for value in (*stated.values, *spoken):
        if problem := _value_problem(value):
            yield place, problem
    for value in stated.values:
        if slot.is_categorical and value not in slot.possible_values:
            yield (
                f"{place}/values",
                f"expected one of {_list(slot.possible_values)}, found {value!r}",
            )
    for value in known_values(slot, entry):
        if stated.kind is not None and not fits(stated.kind, value):
            yield f"{place}/kind", f"the value {value!r} of the slot is not a {stated.kind}"


def _value_problem(value: str) -> str | None:
    if value.strip() != value or not value:
        return f"expected a value without blanks around it, found {value!r}"
    return None


def _value_wording_problems(place: str, wordings: Wordings, slot: Slot) -> _Problems:
    by_value = wordings if isinstance(wordings, dict) else {"*": wordings}
    for value, options in by_value.items():
        if value != "*" and slot.is_categorical and value not in slot.possible_values:
            yield (
                f"{place}/{value}",
                f"expected one of {_list(slot.possible_values)}, found {value!r}",
            )
        for index, wording in enumerate(options):
            spot = f"{place}/{value}/{index}" if isinstance(wordings, dict) else f"{place}/{index}"
            yield from _wording_problems(spot, wording, {""})
            if "{}" not in wording and (value == "*" or not slot.is_categorical):
                yield spot, "the wording must say the value: expected {} in it"


def _intent_problems(service: Service, entry: ServiceEntry) -> _Problems:
    intents = {intent.name: intent for intent in service.intents}
    searches = {intent.name for intent in service.intents if not intent.is_transactional}
    for name, intent_entry in entry.intents.items():
        place = f"/intents/{name}"
        if name not in intents:
            yield place, f"{name!r} is not an intent of the service"
            continue
        if intent_entry.after and intent_entry.after not in searches:
            expected = f"expected a search of the service ({_list(searches)})"
            yield f"{place}/after", f"{expected}, found {intent_entry.after!r}"
        elif _leads_back(name, entry.intents):
            yield f"{place}/after", f"following 'after' from {name!r} leads back to it"
        for field in ("do", "open", "select", "offer_intent", "success", "failure"):
            for index, wording in enumerate(getattr(intent_entry, field)):
                yield from _wording_problems(f"{place}/{field}/{index}", wording, set())
        for index, wording in enumerate(intent_entry.offer):
            allowed = set(intents[name].result_slots)
            yield from _wording_problems(f"{place}/offer/{index}", wording, allowed)


def _leads_back(intent: str, entries: Mapping[str, IntentEntry]) -> bool:
    passed: list[str] = []
    while intent and intent not in passed:
        passed.append(intent)
        intent = entries[intent].after if intent in entries else ""
    return bool(intent)


def _wording_problems(place: str, wording: str, allowed: set[str]) -> _Problems:
    if problem := templates.check(wording):
        yield place, f"{problem}: {wording!r}"
    elif unknown := templates.slots(wording) - allowed:
        expected = _list(allowed - {""}) or ("only {}" if allowed else "no placeholder")
        yield place, f"unknown placeholder {_list(unknown)} in {wording!r}; expected {expected}"


def _coverage_problems(service: Service, intent: Intent, entry: ServiceEntry) -> _Problems:
    """Yield slots of an intent for which no value is known."""
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
                "add it to the rows, or to 'values' of the slot"
            ),
        )


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
