from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_gym_env.assembly import Env, make_env
from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.corpus.sgd import SPLITS
from agent_gym_env.corpus.task import RecordedCall, Task, Turn
from agent_gym_env.envs.dialogue import unwrap_sgd
from agent_gym_env.testing import check_tool_backend
from agent_gym_env.tools.replay import ReplayBackend
from agent_gym_env.tools.validation import ToolCatalogue
from agent_gym_env.types import ToolCall, ToolResult
from tests.corpus.cafes import BOOK, FIND, TOOLS, cafe, entities

ADA, BO = cafe("Ada"), cafe("Bo")
TABLE = entities((FIND, [ADA, BO]))
# What a recording says differs here from what the database says, so that one can tell them apart.
RECORDED = [cafe("Recorded")]


def recorded(tool: str = FIND, *, failed: bool = False, **arguments: str) -> RecordedCall:
    results = msgspec.json.encode(RECORDED).decode()
    forms: dict[str, tuple[str, ...]] = {"city": ("the old town",)}
    return RecordedCall(tool, arguments, "failure" if failed else "success", results, forms)


def backend(*calls: RecordedCall | None, date: str = "2019-03-01") -> ReplayBackend:
    replay = ReplayBackend(ToolCatalogue(TOOLS), TABLE)
    replay.reset(
        Task("d", ("Cafes_1",), tuple(Turn("", "", "Cafes_1", call) for call in calls), date)
    )
    return replay


def rows(result: ToolResult) -> list[Any]:
    return list(result.rows())


def test_the_call_of_the_turn_is_answered_as_recorded() -> None:
    result = backend(recorded(city="Lund")).execute(ToolCall(FIND, {"city": "Lund"}))
    assert (result.name, result.status, rows(result)) == (FIND, "success", RECORDED)


def test_a_recorded_failure_says_so() -> None:
    call = recorded(BOOK, failed=True, name="Ada", city="Lund", time="19:30")
    assert backend(call).execute(ToolCall(BOOK, dict(call.arguments))).status == "failure"


@pytest.mark.parametrize(
    "arguments",
    [
        {"city": "lund "},
        {"city": "The Old Town"},
        {"city": "Lund", "size": "2"},
        {"city": "Lund", "size": 2},
        {"city": "Lund", "size": "dontcare"},
        {"city": "Lund", "price": "dontcare"},
    ],
)
def test_a_call_that_says_the_same_is_the_recorded_one(arguments: dict[str, Any]) -> None:
    assert rows(backend(recorded(city="Lund")).execute(ToolCall(FIND, arguments))) == RECORDED


def test_a_recorded_default_may_be_left_out() -> None:
    call = recorded(city="Lund", size="2")
    assert rows(backend(call).execute(ToolCall(FIND, {"city": "Lund"}))) == RECORDED


def test_dates_are_read_on_the_day_of_the_dialogue() -> None:
    call = recorded(BOOK, name="Ada", city="Lund", time="19:30", day="2020-06-02")
    said = {"name": "Ada", "city": "Lund", "time": "7:30 pm", "day": "tomorrow"}
    assert rows(backend(call, date="2020-06-01").execute(ToolCall(BOOK, said))) == RECORDED


def test_an_intents_name_alone_means_the_recorded_tool() -> None:
    call = recorded(BOOK, name="Ada", city="Lund", time="19:30")
    result = backend(call).execute(ToolCall("BookTable", dict(call.arguments)))
    assert (result.name, rows(result)) == (BOOK, RECORDED)


def test_a_recorded_call_without_a_required_argument_is_answered() -> None:
    call = recorded(BOOK, name="Ada", time="19:30")
    assert rows(backend(call).execute(ToolCall(BOOK, dict(call.arguments)))) == RECORDED
    said = ToolCall("BookTable", {"name": "ada", "time": "7:30 pm"})
    assert rows(backend(call).execute(said)) == RECORDED


@pytest.mark.parametrize(
    "arguments",
    [{"city": "Malmo"}, {"city": "Lund", "size": "4"}, {"city": "Lund", "price": "cheap"}],
)
def test_a_call_that_says_something_else_is_answered_from_the_database(
    arguments: dict[str, Any],
) -> None:
    assert rows(backend(recorded(city="Lund")).execute(ToolCall(FIND, arguments))) != RECORDED


def test_a_recording_belongs_to_its_turn() -> None:
    replay = backend(None, recorded(city="Lund"), None)
    call = ToolCall(FIND, {"city": "Lund"})
    assert rows(replay.execute(call)) == [ADA, BO]
    replay.next_turn()
    assert rows(replay.execute(call)) == RECORDED
    assert rows(replay.execute(call)) == RECORDED
    replay.next_turn()
    assert rows(replay.execute(call)) == [ADA, BO]


def test_behind_the_last_turn_the_database_answers() -> None:
    replay = backend(recorded(city="Lund"))
    replay.next_turn()
    assert rows(replay.execute(ToolCall(FIND, {"city": "Lund"}))) == [ADA, BO]


def test_reset_begins_another_dialogue_at_its_first_turn() -> None:
    replay = backend(None, None)
    replay.next_turn()
    replay.reset(Task("e", ("Cafes_1",), (Turn("", "", "", recorded(city="Lund")),), "2019-03-01"))
    assert rows(replay.execute(ToolCall(FIND, {"city": "Lund"}))) == RECORDED


@pytest.mark.parametrize(
    ("name", "arguments", "named", "code"),
    [
        ("FindTea", {}, "FindTea", "unknown_tool"),
        ("FindCafe", {"city": "Lund"}, "FindCafe", "ambiguous_tool"),
        ("BookTable", {}, BOOK, "missing_argument"),
        (FIND, {"city": "Lund", "x": 1}, FIND, "unknown_argument"),
        (FIND, {"city": ["Lund"]}, FIND, "invalid_value"),
    ],
)
def test_what_is_not_valid_is_answered_with_an_error(
    name: str, arguments: dict[str, Any], named: str, code: str
) -> None:
    result = backend(recorded(city="Lund")).execute(ToolCall(name, arguments))
    assert (result.name, result.status, result.results) == (named, "error", None)
    assert result.error is not None
    assert result.error.startswith(f"{code}: ")


def test_results_are_written_into_json_as_they_are() -> None:
    replay = backend(recorded(city="Lund"))
    for tool_call in (ToolCall(FIND, {"city": "Lund"}), ToolCall(FIND, {"city": "Malmo"})):
        result = replay.execute(tool_call)
        assert msgspec.json.decode(msgspec.json.encode(result))["results"] == rows(result)


def check_on(env: Env, **options: Any) -> None:
    rows_of_split = unwrap_sgd(env).split.entities
    check_tool_backend(lambda tools: ReplayBackend(tools, rows_of_split), env, **options)


@pytest.mark.parametrize("split", SPLITS)
def test_it_keeps_the_promises_of_a_tool_backend(split: str) -> None:
    check_on(make_env(split=split))


def test_it_keeps_the_promises_of_a_tool_backend_with_every_tool_on_offer(
    tiny_corpus: Path,
) -> None:
    check_on(make_env(corpus=str(tiny_corpus), tools_offered="all"))


def test_it_keeps_the_promises_of_a_tool_backend_on_sgd(sgd_path: Path) -> None:
    check_on(make_env(corpus=str(sgd_path), split="dev"))


def test_every_recorded_call_of_sgd_is_answered_as_recorded(sgd_path: Path) -> None:
    corpus = open_corpus(sgd_path)
    split = corpus.split("dev")
    replay = ReplayBackend(ToolCatalogue(split.tools), split.entities)
    for index in range(len(split)):
        task = split.task(index)
        replay.reset(task)
        for turn in task.turns:
            if turn.call is not None:
                result = replay.execute(ToolCall(turn.call.name, dict(turn.call.arguments)))
                assert result.status == turn.call.status
                assert rows(result) == msgspec.json.decode(turn.call.results)
            replay.next_turn()
