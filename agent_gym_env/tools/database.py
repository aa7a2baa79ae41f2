"""Answers calls that the corpus has not recorded, from all recorded results of a split."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from agent_gym_env.corpus.entities import EntityTable, join_slots
from agent_gym_env.corpus.sgd import TODAY
from agent_gym_env.corpus.tool_specs import ToolSpec
from agent_gym_env.types import ToolResult
from agent_gym_env.values.equality import DONTCARE, canonical, value_text

_MINUTES_APART = (-15, 15, -30, 30)
_TIME = re.compile(r"(\d\d):(\d\d)")
_DATE_OR_TIME = re.compile(r"\d{4}-\d\d-\d\d|\d\d:\d\d")
_ENCODE_ROW = msgspec.json.Encoder().encode
_DECODE_ROW = msgspec.json.Decoder(dict[str, str]).decode


class Database:
    """Answers well-formed calls from the rows that a split has recorded.

    Args:
        tools: tools by name; of each service among them, all.
        entities: table of the rows.
    """

    def __init__(self, tools: Mapping[str, ToolSpec], entities: EntityTable) -> None:
        self._tools = tools
        self._entities = entities

    def answer(self, spec: ToolSpec, arguments: Mapping[str, Any], today: str | None) -> ToolResult:
        """Answer a query with the rows that fit, a transaction with the one it brings about.

        Args:
            spec: tool that is called.
            arguments: arguments that its schema allows.
            today: day of the conversation, ISO.
        """
        given = _with_defaults(spec, arguments)
        keys = {slot: canonical(value, today) for slot, value in given.items()}
        keys = {
            slot: key for slot, key in keys.items() if key != DONTCARE or slot not in spec.defaults
        }
        rows = [self._booked(spec, given, keys)] if spec.transactional else self._found(spec, keys)
        results = msgspec.Raw(b"[" + b",".join(rows) + b"]")
        return ToolResult(spec.name, "success" if rows else "failure", results)

    def _found(self, spec: ToolSpec, keys: Mapping[str, str]) -> list[bytes]:
        """Look up the rows that fit; if there are none, those with a time half an hour around."""
        filters = _of_rows(spec, keys)
        rows = self._entities.rows(spec.name, filters)
        if rows:
            return rows
        nearby = (
            self._entities.rows(spec.name, {**filters, slot: time})
            for slot, key in filters.items()
            for time in _times_nearby(key)
        )
        return next(filter(None, nearby), [])

    def _booked(self, spec: ToolSpec, given: Mapping[str, Any], keys: Mapping[str, str]) -> bytes:
        """Return the recorded row of the same transaction, or its arguments with related values."""
        recorded = self._entities.rows(spec.name, _of_rows(spec, keys), limit=1)
        if recorded:
            return recorded[0]
        row = {slot: _written(spec, slot, given[slot], key) for slot, key in keys.items()}
        for known in self._matching_rows(spec, keys):
            row.update(
                (slot, text)
                for slot, text in known.items()
                # Of two spellings of one value, the service's is taken.
                if slot not in row or canonical(text, TODAY) == keys.get(slot)
            )
        return _ENCODE_ROW({slot: row[slot] for slot in spec.result_slots if slot in row})

    def _matching_rows(self, spec: ToolSpec, keys: Mapping[str, str]) -> Iterator[dict[str, str]]:
        """Find the entity of a transaction in the recorded rows of its service's queries."""
        for query, slots in self._queries(spec):
            same = {slot: keys[slot] for slot in slots}
            rows = self._entities.rows(query.name, same, distinct=False)
            if rows:
                yield max(map(_DECODE_ROW, rows), key=lambda row: _agreement(row, keys))

    def _queries(self, spec: ToolSpec) -> list[tuple[ToolSpec, tuple[str, ...]]]:
        """Return the queries that return a transaction's entity, with most shared slots first."""
        joins = [
            (query, slots)
            for query in self._tools.values()
            if query.service == spec.service and not query.transactional
            if (slots := join_slots(spec, query))
        ]
        return sorted(joins, key=lambda join: -len(join[1]))


def _with_defaults(spec: ToolSpec, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Add the defaults of missing optional arguments, in the order of the schema."""
    return {
        slot: arguments[slot] if slot in arguments else spec.defaults[slot]
        for slot in spec.arguments
    }


def _of_rows(spec: ToolSpec, keys: Mapping[str, str]) -> dict[str, str]:
    return {slot: key for slot, key in keys.items() if slot in spec.result_slots}


def _times_nearby(key: str) -> Iterator[str]:
    time = _TIME.fullmatch(key)
    if time is None:
        return
    minutes = 60 * int(time[1]) + int(time[2])
    for apart in _MINUTES_APART:
        hour, minute = divmod(minutes + apart, 60)
        if 0 <= hour < 24:
            yield f"{hour:02}:{minute:02}"


def _written(spec: ToolSpec, slot: str, value: object, key: str) -> str:
    """Write an argument as the service does: dates and times in ISO, choices as in the schema."""
    if _DATE_OR_TIME.fullmatch(key):
        return key
    same = (
        choice for choice in spec.arguments[slot].possible_values if canonical(choice, TODAY) == key
    )
    return next(same, None) or value_text(value)


def _agreement(row: Mapping[str, str], keys: Mapping[str, str]) -> int:
    return sum(slot in row and canonical(row[slot], TODAY) == key for slot, key in keys.items())
