"""The baselines keep the environment's contract: else the ratios would compare unlike things."""

from __future__ import annotations

import json

import gymnasium as gym
from gymnasium.utils.env_checker import check_env

from agent_gym_env.corpus.locations import sample_path
from agent_gym_env.envs.dialogue import SGDEnv
from benchmarks.baselines import NAIVE
from benchmarks.rows import do_nothing_like


def test_doing_nothing_keeps_gymnasiums_contract() -> None:
    check_env(do_nothing_like(gym.make("SGD-v0")).unwrapped)


def test_doing_nothing_has_the_observation_and_info_of_the_environment() -> None:
    env = gym.make("SGD-v0")
    nothing = do_nothing_like(env)
    assert nothing.reset() == env.reset(seed=0)
    assert nothing.observation_space == env.observation_space
    assert nothing.action_space == env.action_space


def test_the_naive_design_sees_and_pays_what_the_environment_does() -> None:
    env = SGDEnv(split="dev")
    naive = gym.make(NAIVE, corpus=str(sample_path()), split="dev")
    for dialogue_id in env.split.dialogue_ids()[:5]:
        options = {"dialogue_id": dialogue_id}
        observation, info = env.reset(options=options)
        naive_observation, naive_info = naive.reset(options=options)
        over = False
        while not over:
            assert naive_observation["user"] == observation["user"]
            assert naive_info.keys() == info.keys()
            recorded = env.recorded_action()
            calls = [{"name": c.name, "arguments": c.arguments} for c in recorded.tool_calls]
            action = {"text": recorded.text, "tool_calls": json.dumps(calls) if calls else ""}
            observation, reward, over, _, info = env.step(action)
            naive_observation, naive_reward, naive_over, _, naive_info = naive.step(action)
            assert (naive_reward, naive_over) == (reward, over)
