"""Policies that need no corpus: the bounds between which everything else lies."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent_gym_env.assembly import make_env, make_policy, rollout
from agent_gym_env.policies.base import Policy
from agent_gym_env.policies.constant import ConstantPolicy, best_constant_text
from agent_gym_env.policies.oracle import OraclePolicy
from agent_gym_env.policies.uniform import UniformPolicy
from agent_gym_env.types import Action, Observation

TOOL = {
    "type": "function",
    "function": {
        "name": "Trams_1-FindTram",
        "parameters": {
            "properties": {"line": {"enum": ["1", "2"]}, "stop": {"type": "string"}},
            "required": ["line"],
        },
    },
}


def observation(user: str = "Where is the tram?", tools: Any = (TOOL,)) -> Observation:
    messages = [{"role": "user", "content": user}]
    return {
        "user": user,
        "tool_result": "",
        "messages": json.dumps(messages),
        "tools": json.dumps(tools),
    }


@pytest.mark.parametrize("reward", ["ground_truth", "balanced"])
@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_the_oracle_earns_one_at_every_turn(split: str, reward: str) -> None:
    for episode in rollout("oracle", split=split, reward=reward, episodes=15):
        assert {turn.reward for turn in episode.turns} == {1.0}


def test_the_oracle_reads_the_result_before_it_replies() -> None:
    (episode,) = rollout("oracle", split="dev", episodes=1)
    turns = [turn for turn in episode.turns if turn.target.call is not None]
    assert turns
    for turn in turns:
        call, reply = (step.action for step in turn.steps)
        assert (call.text, len(call.tool_calls)) == ("", 1)
        assert reply == Action(turn.target.text)


def test_the_oracle_needs_an_environment_that_knows() -> None:
    class Blind:
        unwrapped = object()

    with pytest.raises(TypeError, match="recorded_action"):
        OraclePolicy(Blind())


def test_the_same_seed_draws_the_same_actions() -> None:
    policy = UniformPolicy()
    policy.reset(seed=3)
    first = [policy.act(observation()) for _ in range(20)]
    policy.reset(seed=3)
    assert [policy.act(observation()) for _ in range(20)] == first


def test_a_uniform_call_has_what_is_required_and_allowed() -> None:
    policy = UniformPolicy(call_probability=1.0, seed=0)
    for _ in range(50):
        (call,) = policy.act(observation()).tool_calls
        assert call.name == "Trams_1-FindTram"
        assert call.arguments["line"] in ("1", "2")
        assert call.arguments.keys() <= {"line", "stop"}


def test_a_uniform_text_is_made_of_words_that_were_said() -> None:
    policy = UniformPolicy(call_probability=0.0, max_words=3, seed=0)
    for _ in range(50):
        said = policy.act(observation()).text.split()
        assert 1 <= len(said) <= 3
        assert set(said) <= {"Where", "is", "the", "tram"}


@pytest.mark.parametrize("options", [{"call_probability": 1.5}, {"max_words": 0}])
def test_a_uniform_policy_checks_its_arguments(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        UniformPolicy(**options)


def test_a_constant_says_its_text_and_silence_is_a_constant() -> None:
    assert ConstantPolicy("Hello.").act(observation()) == Action("Hello.")
    assert (ConstantPolicy("").name, ConstantPolicy("Hello.").name) == ("silent", "constant")


def test_the_best_constant_has_the_words_that_pay_most() -> None:
    # {a}: (1/1 + 1/2 + 0) / 3 = 1/2; {a, b} earns (1/2 + 1 + 0) / 3 = 1/2, which is no more.
    assert best_constant_text(["a", "a b", "c"]) == "a"


@pytest.mark.parametrize("name", ["oracle", "silent", "constant", "uniform", "retrieval"])
def test_every_policy_acts_on_the_bare_observation(name: str) -> None:
    env = make_env(split="dev")
    seen, _ = env.reset(seed=1)
    policy: Policy = make_policy(name, env)
    policy.reset(seed=1)
    action = policy.act(seen)
    assert isinstance(action, Action)
    env.step(action)
    assert policy.name == name
