from __future__ import annotations

import zlib
from typing import Any

import msgspec
import pytest

from agent_gym_env.assembly import make_env
from agent_gym_env.errors import TransientLMError
from agent_gym_env.lm.base import Request, Response
from agent_gym_env.lm.parse import tagged_call
from agent_gym_env.lm.scripted import ScriptedLM
from agent_gym_env.policies.base import BatchPolicy
from agent_gym_env.policies.llm import LLMPolicy
from agent_gym_env.testing import check_policy
from agent_gym_env.types import Action, ToolCall, Usage

TOOL = {"type": "function", "function": {"name": "Cafes_1-FindCafe", "parameters": {}}}
CALL = ToolCall("Cafes_1-FindCafe", {"city": "Bergen"})
WRITTEN = '<tool_call>{"name": "Cafes_1-FindCafe", "arguments": {"city": "Bergen"}}</tool_call>'


def observation(*messages: dict[str, Any]) -> dict[str, str]:
    said = messages or ({"role": "user", "content": "A cafe in Bergen?"},)
    return {
        "user": "A cafe in Bergen?",
        "tool_result": "",
        "messages": msgspec.json.encode(said).decode(),
        "tools": msgspec.json.encode([TOOL]).decode(),
    }


def test_words_close_the_turn_and_the_completion_is_kept() -> None:
    lm = ScriptedLM([Response("Where?", model="m", usage=Usage(9, 2), cost_usd=0.5, latency_s=1.5)])
    action = LLMPolicy(lm).act(observation())
    assert (action.text, action.tool_calls) == ("Where?", ())
    completion = action.completion
    assert completion is not None
    assert (completion.text, completion.model) == ("Where?", "m")
    assert (completion.usage, completion.cost_usd) == (Usage(9, 2), 0.5)
    assert completion.latency_s == 1.5


def test_tools_go_natively_by_default() -> None:
    lm = ScriptedLM(["Where?"])
    LLMPolicy(lm).act(observation())
    (request,) = lm.requests
    assert request.tools == [TOOL]
    assert [message["role"] for message in request.messages] == ["system", "user"]
    assert "FindCafe" not in request.messages[0]["content"]


def test_tools_are_written_down_for_a_model_without_them() -> None:
    lm = ScriptedLM([WRITTEN])
    action = LLMPolicy(lm, native_tools=False).act(observation())
    (request,) = lm.requests
    assert request.tools == ()
    assert "Cafes_1-FindCafe" in request.messages[0]["content"]
    assert action.tool_calls == (CALL,)


@pytest.mark.parametrize("response", [Response("One moment.", (CALL,)), f"One moment. {WRITTEN}"])
def test_words_beside_a_call_are_not_said_but_kept(response: Response | str) -> None:
    action = LLMPolicy(ScriptedLM([response])).act(observation())
    assert (action.text, action.tool_calls) == ("", (CALL,))
    assert action.completion is not None
    assert action.completion.text.startswith("One moment.")


def test_what_cannot_be_parsed_is_said() -> None:
    action = LLMPolicy(ScriptedLM(["<tool_call>{nonsense"])).act(observation())
    assert (action.text, action.tool_calls) == ("<tool_call>{nonsense", ())


def test_the_date_is_in_the_rules() -> None:
    lm = ScriptedLM(["a", "b"])
    LLMPolicy(lm).act(observation())
    LLMPolicy(lm, date="2024-02-29", rules="It is {today}.").act(observation())
    assert "2019-03-01" in lm.requests[0].messages[0]["content"]
    assert lm.requests[1].messages[0]["content"] == "It is Thursday, 2024-02-29."
    with pytest.raises(ValueError, match="date must be like"):
        LLMPolicy(lm, date="tomorrow")


def test_sampling_is_as_configured() -> None:
    lm = ScriptedLM(["a"])
    policy = LLMPolicy(lm, temperature=0.5, max_tokens=9, send_seed=True, extra={"top_k": 3})
    policy.reset(seed=4)
    policy.act(observation())
    (request,) = lm.requests
    assert (request.temperature, request.max_tokens, request.seed) == (0.5, 9, 4)
    assert request.extra == {"top_k": 3}


def test_a_seed_is_not_sent_to_providers_that_may_not_take_it() -> None:
    lm = ScriptedLM(["a"])
    policy = LLMPolicy(lm)
    policy.reset(seed=4)
    policy.act(observation())
    assert lm.requests[0].seed is None


def test_the_providers_ids_go_back_with_the_conversation() -> None:
    asked = {"role": "user", "content": "A cafe in Bergen?"}
    function = {"name": CALL.name, "arguments": '{"city":"Bergen"}'}
    call = {"id": "call_0", "type": "function", "function": function}
    lm = ScriptedLM([Response("", (CALL,), ("p__thought__sig",)), "Kaffe."])
    policy = LLMPolicy(lm)
    policy.act(observation(asked))
    policy.act(
        observation(
            asked,
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_0", "content": "[]"},
        )
    )
    _, _, assistant, result = lm.requests[1].messages
    assert assistant["tool_calls"][0]["id"] == "p__thought__sig"
    assert result["tool_call_id"] == "p__thought__sig"


@pytest.mark.parametrize("native_tools", [True, False])
def test_it_keeps_the_promises_of_a_policy_and_of_a_batch(native_tools: bool) -> None:
    def answer(request: Request) -> Response | str:
        """Call a tool that does not exist now and then, and say something else each time."""
        number = zlib.crc32(msgspec.json.encode(request.messages))
        if native_tools and number % 2:
            return Response("", (ToolCall(f"NoSuch_{number}"),), tool_call_ids=(f"id_{number}",))
        return f"My answer is number {number}."

    policy = LLMPolicy(ScriptedLM(answer), native_tools=native_tools)
    assert isinstance(policy, BatchPolicy)
    check_policy(policy)


def test_an_error_of_the_model_is_raised() -> None:
    policy = LLMPolicy(ScriptedLM([TransientLMError("busy"), "a", TransientLMError("busy")]))
    with pytest.raises(TransientLMError):
        policy.act(observation())
    with pytest.raises(TransientLMError):
        policy.act_batch([observation(), observation()])


@pytest.mark.parametrize("native_tools", [True, False])
def test_a_model_that_does_what_was_recorded_earns_everything(native_tools: bool) -> None:
    env = make_env(split="dev", reward="ground_truth")
    observed, _ = env.reset(seed=3)

    def recorded(request: Request) -> Response | str:
        action: Action = env.unwrapped.recorded_action()  # type: ignore[attr-defined]
        last = request.messages[-1]
        is_answered = last["role"] == "tool" or "<tool_response>" in last["content"]
        if is_answered or not action.tool_calls:
            return action.text
        if native_tools:
            return Response("", action.tool_calls)
        return "\n".join(tagged_call(call.name, call.arguments) for call in action.tool_calls)

    policy = LLMPolicy(ScriptedLM(recorded), native_tools=native_tools)
    rewards, over = [], False
    while not over:
        observed, reward, over, _, info = env.step(policy.act(observed))
        if info["target"] is not None:
            rewards.append(reward)
    assert rewards == [1.0] * len(rewards)


def test_a_batch_sends_each_episode_s_seed_where_seeds_are_sent() -> None:
    lm = ScriptedLM(["a"] * 6)
    seen = [observation()] * 2
    LLMPolicy(lm, send_seed=True).act_batch(seen, seeds=[3, None])
    LLMPolicy(lm, send_seed=True).act_batch(seen)
    LLMPolicy(lm).act_batch(seen, seeds=[3, 4])
    assert [request.seed for request in lm.requests] == [3, None, None, None, None, None]
