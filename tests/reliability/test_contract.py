"""SGD-v0 keeps Gymnasium's contract in every configuration, without a warning."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import RecordEpisodeStatistics, TimeLimit, TransformReward

import agent_gym_env
from agent_gym_env.corpus.sgd import SCHEMA_VARIANTS, SPLITS
from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.testing import check_env
from tests.reliability.playing import LONG, Mischief, trace

REWARDS = ("ground_truth", "balanced")
CONFIGURATION: dict[str, Any] = {
    "corpus": "sample",
    "split": "dev",
    "services": None,
    "seen": "seen",
    "schema_variant": None,
    "reward": {"name": "balanced"},
    "tools_offered": "all",
    "max_tool_calls_per_turn": 2,
    "render_mode": "ansi",
}


@pytest.mark.parametrize("variant", [None, *SCHEMA_VARIANTS])
@pytest.mark.parametrize("tools_offered", ["dialogue", "all"])
@pytest.mark.parametrize("reward", REWARDS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_environment_keeps_its_promises_on_the_sample_corpus(
    split: str, reward: str, tools_offered: str, variant: str | None
) -> None:
    env = gym.make(
        "SGD-v0",
        split=split,
        reward=reward,
        tools_offered=tools_offered,
        schema_variant=variant,
        render_mode="ansi",
    )
    check_env(env, episodes=1)


@pytest.mark.parametrize("variant", [None, *SCHEMA_VARIANTS] if LONG else [None])
@pytest.mark.parametrize("reward", REWARDS if LONG else REWARDS[:1])
@pytest.mark.parametrize("split", SPLITS if LONG else ["dev"])
def test_the_environment_keeps_its_promises_on_sgd(
    sgd_path: Path, split: str, reward: str, variant: str | None
) -> None:
    env = gym.make(
        "SGD-v0", corpus=str(sgd_path), split=split, reward=reward, schema_variant=variant
    )
    check_env(env)


def test_every_step_passes_the_passive_checker() -> None:
    env = gym.make("SGD-v0")
    choose = Mischief(0)
    bare = env.unwrapped
    assert isinstance(bare, SGDEnv)
    for seed in range(10):
        observation, _ = env.reset(seed=seed)
        over = False
        while not over:
            observation, _, over, _, _ = env.step(choose(bare, observation))
            assert env.observation_space.contains(observation)


def test_an_environment_is_made_again_from_its_spec_as_json() -> None:
    env = gym.make("SGD-v0", max_episode_steps=7, **CONFIGURATION)
    assert env.spec is not None
    text = env.spec.to_json()
    assert json.loads(text)["kwargs"] == CONFIGURATION
    again = gym.make(EnvSpec.from_json(text))
    assert again.spec == env.spec
    assert again.reset(seed=5) == env.reset(seed=5)


def test_an_environment_is_made_again_from_its_pickled_spec() -> None:
    env = gym.make("SGD-v0", **CONFIGURATION)
    again = gym.make(pickle.loads(pickle.dumps(env.spec)))
    assert again.reset(seed=5) == env.reset(seed=5)


@pytest.mark.parametrize("copied", [lambda env: pickle.loads(pickle.dumps(env)), copy.deepcopy])
def test_a_copied_environment_goes_on_as_the_first(copied: Any) -> None:
    env = SGDEnv(**CONFIGURATION)
    env.reset(seed=5)
    env.step("Hi.")
    twin = copied(env)
    for given, expected in zip(
        trace(twin, Mischief(1), episodes=2), trace(env, Mischief(1), episodes=2), strict=True
    ):
        assert given == expected


def test_an_environment_can_be_closed_twice() -> None:
    env = gym.make("SGD-v0")
    env.reset()
    env.close()
    env.close()


def test_gymnasium_s_wrappers_compose() -> None:
    env: gym.Env[Any, Any] = TransformReward(
        RecordEpisodeStatistics(TimeLimit(gym.make("SGD-v0", reward="balanced"), 3)),
        lambda reward: 10 * float(reward),
    )
    env.reset(seed=0)
    rewards = []
    truncated = False
    while not truncated:
        _, reward, _, truncated, info = env.step("Yes, of course.")
        rewards.append(float(reward))
    assert len(rewards) == info["episode"]["l"] == 3
    assert info["episode"]["r"] == pytest.approx(sum(rewards) / 10)


def test_importing_the_package_registers_the_environment() -> None:
    assert agent_gym_env.__version__
    assert gym.spec("SGD-v0").vector_entry_point is not None
