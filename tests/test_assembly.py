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
