"""Quality and cost of the database's answers to the calls that a split has recorded.

The database is made of the same recordings, so this does not test generalisation: it says how much
is lost when rows are merged, filtered and put into order, which is what an agent sees that calls a
tool at another turn than the corpus did.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec

from agent_gym_env.corpus.corpus import Split, open_corpus
from agent_gym_env.corpus.entities import EntityTable, EntityTableBuilder
from agent_gym_env.corpus.sgd import TODAY
from agent_gym_env.corpus.task import RecordedCall
from agent_gym_env.corpus.tool_specs import ToolSpec
from agent_gym_env.tools.database import Database
from agent_gym_env.tools.validation import ToolCatalogue
from benchmarks.measure import least_cpu_seconds

PERSONAL_INTENTS = {"CheckBalance", "GetEvents", "GetAvailableTime", "GetAlarms"}
"""Queries of SGD about the user's own affairs: each dialogue has other answers."""

_Rows = list[dict[str, str]]


@dataclass
class Agreement:
    """Counts over recorded calls.

    Attributes:
        calls: how many were asked again.
        not_empty: answered with a row, or with none where none was recorded.
        same_first: the first row is the recorded one.
        same_set: the rows are the recorded ones.
        same_list: in the recorded order, too.
        seconds: what each answer took.
    """

    calls: int = 0
    not_empty: int = 0
    same_first: int = 0
    same_set: int = 0
    same_list: int = 0
    seconds: list[float] = field(default_factory=list)

    def add(self, answered: _Rows, recorded: _Rows, seconds: float) -> None:
        """Count one call."""
        self.calls += 1
        self.not_empty += bool(answered) or not recorded
        self.same_first += answered[:1] == recorded[:1]
        self.same_set += _as_set(answered) == _as_set(recorded)
        self.same_list += answered == recorded
        self.seconds.append(seconds)

    def share(self, count: int) -> float:
        """A count as a share of the calls."""
        return count / max(self.calls, 1)

    def microseconds(self, quantile: float) -> float:
        """A quantile of the time that answers took."""
        ordered = sorted(self.seconds) or [0.0]
        return 1e6 * ordered[int(quantile * (len(ordered) - 1))]


def measure(split: Split) -> tuple[Agreement, Agreement]:
    """Ask the database what the corpus asked: queries, and transactions that succeeded.

    Left out are personal queries, queries repeated within a dialogue (SGD answers the repetition
    with nothing when the user has seen everything), and calls that lack a required argument.
    """
    queries, transactions = Agreement(), Agreement()
    catalogue = ToolCatalogue(split.tools)
    database = Database(split.tools, split.entities)
    for spec, call in _recorded_calls(split):
        if catalogue.problem(spec, call.arguments) is not None:
            continue
        start = time.perf_counter()
        result = database.answer(spec, call.arguments, TODAY)
        seconds = time.perf_counter() - start
        agreement = transactions if spec.transactional else queries
        recorded = msgspec.json.decode(call.results, type=_Rows)
        agreement.add([dict(row) for row in result.rows()], recorded, seconds)
    return queries, transactions


@dataclass(frozen=True)
class Build:
    """A table built from several copies of each recorded row, and its cost.

    Attributes:
        recorded: number of rows that the table was built from.
        size: size of the table, in bytes.
        cpu_s: processor seconds to build it.
        table: the table.
    """

    recorded: int
    size: int
    cpu_s: float
    table: EntityTable


def build(split: Split, copies: int) -> Build:
    """Build a split's table again, with several entities in the place of each."""
    answers = list(_answers(split, copies))
    recorded = sum(len(rows) for _, rows in answers)
    builder = EntityTableBuilder()
    start = time.process_time()
    for tool, rows in answers:
        builder.add(tool, rows)
    encoded = builder.encode(split.tools)
    return Build(recorded, len(encoded), time.process_time() - start, EntityTable(encoded))


def _answers(split: Split, copies: int) -> Iterator[tuple[str, _Rows]]:
    """Yield the recorded answers; copies differ only in values that no argument can select."""
    for index in range(len(split)):
        for turn in split.task(index).turns:
            if turn.call is None or turn.call.results == "[]":
                continue
            arguments = split.tools[turn.call.name].arguments
            rows = msgspec.json.decode(turn.call.results, type=_Rows)
            for copy in range(copies):
                mark = f" {copy}" if copy else ""
                yield (
                    turn.call.name,
                    [
                        {
                            slot: text if slot in arguments else text + mark
                            for slot, text in row.items()
                        }
                        for row in rows
                    ],
                )


def _lookups_us(split: Split, tables: list[EntityTable]) -> list[float]:
    """Ask each table the same queries; microseconds for one."""
    asked = [
        (spec, call.arguments)
        for spec, call in _recorded_calls(split)
        if not spec.transactional and set(spec.required) <= call.arguments.keys()
    ][:500]

    def asking(database: Database) -> Callable[[], None]:
        def ask() -> None:
            for spec, arguments in asked:
                database.answer(spec, arguments, TODAY)

        return ask

    works = [asking(Database(split.tools, table)) for table in tables]
    return [1e6 * seconds / len(asked) for seconds in least_cpu_seconds(20, *works)]


def _recorded_calls(split: Split) -> Iterator[tuple[ToolSpec, RecordedCall]]:
    for index in range(len(split)):
        asked: list[tuple[str, dict[str, str]]] = []
        for turn in split.task(index).turns:
            call = turn.call
            if call is None:
                continue
            spec = split.tools[call.name]
            if spec.transactional:
                if call.status == "success" and call.results != "[]":
                    yield spec, call
            elif spec.intent not in PERSONAL_INTENTS and (call.name, call.arguments) not in asked:
                asked.append((call.name, call.arguments))
                yield spec, call


def _as_set(rows: _Rows) -> set[tuple[tuple[str, str], ...]]:
    return {tuple(sorted(row.items())) for row in rows}


def main() -> None:
    """Print a row for each split and kind of call."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tool_answers", description=__doc__)
    parser.add_argument("--corpus", default="sample", help="sample, sgd, or a path")
    corpus = open_corpus(parser.parse_args().corpus)
    print("| split | calls | number | not empty | first | set | list | p50 us | p99 us |")
    print("|---|---|---|---|---|---|---|---|---|")
    splits = {name: corpus.split(name) for name in corpus.splits()}
    for name, split in splits.items():
        for kind, told in zip(("queries", "bookings"), measure(split), strict=True):
            counts = (told.not_empty, told.same_first, told.same_set, told.same_list)
            shares = " | ".join(f"{told.share(count):.3f}" for count in counts)
            times = f"{told.microseconds(0.5):.0f} | {told.microseconds(0.99):.0f}"
            print(f"| {name} | {kind} | {told.calls} | {shares} | {times} |")
    print("\n| split | copies | recorded rows | rows | MB | build us a row | look-up us |")
    print("|---|---|---|---|---|---|---|")
    for name, split in splits.items():
        builds = {copies: build(split, copies) for copies in ((1, 100) if name == "dev" else (1,))}
        lookups = _lookups_us(split, [built.table for built in builds.values()])
        for (copies, built), lookup_us in zip(builds.items(), lookups, strict=True):
            sizes = f"{built.recorded} | {len(built.table)} | {built.size / 1e6:.1f}"
            costs = f"{1e6 * built.cpu_s / built.recorded:.1f} | {lookup_us:.1f}"
            print(f"| {name} | {copies} | {sizes} | {costs} |")


if __name__ == "__main__":
    main()
