"""Plain configuration becomes environments, policies and episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import msgspec
import pytest
from gymnasium.wrappers import TimeLimit

from agent_gym_env.assembly import (
    POLICY_NAMES,
    choose_dialogues,
    make_env,
    make_policy,
    name_model,
    reward_of,
    rollout,
)
from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.policies.constant import ConstantPolicy
from agent_gym_env.policies.oracle import OraclePolicy
from agent_gym_env.policies.uniform import UniformPolicy
from agent_gym_env.training.hindsight import BestCandidatePolicy
from tests.corpora import TRAIN

TEA, BLACK, MIXED = (dialogue.dialogue_id for dialogue in TRAIN)


@pytest.fixture
def corpus(tiny_corpus: Path) -> str:
    return str(tiny_corpus)


def test_an_environment_is_made_through_gymnasium(corpus: str) -> None:
    env = make_env(corpus=corpus, split="dev", max_episode_steps=2)
    assert isinstance(env.unwrapped, SGDEnv)
    assert env.spec is not None
    assert (env.spec.id, env.spec.max_episode_steps) == ("SGD-v0", 2)
    assert isinstance(env, TimeLimit)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ("oracle", OraclePolicy),
        ("silent", ConstantPolicy),
        ({"name": "constant", "text": "Yes."}, ConstantPolicy),
        ({"name": "uniform", "call_probability": 0.1}, UniformPolicy),
        ({"name": "best-candidate", "lessons": 3, "indexed": 3}, BestCandidatePolicy),
    ],
)
def test_a_policy_is_made_of_its_name_and_options(corpus: str, config: Any, kind: type) -> None:
    policy = make_policy(config, make_env(corpus=corpus))
    assert type(policy) is kind
    name = config if isinstance(config, str) else config["name"]
    assert policy.name == name
    assert name in POLICY_NAMES


def test_a_policy_is_given_back(corpus: str) -> None:
    policy = ConstantPolicy("Yes.")
    assert make_policy(policy, make_env(corpus=corpus)) is policy


@pytest.mark.parametrize("config", ["clever", {}, {"name": "clever"}, {"text": "Yes."}])
def test_an_unknown_policy_is_told_with_those_that_are_known(corpus: str, config: Any) -> None:
    with pytest.raises(ValueError, match=r"policy must be one of .*'oracle'"):
        make_policy(config, make_env(corpus=corpus))


def test_an_option_that_a_policy_does_not_take_is_a_type_error(corpus: str) -> None:
    with pytest.raises(TypeError, match="volume"):
        make_policy({"name": "uniform", "volume": 3}, make_env(corpus=corpus))


def test_policies_play_this_environment_only() -> None:
    with pytest.raises(TypeError, match="CartPoleEnv"):
        make_policy("oracle", gym.make("CartPole-v1"))


def test_a_reward_is_made_as_an_environment_makes_it(corpus: str) -> None:
    assert reward_of("balanced", corpus=corpus, split="dev").name == "balanced"


def test_dialogues_are_chosen_without_repetition_and_in_order(corpus: str) -> None:
    env = make_env(corpus=corpus)
    assert choose_dialogues(env, None, seed=0) == [TEA, BLACK, MIXED]
    assert choose_dialogues(env, 99, seed=0) == [TEA, BLACK, MIXED]
    chosen = {tuple(choose_dialogues(env, 2, seed=seed)) for seed in range(20)}
    assert chosen == {(TEA, BLACK), (TEA, MIXED), (BLACK, MIXED)}
    assert choose_dialogues(env, 2, seed=7) == choose_dialogues(env, 2, seed=7)


def test_only_dialogues_of_the_selection_are_chosen(corpus: str) -> None:
    env = make_env(corpus=corpus, services=["Teas_1"])
    assert choose_dialogues(env, None, seed=0) == [TEA, BLACK]


def test_a_rollout_plays_the_chosen_dialogues(corpus: str) -> None:
    counts: list[int] = []
    episodes = list(rollout("oracle", corpus=corpus, reward="balanced", on_begin=counts.append))
    assert [episode.dialogue_id for episode in episodes] == [TEA, BLACK, MIXED]
    assert counts == [3]
    rewards = {turn.reward for episode in episodes for turn in episode.turns}
    assert rewards == {1.0}


def test_a_rollout_repeats_with_its_seed(corpus: str) -> None:
    def played(seed: int) -> list[msgspec.Struct]:
        episodes = rollout("uniform", episodes=2, seed=seed, corpus=corpus)
        return [msgspec.structs.replace(episode, duration_s=0.0) for episode in episodes]

    assert played(3) == played(3)
    assert played(3) != played(4)


@pytest.mark.parametrize(
    ("config", "model", "named"),
    [
        ({"name": "llm"}, None, {"name": "llm", "model": "from/env"}),
        ({"name": "llm", "model": None}, None, {"name": "llm", "model": "from/env"}),
        ({"name": "llm"}, "a/b", {"name": "llm", "model": "a/b"}),
        ({"name": "llm", "model": "c/d"}, "a/b", {"name": "llm", "model": "c/d"}),
        ({"name": "dspy", "cache": "x"}, {"client": "local", "api_base": "y"},
         {"name": "dspy", "cache": "x", "client": "local", "api_base": "y"}),
        ({"name": "hybrid", "votes": 3}, "a/b", {"name": "hybrid", "votes": 3, "model": "a/b"}),
        ({"name": "oracle"}, "a/b", {"name": "oracle"}),
        ({"name": "balanced"}, None, {"name": "balanced"}),
    ],
)  # fmt: skip
def test_a_model_is_named_where_one_is_asked_and_none_is_named(
    config: Any, model: Any, named: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_GYM_MODEL", "from/env")
    assert name_model(config, model) == named


def test_a_policys_model_is_given_flat_or_as_a_mapping(corpus: str) -> None:
    pytest.importorskip("aiohttp", reason="the lean client needs the extra local")
    env = make_env(corpus=corpus)
    model = {"model": "qwen", "client": "local", "api_base": "http://127.0.0.1:9/v1"}
    flat = make_policy({"name": "llm", **model}, env)
    mapping = make_policy({"name": "llm", "model": model}, env)
    assert flat.name == mapping.name == "llm:qwen"
