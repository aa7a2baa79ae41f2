from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest

from agent_gym_env.assembly import collect, make_env, plan_collection
from agent_gym_env.cli.settings import Play, with_language_model
from agent_gym_env.cli.settings_parser import Named
from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.corpus.task import Task
from agent_gym_env.envs.dialogue import unwrap_sgd
from agent_gym_env.errors import BudgetExceeded, PermanentLMError
from agent_gym_env.lm.base import Request
from agent_gym_env.lm.scripted import Reply, ScriptedLM
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.journal.reading import read_episodes
from agent_gym_env.testing import check_tool_backend
from agent_gym_env.tools.simulated import SimulatedBackend, SimulatedTools
from agent_gym_env.tools.validation import ToolCatalogue
from agent_gym_env.types import Action, ToolCall, ToolResult
from tests import log_corpora as log
from tests.lm.server import LMServer
from tests.log_corpora import AirlineLog

NEW = {"origin": "Rome", "destination": "Bergen"}
CALL = ToolCall("search_flights", NEW)


def said(result: Any, status: str = "success") -> str:
    return json.dumps({"status": status, "result": result})


def simulated(
    *replies: Reply, answer: Callable[[Request], Reply] | None = None, **options: Any
) -> tuple[SimulatedBackend, ScriptedLM]:
    lm = ScriptedLM(answer or replies)
    split = open_corpus(AirlineLog()).split("train")
    backend = SimulatedTools(lm, split, **options).backend(ToolCatalogue(split.tools))
    backend.reset(split.task(0))
    return backend, lm


def value(result: ToolResult) -> Any:
    return msgspec.json.decode(msgspec.json.encode(result.results))


def document(request: Request) -> Any:
    return json.loads(request.messages[1]["content"])


def test_a_recorded_call_is_answered_as_recorded_without_the_model() -> None:
    backend, lm = simulated()
    result = backend.execute(ToolCall("search_flights", dict(log.OSL_LIS.arguments)))
    assert (value(result), result.simulated, lm.requests) == ({"flights": []}, False, [])
    assert b"simulated" not in msgspec.json.encode(result)


def test_another_call_is_answered_by_the_model_and_marked_as_simulated() -> None:
    backend, lm = simulated(said({"flights": [{"id": "XX1"}]}))
    result = backend.execute(CALL)
    assert (result.status, value(result)) == ("success", {"flights": [{"id": "XX1"}]})
    assert b'"simulated":true' in msgspec.json.encode(result)
    assert len(lm.requests) == 1


def test_the_model_sees_schema_call_date_and_recorded_examples_the_nearest_first() -> None:
    backend, lm = simulated(said([]), examples=2)
    backend.execute(CALL)
    seen = document(lm.requests[0])
    assert seen["call"] == {"arguments": NEW}
    assert (seen["date"], seen["tool"]["parameters"]) == ("2026-05-04", log.SEARCH.parameters)
    assert [each["arguments"] for each in seen["examples"]] == [
        log.ROM_OSL.arguments, log.LIS_OSL.arguments
    ]  # fmt: skip
    assert lm.requests[0].temperature == 0.0


@pytest.mark.parametrize(("name", "options"), [("never", {}), ("search_flights", {"examples": 0})])
def test_without_recorded_calls_or_where_none_is_wanted_there_are_no_examples(
    name: str, options: dict[str, Any]
) -> None:
    backend, lm = simulated(said(1), **options)
    assert backend.execute(ToolCall(name, NEW)).status == "success"
    assert document(lm.requests[0])["examples"] == []


def test_a_long_example_is_cut() -> None:
    tasks = [Task("1", ("never",), (log.turn("", "", log.call(log.NEVER, "x" * 9000)),), None)]
    split = open_corpus(AirlineLog(tasks, "long")).split("train")
    lm = ScriptedLM([said(1)])
    SimulatedTools(lm, split).answer(split.tools["never"], {"a": 1}, None)
    [example] = document(lm.requests[0])["examples"]
    assert len(example["result"]) < 4100


def test_equal_calls_of_a_dialogue_get_the_same_answer_from_one_request() -> None:
    backend, lm = simulated(said("first"), said("second"))
    first = backend.execute(CALL)
    backend.next_turn()
    again = ToolCall("search_flights", dict(reversed(NEW.items())))
    assert backend.execute(again) == first
    assert len(lm.requests) == 1


@pytest.mark.parametrize("text", ["```json\n{}\n```", "<think>It is empty.</think>{}", " {} \n"])
def test_an_answer_is_read_in_the_usual_wrappings(text: str) -> None:
    backend, _ = simulated(text.replace("{}", said("none", "failure")))
    result = backend.execute(CALL)
    assert (result.status, value(result)) == ("failure", "none")


@pytest.mark.parametrize(
    "text",
    ["", "No flights.", "[]", '{"result": 1}', said(1, "error"), said("x" * 70_000), "\ud800"],
)
def test_an_answer_that_cannot_be_read_is_asked_for_again_and_then_an_error(text: str) -> None:
    backend, lm = simulated(text, said("good"))
    assert value(backend.execute(CALL)) == "good"
    backend, lm = simulated(text, text)
    result = backend.execute(CALL)
    assert (result.status, result.results, result.simulated) == ("error", None, True)
    assert (result.error or "").startswith("simulation_failed: ")
    assert len(lm.requests) == 2


def test_an_error_is_not_kept_for_the_next_call() -> None:
    backend, _ = simulated(PermanentLMError("refused"), said("good"))
    result = backend.execute(CALL)
    assert (result.error, result.simulated) == (
        "tool_unavailable: PermanentLMError: refused", True
    )  # fmt: skip
    assert value(backend.execute(CALL)) == "good"


def test_a_spent_budget_ends_the_run() -> None:
    backend, _ = simulated(BudgetExceeded("spent"))
    with pytest.raises(BudgetExceeded):
        backend.execute(CALL)


def test_calls_that_are_not_valid_are_refused_without_the_model() -> None:
    backend, lm = simulated()
    assert (backend.execute(ToolCall("cancel")).error or "").startswith("missing_argument: ")
    assert lm.requests == []


def test_it_keeps_the_promises_of_a_backend_over_a_log_and_over_services() -> None:
    env = make_env(env="Traces-v0", corpus=AirlineLog())
    tools = SimulatedTools(ScriptedLM(lambda _: said([])), unwrap_sgd(env).split)
    check_tool_backend(tools.backend, env)
    services = unwrap_sgd(make_env(split="dev")).split
    check_tool_backend(SimulatedTools(ScriptedLM(lambda _: said([])), services).backend)


class Asking:
    """Asks for flights that the log does not have, in each turn."""

    name = "asking"

    def reset(self, *, seed: int | None = None) -> None:
        """Begin an episode."""

    def act(self, observation: Any) -> Action:
        """Call, then answer."""
        return Action("Here.") if observation["tool_result"] else Action("", (CALL,))


def test_a_server_that_fails_never_stops_an_episode_and_what_it_says_is_in_the_episode(
    tmp_path: Any,
) -> None:
    pytest.importorskip("aiohttp", reason="the lean client needs it: pip install -e '.[local]'")
    with LMServer(lambda request: said({"flights": ["XX9"]})) as server:
        tools = {
            "name": "simulated", "client": "local", "model": "tool", "api_base": server.openai_base,
            "cache": str(tmp_path / "cache"), "limits": {"max_attempts": 1},
        }  # fmt: skip
        world: dict[str, Any] = {
            "env": "Traces-v0", "corpus": AirlineLog(), "tool_backend": tools
        }  # fmt: skip
        collect(Asking(), tmp_path / "run", **world)
        answers = results(read_episodes(tmp_path / "run"))
        assert len(answers) == 4
        assert all('"XX9"' in each and '"simulated":true' in each for each in answers)
        assert len(server.requests) == 2  # one for each dialogue's date
        again = make_env(**world)
        again.reset(options={"dialogue_id": "rome"})
        observation, *_ = again.step({"tool_calls": [{"name": CALL.name, "arguments": NEW}]})
        assert (observation["tool_result"], len(server.requests)) == (answers[2], 2)
        server.plan("500", "400", "hang", "html")
        other = {"name": CALL.name, "arguments": {**NEW, "seats": 7}}
        observation, _, terminated, _, info = again.step({"tool_calls": [other]})
        assert '"error":"tool_unavailable: ' in observation["tool_result"]
        assert (terminated, info["action_error"]) == (False, "tool_unavailable")


def results(episodes: Iterable[Episode]) -> list[str]:
    """The results of all calls."""
    steps = [step for episode in episodes for turn in episode.turns for step in turn.steps]
    return [step.tool_result for step in steps if step.tool_result]


def test_a_journal_keeps_the_model_of_simulated_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp", reason="the lean client needs it: pip install -e '.[local]'")
    monkeypatch.setenv("AGENT_GYM_MODEL", "qwen")
    tools = {"name": "simulated", "client": "local", "api_base": "http://127.0.0.1:9/v1"}
    planned = plan_collection("silent", split="dev", tool_backend=tools)
    assert planned.world["tool_backend"] == {**tools, "model": "qwen"}
    settings = Play(env=Named(name="SGD-v0", tool_backend=tools), model="llama")
    assert with_language_model(settings).env["tool_backend"] == {**tools, "model": "llama"}
