"""A server that shows its model no tools is noticed by the usage that it reports, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("aiohttp", reason="the extra local is not installed")

from agent_gym_env.assembly import make_env
from agent_gym_env.lm.aiohttp_client import local_client
from agent_gym_env.lm.base import Request, Response
from agent_gym_env.lm.budget import Price
from agent_gym_env.lm.scripted import ScriptedLM
from agent_gym_env.policies.llm import LLMPolicy, ToolCheck
from agent_gym_env.types import Usage
from tests.lm.test_openai_server import Running

TOKENS_OF_A_TOOL = 90


def served(*, shows_tools: bool) -> ScriptedLM:
    """A model behind a template: 285 tokens, and more for tools that it shows."""

    def answer(request: Request) -> Response:
        shown = TOKENS_OF_A_TOOL * len(request.tools) if shows_tools else 0
        return Response("Hello.", model="m", usage=Usage(285 + shown, 4))

    return ScriptedLM(answer, name="m")


def observation() -> Any:
    env: Any = make_env(split="train")
    return env.reset(seed=0)[0]


@pytest.mark.parametrize("batch", [False, True])
def test_a_server_that_ignores_tools_is_named_once(
    batch: bool, caplog: pytest.LogCaptureFixture
) -> None:
    model, seen = served(shows_tools=False), observation()
    with Running(model) as server:
        policy = LLMPolicy(local_client("m", server.base))
        for _ in range(3):
            policy.act_batch([seen, seen]) if batch else policy.act(seen)
        policy.lm.close()
    [record] = [each for each in caplog.records if each.name.startswith("agent_gym_env")]
    assert "m seems to leave tools out of its prompt: 285 tokens" in record.getMessage()
    assert "285 without any" in record.getMessage()
    assert '"native_tools": false' in record.getMessage()
    assert len(model.requests) == (7 if batch else 4)
    [probe] = [request for request in model.requests if not request.tools]
    assert probe.max_tokens == 1


def test_a_server_that_shows_tools_is_not(caplog: pytest.LogCaptureFixture) -> None:
    model, seen = served(shows_tools=True), observation()
    with Running(model) as server:
        policy = LLMPolicy(local_client("m", server.base))
        policy.act(seen)
        policy.act(seen)
        policy.lm.close()
    assert len(model.requests) == 3
    assert not [each for each in caplog.records if each.name.startswith("agent_gym_env")]


def test_nothing_is_asked_where_tools_are_in_the_system_message() -> None:
    model = served(shows_tools=False)
    with Running(model) as server:
        policy = LLMPolicy(local_client("m", server.base), native_tools=False)
        policy.act(observation())
        policy.lm.close()
    assert len(model.requests) == 1


def test_a_model_that_is_no_server_of_one_s_own_is_not_asked() -> None:
    model = served(shows_tools=False)
    tool = {"type": "function", "function": {"name": "f"}}
    ToolCheck(model).look(Request([], tools=[tool]), Response("", usage=Usage(285, 1)))
    assert model.requests == []


def test_the_question_is_billed_with_the_answer() -> None:
    with Running(served(shows_tools=False)) as server:
        lm = local_client("m", server.base, price=Price(1_000_000.0, 1_000_000.0))
        policy = LLMPolicy(lm)
        first, second = (policy.act(observation()).completion for _ in range(2))
        lm.close()
    assert first is not None
    assert second is not None
    assert (first.usage, first.cost_usd) == (Usage(570, 8), 578.0)
    assert (second.usage, second.cost_usd) == (Usage(285, 4), 289.0)
    assert lm.budget.spent.cost_usd == 578.0 + 289.0
