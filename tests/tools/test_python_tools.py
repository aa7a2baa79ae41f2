from __future__ import annotations

import copy
import gc
import os
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from agent_gym_env.assembly import Env, make_env
from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.errors import AgentGymError
from agent_gym_env.testing import check_tool_backend
from agent_gym_env.tools.backend import BackendSource
from agent_gym_env.tools.live import LiveBackend
from agent_gym_env.tools.python_tools import PythonTools
from agent_gym_env.tools.validation import ToolCatalogue
from agent_gym_env.types import ToolCall, ToolResult
from tests import log_corpora as log
from tests.log_corpora import AirlineLog

TOOLS = "tests.tools.tool_functions:TOOLS"
COUNTER = "tests.tools.tool_functions:COUNTER"


def backend_of(source: PythonTools) -> LiveBackend:
    split = open_corpus(AirlineLog()).split("train")
    backend = source.backend(ToolCatalogue(split.tools))
    backend.reset(split.task(0))
    return backend


@pytest.fixture(scope="module")
def source() -> Iterator[PythonTools]:
    yield PythonTools(tools=TOOLS)
    gc.collect()


@pytest.fixture
def backend(source: PythonTools) -> LiveBackend:
    return backend_of(source)


def value(result: ToolResult) -> Any:
    return msgspec.json.decode(msgspec.json.encode(result.results))


def code(result: ToolResult) -> str:
    assert (result.status, result.results) == ("error", None)
    return (result.error or "").partition(":")[0]


def test_a_function_answers_also_a_recorded_call(backend: LiveBackend) -> None:
    result = backend.execute(ToolCall("search_flights", dict(log.LIS_OSL.arguments)))
    assert (result.status, value(result)) == ("success", {"flight": "TP1", "seats": 1})


def test_an_asynchronous_function_answers(backend: LiveBackend) -> None:
    assert value(backend.execute(ToolCall("cancel", {"booking": "R7"}))) == "Cancelled R7"


def test_an_exception_of_a_function_is_an_error_on_one_line(backend: LiveBackend) -> None:
    result = backend.execute(ToolCall("cancel", {"booking": "raise"}))
    assert code(result) == "tool_error"
    assert result.error == "tool_error: LookupError: no booking raise"


@pytest.mark.parametrize("booking", ["long", "surrogate"])
def test_a_result_that_cannot_be_sent_is_an_error(backend: LiveBackend, booking: str) -> None:
    assert code(backend.execute(ToolCall("cancel", {"booking": booking}))) == "tool_error"


def test_a_result_that_is_not_json_is_an_error(backend: LiveBackend) -> None:
    assert code(backend.execute(ToolCall("never"))) == "tool_error"


def test_a_function_reads_nothing_from_the_standard_input(backend: LiveBackend) -> None:
    assert value(backend.execute(ToolCall("cancel", {"booking": "read"}))) == ""


@pytest.mark.parametrize("booking", ["crash", "exit"])
def test_a_function_that_ends_its_process_is_an_error_and_the_next_call_is_answered(
    backend: LiveBackend, booking: str
) -> None:
    assert code(backend.execute(ToolCall("cancel", {"booking": booking}))) == "tool_crashed"
    assert value(backend.execute(ToolCall("cancel", {"booking": "R7"}))) == "Cancelled R7"


def test_a_function_that_hangs_is_ended_and_the_next_call_is_answered() -> None:
    backend = backend_of(PythonTools(tools=TOOLS, timeout_s=0.5))
    result = backend.execute(ToolCall("cancel", {"booking": "hang"}))
    assert code(result) == "tool_timeout"
    assert result.error == "tool_timeout: no answer within 0.5 s"
    # A process that starts again is not held to the time limit of a call.
    assert backend.execute(ToolCall("search_flights", {"origin": "a", "destination": "b"})).results


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("nobody", {}, "unknown_tool"),
        ("cancel", {}, "missing_argument"),
        ("cancel", {"booking": "\ud800"}, "invalid_value"),
        ("search_flights", {"origin": "a", "destination": "b", "x": 1}, "tool_error"),
    ],
)
def test_a_call_that_is_not_valid_is_an_error(
    backend: LiveBackend, name: str, arguments: dict[str, Any], expected: str
) -> None:
    assert code(backend.execute(ToolCall(name, arguments))) == expected


def test_a_tool_that_the_functions_lack_is_an_error() -> None:
    result = backend_of(PythonTools(tools=COUNTER)).execute(ToolCall("cancel", {"booking": "1"}))
    assert code(result) == "not_served"
    assert "they have never" in (result.error or "")


def counts(env: Env) -> list[str]:
    """Call the counter twice in each of two dialogues."""
    texts = []
    for dialogue in ("lisbon", "rome"):
        env.reset(options={"dialogue_id": dialogue})
        for _ in range(2):
            observation, *_ = env.step({"tool_calls": [{"name": "never", "arguments": {}}]})
            texts.append(observation["tool_result"].partition('"results":')[2].rstrip("}]"))
    return texts


@pytest.mark.parametrize(("restart", "expected"), [(False, "1234"), (True, "1212")])
def test_state_lasts_for_the_environment_or_for_a_dialogue(restart: bool, expected: str) -> None:
    tools = {"name": "python", "tools": COUNTER, "restart": restart}
    env = make_env(env="Traces-v0", corpus=AirlineLog(), tool_backend=tools)
    assert "".join(counts(env)) == expected


def test_the_reward_compares_with_the_recorded_calls_whatever_the_functions_answer() -> None:
    env = make_env(
        env="Traces-v0",
        corpus=AirlineLog(),
        reward="balanced",
        tool_backend={"name": "python", "tools": TOOLS},
    )
    env.reset(options={"dialogue_id": "rome"})
    over, rewards = False, []
    while not over:
        action = env.unwrapped.recorded_action()  # type: ignore[attr-defined]
        _, reward, over, _, _ = env.step(action)
        rewards.append(reward)
    assert rewards == [1.0, 1.0]


def test_it_keeps_the_promises_of_a_backend() -> None:
    source = PythonTools(tools=TOOLS)
    env = make_env(env="Traces-v0", corpus=AirlineLog())
    check_tool_backend(source.backend, env, answers_as_recorded=False)


def test_a_copy_has_a_separate_process_and_none_outlives_its_environment() -> None:
    source = PythonTools(tools=COUNTER)
    other = copy.deepcopy(source)
    processes = [each._shared._process for each in (source, other)]
    assert isinstance(source, BackendSource)
    assert [value(backend_of(each).execute(ToolCall("never"))) for each in (source, other)] == [
        1,
        1,
    ]
    ids = {process.pid for process in processes if process is not None}
    assert len(ids) == 2
    del source, other, processes
    gc.collect()
    for each in ids:
        with pytest.raises(ProcessLookupError):
            os.kill(each, 0)


@pytest.mark.parametrize(
    ("tools", "problem"),
    [
        ("tests.tools.tool_functions:TOLS", "has no 'TOLS' .did you mean 'TOOLS'"),
        ("tests.tools.no_such:TOOLS", "there is no module 'tests.tools.no_such'"),
        ("tests.tools.tool_functions:WRONG", "'search_flights' has none"),
        ("tests.tools.tool_functions:NOTHING", "expected functions, found none"),
    ],
)
def test_functions_that_cannot_be_used_are_refused_at_once(tools: str, problem: str) -> None:
    with pytest.raises(AgentGymError, match=problem):
        make_env(tool_backend={"name": "python", "tools": tools})


def test_a_wrong_option_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tools must be a 'package\.module:name', not 'x'"):
        make_env(tool_backend={"name": "python", "tools": "x"})
    with pytest.raises(ValueError, match="timeout_s"):
        make_env(tool_backend={"name": "python", "tools": TOOLS, "timeout_s": 0})
