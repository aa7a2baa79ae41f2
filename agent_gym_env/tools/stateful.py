"""The services of a simulated dialogue: recorded answers, rows of the split, and what was written.

A call is answered by the recording of the same call, whenever it is made; else by rows that fit
(those of this dialogue first, then the split's database, then rows of another day, time or number
of people under what was asked for); else the service says that it found nothing. Writes are kept: a
balance falls by what was paid, an alarm that was added is listed.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from agent_gym_env.corpus.entities import MAX_ROWS, EntityTable
from agent_gym_env.corpus.task import RecordedCall, Task
from agent_gym_env.corpus.tool_specs import ToolSpec
from agent_gym_env.tools.database import Database
from agent_gym_env.tools.validation import ToolCatalogue
from agent_gym_env.types import ToolCall, ToolResult, ToolStatus
from agent_gym_env.values.equality import DONTCARE, canonical, stated_arguments

Row = dict[str, str]

_PERSONAL = frozenset({"CheckBalance", "GetEvents", "GetAvailableTime"})
"""Queries about the user's own things, as are those without any argument (a list of alarms)."""

_SMALLEST_BALANCE, _BALANCES = 500, 20_000
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"\d\d:\d\d")
_COUNT_OR_TIME = re.compile(r"\d+|\d\d:\d\d|\d{4}-\d\d-\d\d|true|false")
_DECODE_ROWS = msgspec.json.Decoder(list[Row]).decode
_DECODE_ROW = msgspec.json.Decoder(Row).decode
_ENCODE = msgspec.json.Encoder().encode


class Write(msgspec.Struct, frozen=True, array_like=True):
    """A transaction that went through.

    Attributes:
        tool: full name.
        arguments: canonical values by name.
        row: the service's answer.
    """

    tool: str
    arguments: dict[str, str]
    row: Row


class ServiceState(msgspec.Struct, omit_defaults=True):
    """Changes that the calls of a dialogue have made.

    Attributes:
        writes: transactions that went through, in order.
        attempts: keys of all transactions that were tried, in order.
        queried: names of the queries that were made.
    """

    writes: list[Write] = []
    attempts: list[str] = []
    queried: list[str] = []


class StatefulServices:
    """Answers calls by what was recorded and by what has happened since.

    Args:
        catalogue: the tools on offer.
        entities: the rows that the split's tools have ever answered with.
    """

    __slots__ = ("_catalogue", "_database", "_date", "_entities", "_id", "_recorded", "state")

    def __init__(self, catalogue: ToolCatalogue, entities: EntityTable) -> None:
        self._catalogue = catalogue
        self._entities = entities
        self._database = Database(catalogue.tools, entities)
        self.state = ServiceState()

    def reset(self, task: Task, state: ServiceState | None = None) -> None:
        """Begin a dialogue, or go on from a state of it."""
        self._id = task.dialogue_id
        self._date = task.date
        self.state = ServiceState() if state is None else state
        self._recorded: dict[str, list[RecordedCall]] = {}
        for turn in task.turns:
            if turn.call is not None and turn.call.name in self._catalogue.tools:
                spec = self._catalogue.tools[turn.call.name]
                key = self._key(spec, turn.call.arguments)
                self._recorded.setdefault(key, []).append(turn.call)

    def next_turn(self) -> None:
        """Do nothing: recordings are found by their arguments, not by their turn."""

    def full_name(self, name: str) -> str:
        """Return the full name of the tool that a name means, or the name where it means none."""
        return self._catalogue.full_name(name)

    def execute(self, call: ToolCall) -> ToolResult:
        """Answer a call; one that is not valid by a result with an ``error``."""
        spec = self._catalogue.resolve(call.name)
        if isinstance(spec, str):
            return ToolResult(call.name, "error", error=spec)
        plain = all(isinstance(value, (str, int, float)) for value in call.arguments.values())
        recorded = self._recorded.get(self._key(spec, call.arguments)) if plain else None
        if recorded is None:
            problem = self._catalogue.problem(spec, call.arguments)
            if problem is not None:
                return ToolResult(spec.name, "error", error=problem)
        if spec.transactional:
            outcome, rows = self._write(spec, call.arguments, recorded)
        else:
            self.state.queried.append(spec.name)
            rows = self._query(spec, call.arguments, recorded)
            outcome = "success" if rows else "failure"
        return ToolResult(spec.name, outcome, msgspec.Raw(_ENCODE(rows)))

    def _key(self, spec: ToolSpec, arguments: Mapping[str, Any]) -> str:
        """Return the same text for calls of a tool that say the same."""
        return _ENCODE([spec.name, sorted(self._canonical(spec, arguments).items())]).decode()

    def _canonical(self, spec: ToolSpec, arguments: Mapping[str, Any]) -> dict[str, str]:
        stated = stated_arguments(arguments, spec.defaults, self._date)
        return {name: canonical(value, self._date) for name, value in stated.items()}

    # Queries.

    def _query(
        self, spec: ToolSpec, arguments: Mapping[str, Any], recorded: list[RecordedCall] | None
    ) -> list[Row]:
        if recorded is not None:
            answers = (_DECODE_ROWS(call.results) for call in recorded)
            rows = next(filter(None, answers), [])
        elif spec.intent in _PERSONAL or not spec.arguments:
            rows = self._invented(spec, arguments)
        else:
            return self._matching(spec, arguments)
        return self._with_writes(spec, rows, arguments)

    def _matching(self, spec: ToolSpec, arguments: Mapping[str, Any]) -> list[Row]:
        """Find rows for a query that was not recorded."""
        filters = self._filters(spec, arguments)
        own = [row for row in self._own_rows(spec.name) if _fits(row, filters, self._date)]
        others = rows_of(self._database.answer(spec, arguments, self._date))
        rows = own + [row for row in others if row not in own]
        return rows[:MAX_ROWS] or self._under_another_request(spec, filters)

    def _filters(self, spec: ToolSpec, arguments: Mapping[str, Any]) -> dict[str, str]:
        given = {**spec.defaults, **arguments}
        keys = {slot: canonical(value, self._date) for slot, value in given.items()}
        return {
            slot: key for slot, key in keys.items() if slot in spec.result_slots and key != DONTCARE
        }

    def _own_rows(self, tool: str) -> Iterator[Row]:
        seen = []
        for calls in self._recorded.values():
            for call in calls:
                for row in _DECODE_ROWS(call.results) if call.name == tool else ():
                    if row not in seen:
                        seen.append(row)
                        yield row

    def _under_another_request(self, spec: ToolSpec, filters: Mapping[str, str]) -> list[Row]:
        """Show rows of another day, time or number of people under what was asked for."""
        asked = {slot: key for slot, key in filters.items() if _is_of_request(spec, slot, key)}
        others = {slot: key for slot, key in filters.items() if slot not in asked}
        if not asked:
            return []
        found = self._entities.rows(spec.name, others)
        rows = [{**_DECODE_ROW(row), **asked} for row in found]
        return [row for place, row in enumerate(rows) if row not in rows[:place]]

    # The user's own things.

    def _invented(self, spec: ToolSpec, arguments: Mapping[str, Any]) -> list[Row]:
        """Make up the state of an account, the same whenever it is asked for; no other rows."""
        if spec.intent != "CheckBalance":
            return []
        said = {name: str(value) for name, value in arguments.items()}
        number = zlib.crc32(_ENCODE([self._id, sorted(said.items())]))
        balance = str(_SMALLEST_BALANCE + number % _BALANCES)
        return [{slot: said.get(slot, balance) for slot in spec.result_slots}]

    def _with_writes(
        self, spec: ToolSpec, rows: list[Row], arguments: Mapping[str, Any]
    ) -> list[Row]:
        """Show what the dialogue has changed."""
        if not spec.arguments:
            own = f"{spec.service}-"
            added = (w.row for w in self.state.writes if w.tool.startswith(own))
            return rows + [_as_row(spec, row) for row in added]
        if spec.intent == "CheckBalance":
            paid = sum(_amount(write, spec, arguments, self._date) for write in self.state.writes)
            return [_less(row, paid) for row in rows] if paid else rows
        return rows

    # Transactions.

    def _write(
        self, spec: ToolSpec, arguments: Mapping[str, Any], recorded: list[RecordedCall] | None
    ) -> tuple[ToolStatus, list[Row]]:
        key = self._key(spec, arguments)
        tried = self.state.attempts.count(key)
        self.state.attempts.append(key)
        if recorded is not None:
            call = recorded[min(tried, len(recorded) - 1)]
            outcome, rows = call.status, _DECODE_ROWS(call.results)
        else:
            outcome, rows = self._unrecorded(spec, arguments)
        if outcome == "success":
            keys = {name: canonical(value, self._date) for name, value in arguments.items()}
            row = rows[0] if rows else {name: str(value) for name, value in arguments.items()}
            self.state.writes.append(Write(spec.name, keys, row))
        return outcome, rows

    def _unrecorded(
        self, spec: ToolSpec, arguments: Mapping[str, Any]
    ) -> tuple[ToolStatus, list[Row]]:
        keys = self._canonical(spec, arguments)
        blocked = self._failed_sibling(spec, keys)
        if blocked is not None:
            return "failure", _DECODE_ROWS(blocked.results)
        if not self._knows_entity(spec, keys):
            return "failure", []
        rows = rows_of(self._database.answer(spec, arguments, self._date))
        return "success", [self._completed(spec, row) for row in rows]

    def _completed(self, spec: ToolSpec, row: Row) -> Row:
        """Fill what no row says of a new booking, such as its fare, from another booking."""
        if row.keys() >= set(spec.result_slots):
            return row
        others = [_DECODE_ROW(other) for other in self._entities.rows(spec.name, {}, limit=1)]
        filled = {**(others[0] if others else {}), **row}
        return {slot: filled[slot] for slot in spec.result_slots if slot in filled}

    def _failed_sibling(self, spec: ToolSpec, keys: Mapping[str, str]) -> RecordedCall | None:
        """Find a recorded failure of the same tool with the same required arguments."""
        for calls in self._recorded.values():
            first = calls[0]
            if first.name == spec.name and first.status == "failure":
                failed = self._canonical(spec, first.arguments)
                if all(failed.get(slot) == keys.get(slot) for slot in spec.required):
                    return first
        return None

    def _knows_entity(self, spec: ToolSpec, keys: Mapping[str, str]) -> bool:
        """Return whether a service knows what a transaction is about.

        It does if such a transaction or a query of the service has returned it, or if no query of
        the service could.
        """
        queries = [
            query
            for query in self._catalogue.tools.values()
            if query.service == spec.service and not query.transactional
        ]
        sought = [names for query in queries if (names := self._names(query, spec, keys))]
        return not sought or any(
            self._has_row(tool, names)
            for tool in (spec, *queries)
            if (names := self._names(tool, spec, keys))
        )

    def _names(self, tool: ToolSpec, spec: ToolSpec, keys: Mapping[str, str]) -> dict[str, str]:
        """Return the required arguments that name an entity in the rows of a tool."""
        return {
            slot: keys[slot]
            for slot in spec.required
            if slot in tool.result_slots
            and slot in keys
            and not _COUNT_OR_TIME.fullmatch(keys[slot])
        }

    def _has_row(self, tool: ToolSpec, names: Mapping[str, str]) -> bool:
        own = (_fits(row, names, self._date) for row in self._own_rows(tool.name))
        return any(own) or bool(self._entities.rows(tool.name, names, limit=1))


def rows_of(result: ToolResult) -> list[Row]:
    """Return the rows of a tool's result; none for a refused call."""
    return _DECODE_ROWS(_ENCODE(result.results or []))


def _is_of_request(spec: ToolSpec, slot: str, key: str) -> bool:
    """Return whether a row only repeats a value of the query, as it does a day.

    An optional argument with a default, such as the number of ``travelers``, is of this kind. What
    rows differ by is required, or the default is to have no preference.
    """
    if _DATE.fullmatch(key):
        return True
    if slot in spec.required:
        return _TIME.fullmatch(key) is not None
    return bool(spec.defaults[slot] != DONTCARE)


def _fits(row: Mapping[str, str], keys: Mapping[str, str], today: str | None) -> bool:
    return all(slot in row and canonical(row[slot], today) == key for slot, key in keys.items())


def _as_row(spec: ToolSpec, row: Row) -> Row:
    """Show the row of a write as its list does: ``new_alarm_time`` is ``alarm_time`` there."""
    by_last_word = {slot.rpartition("_")[2]: value for slot, value in row.items()}
    last_words = {slot: slot.rpartition("_")[2] for slot in spec.result_slots}
    return {slot: by_last_word[w] for slot, w in last_words.items() if w in by_last_word}


def _amount(
    write: Write, balance: ToolSpec, arguments: Mapping[str, Any], today: str | None
) -> float:
    """Return what a write took from the account that a balance is asked of."""
    if not write.tool.startswith(f"{balance.service}-"):
        return 0.0
    for slot in balance.required:
        account = canonical(arguments.get(slot, ""), today)
        paid_from = _named_like(write.arguments, slot)
        if paid_from is not None and write.arguments[paid_from] != account:
            return 0.0
    amount = _named_like(write.arguments, "amount")
    return 0.0 if amount is None else _number(write.arguments[amount]) or 0.0


def _named_like(names: Sequence[str] | Mapping[str, str], slot: str) -> str | None:
    """Find a slot's name, or the first that ends in it (``source_account`` for ``account``)."""
    return slot if slot in names else next((n for n in names if n.endswith(f"_{slot}")), None)


def _less(row: Row, paid: float) -> Row:
    return {
        slot: f"{number - paid:f}".rstrip("0").rstrip(".")
        if "balance" in slot and (number := _number(value)) is not None
        else value
        for slot, value in row.items()
    }


def _number(text: str) -> float | None:
    try:
        return float(text.replace("$", "").replace(",", ""))
    except ValueError:
        return None
