"""Services with state: recorded answers, rows of the split, and what was written."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_gym_env.corpus.corpus import Split, open_corpus
from agent_gym_env.corpus.sgd import TODAY
from agent_gym_env.tools.stateful import (
    _PERSONAL,
    ServiceState,
    StatefulServices,
    rows_of,
)
from agent_gym_env.tools.validation import ToolCatalogue
from agent_gym_env.types import ToolCall
from agent_gym_env.values.equality import DONTCARE, canonical, same_value


@pytest.fixture(scope="module")
def split() -> Split:
    return open_corpus("sample").split("dev")


@pytest.fixture(scope="module")
def train() -> Split:
    return open_corpus("sample").split("train")


def _services(split: Split, index: int = 0) -> StatefulServices:
    services = StatefulServices(ToolCatalogue(split.tools), split.entities)
    services.reset(split.task(index))
    return services


def _recorded_calls(split: Split) -> list[tuple[int, Any]]:
    return [
        (index, turn.call)
        for index in range(len(split))
        for turn in split.task(index).turns
        if turn.call is not None
    ]


def test_recorded_transactions_are_answered_as_recorded(split: Split) -> None:
    calls = [
        (index, call)
        for index, call in _recorded_calls(split)
        if split.tools[call.name].transactional
    ]
    assert len(calls) > 20
    for index, call in calls:
        result = _services(split, index).execute(ToolCall(call.name, dict(call.arguments)))
        first = next(c for i, c in calls if i == index and c.name == call.name
                     and c.arguments == call.arguments)  # fmt: skip
        assert (result.status, rows_of(result)) == (
            first.status,
            msgspec.json.decode(first.results),
        )


def test_an_argument_at_its_default_changes_nothing(split: Split) -> None:
    index, call = next(
        (index, call)
        for index, call in _recorded_calls(split)
        if (spec := split.tools[call.name]).defaults.keys() - call.arguments.keys()
        and not spec.transactional
    )
    plain = _services(split, index).execute(ToolCall(call.name, dict(call.arguments)))
    with_defaults = {**split.tools[call.name].defaults, **call.arguments}
    assert _services(split, index).execute(ToolCall(call.name, with_defaults)) == plain


def test_a_balance_falls_by_what_was_sent(train: Split) -> None:
    services = _services(train)
    balance = ToolCall("Wallet_1-CheckBalance", {"account": "checking"})
    [before] = rows_of(services.execute(balance))
    sent = {"source_account": "checking", "recipient": "Ada", "amount": "$25"}
    assert services.execute(ToolCall("Wallet_1-SendMoney", sent)).status == "success"
    [after] = rows_of(services.execute(balance))
    assert float(before["balance"]) - float(after["balance"]) == 25
    assert after["account"] == "checking"


def test_a_balance_is_the_same_in_every_play(train: Split) -> None:
    balance = ToolCall("Wallet_1-CheckBalance", {"account": "savings"})
    assert _services(train).execute(balance) == _services(train).execute(balance)


def test_a_list_shows_what_was_added(split: Split) -> None:
    services = _services(split)
    listing = ToolCall("Reminders_1-ListReminders", {})
    before = rows_of(services.execute(listing))
    spec = split.tools["Reminders_1-AddReminder"]
    added = {slot: {"reminder_time": "07:45"}.get(slot, "Water the fern") for slot in spec.required}
    assert services.execute(ToolCall(spec.name, added)).status == "success"
    after = rows_of(services.execute(listing))
    assert after[:-1] == before
    assert "Water the fern" in after[-1].values()


def test_a_query_without_a_recording_finds_rows_that_fit(split: Split) -> None:
    services = _services(split)
    result = services.execute(
        ToolCall("Dining_1-FindRestaurants", {"city": "Denver", "cuisine": "Thai"})
    )
    for row in rows_of(result):
        assert (row["city"], row["cuisine"]) == ("Denver", "Thai")


def test_an_unknown_restaurant_cannot_be_booked(split: Split) -> None:
    call = ToolCall(
        "Dining_1-ReserveTable",
        {"restaurant_name": "No Such Place", "city": "Nowhere", "booking_time": "18:00"},
    )
    services = _services(split)
    assert services.execute(call).status == "failure"
    assert services.state.writes == []


def test_a_missing_argument_is_refused_by_name(split: Split) -> None:
    result = _services(split).execute(ToolCall("Dining_1-FindRestaurants", {"city": "Denver"}))
    assert result.status == "error"
    assert result.error is not None
    assert result.error.startswith("missing_argument")
    assert "cuisine" in result.error


def test_goes_on_from_a_state(train: Split) -> None:
    services = _services(train)
    sent = {"source_account": "checking", "recipient": "Ada", "amount": "$25"}
    services.execute(ToolCall("Wallet_1-SendMoney", sent))
    state = msgspec.json.decode(msgspec.json.encode(services.state), type=ServiceState)
    again = StatefulServices(ToolCatalogue(train.tools), train.entities)
    again.reset(train.task(0), state)
    balance = ToolCall("Wallet_1-CheckBalance", {"account": "checking"})
    assert again.execute(balance) == services.execute(balance)


@pytest.mark.parametrize("name", ["dev", "test"])
def test_recorded_calls_of_sgd(sgd_path: Path, name: str) -> None:
    """All transactions as recorded; the first row of at least 99.4 % of the queries."""
    split = open_corpus(sgd_path).split(name)
    catalogue = ToolCatalogue(split.tools)
    transactions, queries = [], []
    for index in range(len(split)):
        services = StatefulServices(catalogue, split.entities)
        services.reset(split.task(index))
        for turn in split.task(index).turns:
            if turn.call is not None:
                call = ToolCall(turn.call.name, dict(turn.call.arguments))
                result, recorded = services.execute(call), msgspec.json.decode(turn.call.results)
                if split.tools[call.name].transactional:
                    same = (result.status, rows_of(result)) == (turn.call.status, recorded)
                    transactions.append(same)
                else:
                    queries.append(rows_of(result)[:1] == recorded[:1])
    assert all(transactions)
    share = sum(queries) / len(queries)
    print(f"{name}: {len(transactions)} transactions, first row of {share:.4f} of {len(queries)}")
    assert share >= 0.994


def _with_another_count(split: Split, call: Any) -> dict[str, str] | None:
    """Change a number of people, rooms and so on; ``None`` for a call without one."""
    for slot, value in call.arguments.items():
        if value.isdecimal() and len(value) == 1:
            allowed = split.tools[call.name].arguments[slot].possible_values
            other = next((each for each in allowed if each not in (value, "dontcare")), "4")
            return {**call.arguments, slot: other if other != value else "3"}
    return None


def _check_other_counts(split: Split) -> int:
    """Make the recorded bookings for another number of people; return how many there are."""
    calls, changed = _recorded_calls(split), 0
    failed = {(index, call.name) for index, call in calls if call.status == "failure"}
    for index, call in calls:
        if split.tools[call.name].transactional and (index, call.name) not in failed:
            arguments = _with_another_count(split, call)
            if arguments is not None:
                changed += 1
                result = _services(split, index).execute(ToolCall(call.name, arguments))
                assert result.status == "success", (split.dialogue_ids()[index], arguments)
    return changed


def test_another_count_does_not_make_an_entity_unknown(train: Split) -> None:
    assert _check_other_counts(train) > 20


@pytest.mark.parametrize("name", ["dev", "test"])
def test_another_count_does_not_make_an_entity_unknown_on_sgd(sgd_path: Path, name: str) -> None:
    """Also where the rows of a query have the count, as those of buses have ``travelers``."""
    assert _check_other_counts(open_corpus(sgd_path).split(name)) > 200


class _OffScript:
    """Draws variants of recorded queries, and counts how they are answered."""

    def __init__(self, split: Split, seed: int) -> None:
        self._split, self._draw = split, random.Random(seed)
        self._values: dict[tuple[str, str], list[str]] = {}
        for _, call in _recorded_calls(split):
            for slot, value in call.arguments.items():
                self._values.setdefault((call.name, slot), []).append(value)
        self.tried: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()

    def ask(self, dialogues: int) -> None:
        count = min(dialogues, len(self._split))
        for index in self._draw.sample(range(len(self._split)), count):
            for turn in self._split.task(index).turns:
                call = turn.call
                if call is not None and not self._split.tools[call.name].transactional:
                    self._vary(_services(self._split, index), call.name, dict(call.arguments))

    def _vary(self, services: StatefulServices, tool: str, given: dict[str, str]) -> None:
        spec = self._split.tools[tool]
        if not given or spec.intent in _PERSONAL:
            return
        slot = self._draw.choice(list(given))
        key = canonical(given[slot], TODAY)
        others = [v for v in self._values[tool, slot] if canonical(v, TODAY) != key]
        if others:
            query = {**given, slot: self._draw.choice(others)}
            rows = rows_of(services.execute(ToolCall(tool, query)))
            self._count("changed", bool(rows))
            if rows:
                self._count("fits", all(_answers(row, query) for row in rows))
        for name, slots in (("optional", spec.defaults), ("required", spec.required)):
            present = [slot for slot in given if slot in slots]
            if present:
                left_out = self._draw.choice(present)
                query = {slot: value for slot, value in given.items() if slot != left_out}
                result = services.execute(ToolCall(tool, query))
                refused = (result.error or "").startswith("missing_argument")
                self._count(name, refused if name == "required" else bool(rows_of(result)))

    def _count(self, what: str, answered: bool) -> None:
        self.tried[what] += 1
        self.answered[what] += answered

    def share(self, what: str) -> float:
        return self.answered[what] / self.tried[what]


def _answers(row: dict[str, str], query: dict[str, str]) -> bool:
    return all(
        slot not in row or value == DONTCARE or same_value(row[slot], value, TODAY)
        for slot, value in query.items()
    )


def test_a_query_off_the_script_is_answered() -> None:
    asked = _OffScript(open_corpus("sample").split("train"), seed=0)
    asked.ask(200)
    assert asked.share("changed") >= 0.6
    assert asked.share("fits") == asked.share("optional") == asked.share("required") == 1


@pytest.mark.parametrize("name", ["dev", "test"])
def test_a_query_off_the_script_of_sgd_is_answered(sgd_path: Path, name: str) -> None:
    """One argument changed, an optional one left out, a required one left out.

    A changed argument finds a row more often the more dialogues of the split there are; of test,
    1,331 of 4,201 were there when the bound was set.
    """
    asked = _OffScript(open_corpus(sgd_path).split(name), seed=0)
    for _ in range(5):
        asked.ask(600)
    shares = {what: round(asked.share(what), 4) for what in asked.tried}
    print(f"{name}: {shares} of {dict(asked.tried)}")
    assert shares["changed"] >= {"dev": 0.7, "test": 0.66}[name]
    assert shares["fits"] >= 0.96
    assert shares["optional"] >= 0.95
    assert shares["required"] == 1
