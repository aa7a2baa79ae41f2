"""Each promise of a corpus is checked: a corpus that breaks it is refused by its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from agent_gym_env.corpus.corpus import Corpus, Split, open_corpus
from agent_gym_env.corpus.sgd import Service
from agent_gym_env.corpus.task import SpokenValue, Task, Turn
from agent_gym_env.testing import ConformanceError, check_corpus
from tests.corpora import CAKES, TEAS, TRAIN, slot, tea_dialogue, write_split
from tests.log_corpora import CANCEL, TASKS, AirlineLog, turn


class Changed(Split):
    """The train split of a corpus, with one thing about it changed."""

    ids: list[str] | None = None
    services_read: list[Service] | None = None
    change: Callable[[Task], Task] = staticmethod(lambda task: task)
    reads = 0

    def dialogue_ids(self) -> list[str]:
        return super().dialogue_ids() if self.ids is None else self.ids

    def task(self, index: int) -> Task:
        self.reads += 1
        return self.change(super().task(index))


class ChangedCorpus(Corpus):
    """A corpus with a split that is changed."""

    def __init__(self, corpus: Corpus, change: Callable[[Changed], None]) -> None:
        super().__init__(corpus.reader)
        self._changed = Changed(corpus.split("train")._store)
        change(self._changed)

    def splits(self) -> tuple[str, ...]:
        return ("train",) if self._changed.name else ()

    def split(self, name: str) -> Split:
        return self._changed


def attribute(name: str, value: Any) -> Callable[[Changed], None]:
    return lambda split: setattr(split, name, value)


def schema(*services: Service) -> Callable[[Changed], None]:
    return attribute("schema", list(services))


def tasks(**change: Any) -> Callable[[Changed], None]:
    return attribute("change", lambda task: replace(task, **change))


def turns(**change: Any) -> Callable[[Changed], None]:
    """Change every turn that has a call."""

    def changed(task: Task) -> Task:
        return replace(task, turns=tuple(_changed_turn(turn, change) for turn in task.turns))

    return attribute("change", changed)


def _changed_turn(turn: Turn, change: dict[str, Any]) -> Turn:
    return turn if turn.call is None else replace(turn, **change)


def calls(**change: Any) -> Callable[[Changed], None]:
    def changed(task: Task) -> Task:
        return replace(
            task,
            turns=tuple(
                turn if turn.call is None else replace(turn, call=replace(turn.call, **change))
                for turn in task.turns
            ),
        )

    return attribute("change", changed)


def forgetful(split: Changed) -> None:
    """Change the date at each reading."""

    def changed(task: Task) -> Task:
        return replace(task, date=f"2019-03-{split.reads:02}")

    split.change = changed


def intents(**change: Any) -> Service:
    return replace(CAKES, intents=[replace(CAKES.intents[0], **change)])


IDS = [dialogue.dialogue_id for dialogue in TRAIN]
SCHEMA = "schemas are valid"
CALLS = "recorded calls are calls of the schema's tools"
OF_SERVICES: list[tuple[str, Callable[[Changed], None]]] = [
    ("has a split", attribute("name", None)),
    ("ids are unique in a split", attribute("ids", [IDS[0], IDS[0], IDS[1]])),
    ("ids and dialogues belong together", attribute("ids", IDS[1:])),
    ("ids and dialogues belong together", attribute("ids", IDS[::-1])),
    ("dialogues are read in any order", forgetful),
    (SCHEMA, schema(TEAS, TEAS)),
    (SCHEMA, schema(TEAS, replace(CAKES, slots=[*CAKES.slots, slot("cake")]))),
    (SCHEMA, schema(TEAS, replace(CAKES, intents=CAKES.intents * 2))),
    (SCHEMA, schema(TEAS, intents(required_slots=["cake", "cake"]))),
    (SCHEMA, schema(TEAS, intents(optional_slots={"cake": "dontcare"}))),
    (SCHEMA, schema(TEAS, intents(result_slots=["price"]))),
    (
        SCHEMA,
        schema(replace(TEAS, slots=[replace(each, possible_values=[]) for each in TEAS.slots])),
    ),
    ("services are those of the schema", tasks(services=("Bakeries_1",))),
    ("services are those of the schema", turns(service="Bakeries_1")),
    ("a dialogue has turns", tasks(turns=())),
    ("the date is ISO", tasks(date="1 March 2019")),
    ("texts can be written as UTF-8", turns(text="Sencha \ud800", values=())),
    ("texts can be written as UTF-8", calls(arguments={"kind": "\ud800"})),
    ("a reply says its slot values", turns(values=(SpokenValue("name", "Matcha"),))),
    (CALLS, calls(name="Teas_1-Brew")),
    (CALLS, calls(arguments={})),
    (CALLS, calls(arguments={"colour": "green"})),
    ("recorded results are rows of texts", calls(results='[{"price": 9}]')),
    ("its files are in order", attribute("dialogue_ids", lambda: Path("/none").read_text())),
]
OF_A_LOG: list[tuple[str, Callable[[Changed], None]]] = [
    (SCHEMA, attribute("functions", [CANCEL, CANCEL])),
    (SCHEMA, attribute("functions", [replace(CANCEL, name="")])),
    (SCHEMA, attribute("functions", [replace(CANCEL, parameters={"type": "array"})])),
    ("services are those of the schema", tasks(services=("brew",))),
    ("services are those of the schema", turns(service="brew")),
    ("the date is ISO", tasks(date="1 March 2019")),
    ("texts can be written as UTF-8", calls(arguments={"cabins": [{"first": "\ud800"}]})),
    (CALLS, calls(name="brew")),
    ("recorded results are JSON", calls(results="{")),
]
BROKEN = [*OF_SERVICES, *OF_A_LOG]


@pytest.mark.parametrize(("promise", "change"), OF_A_LOG)
def test_a_broken_promise_of_a_log_is_named(
    promise: str, change: Callable[[Changed], None]
) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_corpus(ChangedCorpus(open_corpus(AirlineLog()), change))
    assert caught.value.promise == promise


def test_a_log_may_have_no_date_and_no_tools_and_calls_that_break_their_schema() -> None:
    check_corpus(AirlineLog())
    check_corpus(ChangedCorpus(open_corpus(AirlineLog()), calls(arguments={"colour": 7})))
    silent = [replace(task, services=(), turns=(turn("Hi", "Hello"),)) for task in TASKS]
    check_corpus(AirlineLog(silent, "without tools"))


@pytest.mark.parametrize(("promise", "change"), OF_SERVICES)
def test_a_broken_promise_is_named(
    tiny_corpus: Path, promise: str, change: Callable[[Changed], None]
) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_corpus(ChangedCorpus(open_corpus(tiny_corpus), change))
    assert caught.value.promise == promise


def test_files_that_are_not_in_order_break_a_promise_and_say_where(tmp_path: Path) -> None:
    twice = {"dialogues_001.json": [tea_dialogue("1_00000"), tea_dialogue("1_00000")]}
    write_split(tmp_path / "train", [TEAS], twice)
    with pytest.raises(ConformanceError, match=r"in the split twice .*dialogues_001.json.*1_00000"):
        check_corpus(tmp_path)


def test_a_call_that_breaks_its_schema_passes_where_it_is_listed(tiny_corpus: Path) -> None:
    corpus = ChangedCorpus(open_corpus(tiny_corpus), calls(arguments={}))
    with pytest.raises(ConformanceError, match="missing_argument"):
        check_corpus(corpus, exceptions=IDS[1:])
    check_corpus(corpus, exceptions=IDS)


@pytest.mark.parametrize(
    ("dialogues", "read"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (9, [0, 1, 2])]
)
def test_so_many_dialogues_are_read_spread_evenly(
    tiny_corpus: Path, dialogues: int, read: Sequence[int]
) -> None:
    seen: set[str] = set()

    def watch(split: Changed) -> None:
        def note(task: Task) -> Task:
            seen.add(task.dialogue_id)
            return task

        split.change = note

    check_corpus(ChangedCorpus(open_corpus(tiny_corpus), watch), dialogues=dialogues)
    assert seen == {IDS[place] for place in read}
