from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from agent_gym_env.assembly import Env, make_env
from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.corpus.task import RecordedCall, Task
from agent_gym_env.envs.dialogue import unwrap_sgd
from agent_gym_env.testing import check_tool_backend
from agent_gym_env.tools.nearest import NearestBackend, RecordedAnswers
from agent_gym_env.tools.validation import ToolCatalogue
from agent_gym_env.types import ToolCall, ToolResult
from agent_gym_env.values.equality import agreement
from tests import log_corpora as log
from tests.log_corpora import CANCEL, NEVER, SEARCH, AirlineLog


def traces(**arguments: Any) -> Env:
    return make_env(env="Traces-v0", corpus=AirlineLog(), tool_backend="nearest", **arguments)


def backend(dialogue: str = "lisbon") -> NearestBackend:
    split = open_corpus(AirlineLog()).split("train")
    nearest = NearestBackend(ToolCatalogue(split.tools), split)
    nearest.reset(split.task(split.index(dialogue)))
    return nearest


def value(result: ToolResult) -> Any:
    return msgspec.json.decode(msgspec.json.encode(result.results))


def recorded(call: RecordedCall) -> Any:
    return msgspec.json.decode(call.results)


def ask(tool: str = SEARCH.name, dialogue: str = "lisbon", **arguments: Any) -> ToolResult:
    return backend(dialogue).execute(ToolCall(tool, arguments))


def test_a_recorded_call_is_answered_as_recorded_and_has_no_distance() -> None:
    result = ask(origin="lisbon", destination="OSLO", seats=1)
    assert (value(result), result.distance) == (recorded(log.LIS_OSL), None)
    assert b"distance" not in msgspec.json.encode(result)


def test_another_call_gets_the_nearest_answer_and_its_distance() -> None:
    result = ask(origin="Rome", destination="Oslo")
    assert (result.name, result.status) == (SEARCH.name, "success")
    assert (value(result), result.distance) == (recorded(log.ROM_OSL), 0.3333)
    assert b'"distance":0.3333' in msgspec.json.encode(result)


def test_a_call_of_another_dialogue_has_the_distance_0() -> None:
    cabins = ["economy", "first"]
    result = ask(origin="Rome", destination="Oslo", cabins=cabins)
    assert (value(result), result.distance) == (recorded(log.ROM_OSL), 0.0)


def test_of_equally_near_calls_the_first_of_the_corpus_answers() -> None:
    assert value(ask(origin="Bergen", destination="Oslo")) == recorded(log.LIS_OSL)


def test_where_nothing_is_equal_the_distance_is_1_and_the_first_call_answers() -> None:
    result = ask(origin="Bergen", destination="Turin")
    assert (value(result), result.distance) == (recorded(log.LIS_OSL), 1.0)


def test_a_recorded_error_answers_no_other_call() -> None:
    result = ask("cancel", booking="X1")
    assert (value(result), result.distance) == (recorded(log.REFUND), 1.0)
    again = backend("rome")
    again.next_turn()
    assert again.execute(ToolCall("cancel", {"booking": "X1"})).status == "error"


@pytest.mark.parametrize(
    ("tool", "arguments", "code"),
    [
        ("never", {}, "not_recorded"),
        ("nobody", {}, "unknown_tool"),
        ("cancel", {}, "missing_argument"),
        ("cancel", {"booking": "R7", "fee": "a"}, "invalid_value"),
    ],
)
def test_a_call_without_any_answer_gets_an_error(
    tool: str, arguments: dict[str, Any], code: str
) -> None:
    result = ask(tool, **arguments)
    assert (result.status, (result.error or "").partition(":")[0]) == ("error", code)


def test_it_keeps_the_promises_of_a_backend_over_a_log_and_over_services() -> None:
    env = traces()
    split = unwrap_sgd(env).split
    check_tool_backend(lambda catalogue: NearestBackend(catalogue, split), env)
    services = unwrap_sgd(make_env(split="dev")).split
    check_tool_backend(lambda catalogue: NearestBackend(catalogue, services))


def test_an_agent_reads_the_distance_and_a_snapshot_goes_on_alike() -> None:
    env = traces()
    env.reset(options={"dialogue_id": "lisbon"})
    env.step({"tool_calls": [{"name": "search_flights", "arguments": log.LIS_OSL.arguments}]})
    state = env.unwrapped.get_state()  # type: ignore[attr-defined]
    call = {"name": "search_flights", "arguments": {"origin": "Rome", "destination": "Oslo"}}
    observation, *_ = env.step({"tool_calls": [call]})
    assert '"distance":0.3333' in observation["tool_result"]
    other = traces()
    other.unwrapped.set_state(state)  # type: ignore[attr-defined]
    assert other.step({"tool_calls": [call]})[0] == observation


def drawn(random: random.Random) -> dict[str, Any]:
    """Draw arguments in which a few values are common and the others rare."""
    arguments: dict[str, Any] = {
        "origin": random.choice(["Lisbon", "Rome", f"Town {random.randrange(30)}"]),
        "destination": random.choice(["Oslo", "Oslo", f"Town {random.randrange(30)}"]),
    }
    if random.random() < 0.5:
        arguments["seats"] = random.choice([1, 2, 2.0, 3])
    if random.random() < 0.3:
        arguments["cabins"] = random.choice([["first"], ["economy", "first"], []])
    return arguments


def test_the_index_finds_what_a_search_of_all_calls_finds() -> None:
    random_ = random.Random(0)
    calls = [log.call(SEARCH, number, **drawn(random_)) for number in range(300)]
    tasks = [
        Task(str(place), ("search_flights",), (log.turn("", "", *calls[place : place + 3]),), None)
        for place in range(0, 300, 3)
    ]
    split = open_corpus(AirlineLog(tasks, "many")).split("train")
    index, spec = RecordedAnswers(split), split.tools["search_flights"]
    for _ in range(300):
        made = drawn(random_)

        def near(each: RecordedCall, made: dict[str, Any] = made) -> float:
            found = agreement(each.arguments, {}, made, spec.defaults, None)
            return found.equal / found.either if found.either else 1.0

        best = max(calls, key=near)
        nearest = index.nearest(spec, made, None)
        assert nearest is not None
        assert nearest.call.results == best.results
        assert nearest.distance == round(1 - near(best), 4)


def test_a_call_without_arguments_finds_the_call_without_arguments() -> None:
    calls = (log.call(NEVER, "some", a=1), log.call(NEVER, "none"))
    task = Task("1", ("never",), (log.turn("", "", *calls),), None)
    split = open_corpus(AirlineLog([task], "empty")).split("train")
    spec = split.tools["never"]
    index = RecordedAnswers(split)
    nearest = index.nearest(spec, {}, None)
    assert nearest is not None
    assert (nearest.call.results, nearest.distance) == ('"none"', 0.0)
    assert [each.results for each in index.first_calls(spec, 9)] == ['"some"', '"none"']
    assert index.nearest(split.tools[CANCEL.key], {"booking": "1"}, None) is None
