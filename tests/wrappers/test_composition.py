"""The wrappers combine with Gymnasium's, and pass the checks of the libraries."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as check_with_gymnasium
from gymnasium.wrappers import RecordEpisodeStatistics, TimeLimit, TransformReward

from agent_gym_env.wrappers import (
    CandidateAction,
    DialogueSubset,
    EncodeObservation,
    SelectInfo,
    TextAction,
    TextObservation,
    TurnEpisodes,
)
from tests.corpora import TRAIN
from tests.wrappers.conftest import Make
from tests.wrappers.scripted_source import ScriptedSource

Env = gym.Env[Any, Any]
IDS = [dialogue.dialogue_id for dialogue in TRAIN]


def numbers(env: Env) -> Env:
    return EncodeObservation(CandidateAction(env, ScriptedSource(), k=4))


def tried(env: Env) -> Env:
    return EncodeObservation(CandidateAction(TurnEpisodes(env, tries=2), ScriptedSource(), k=4))


def text(env: Env) -> Env:
    return TextAction(TextObservation(env))


def held_out(env: Env) -> Env:
    return numbers(DialogueSubset(env, IDS[:2]))


STACKS = [numbers, tried, text, held_out]
NUMERIC = [numbers, tried, held_out]


@pytest.mark.parametrize("stack", STACKS)
def test_gymnasiums_own_wrappers_go_around(make: Make, stack: Callable[[Env], Env]) -> None:
    transformed = TransformReward(stack(make(reward="balanced")), lambda reward: 2 * reward + 1)  # type: ignore[operator]
    env = RecordEpisodeStatistics(TimeLimit(transformed, max_episode_steps=3))
    env.reset(seed=0)
    env.action_space.seed(0)
    rewards, terminated, truncated = [], False, False
    while not (terminated or truncated):
        _, reward, terminated, truncated, info = env.step(env.action_space.sample())
        rewards.append(float(reward))
    assert len(rewards) <= 3
    assert info["episode"]["l"] == len(rewards)
    assert info["episode"]["r"] == pytest.approx(sum(rewards))
    assert all(1 <= reward <= 3 for reward in rewards)


@pytest.mark.parametrize("stack", [numbers, text, held_out])
def test_gymnasiums_own_wrappers_go_inside(make: Make, stack: Callable[[Env], Env]) -> None:
    inner = TransformReward(TimeLimit(make(), max_episode_steps=1), lambda _: 7.0)
    env = stack(RecordEpisodeStatistics(inner))
    env.reset(seed=0, options={"dialogue_id": IDS[0]})
    env.action_space.seed(0)
    _, reward, terminated, truncated, info = env.step(env.action_space.sample())
    assert (reward, terminated, truncated, info["episode"]["l"]) == (7.0, False, True, 1)


@pytest.mark.parametrize("stack", STACKS)
def test_the_same_seed_gives_the_same_episodes(make: Make, stack: Callable[[Env], Env]) -> None:
    def played() -> list[Any]:
        env = stack(make(reward="balanced"))
        seen: list[Any] = [env.reset(seed=3)]
        env.action_space.seed(3)
        for _ in range(20):
            step = env.step(env.action_space.sample())
            seen.append(step)
            if step[2]:
                seen.append(env.reset())
        return seen

    np.testing.assert_equal(played(), played())


@pytest.mark.parametrize("stack", STACKS)
def test_gymnasiums_checker_is_content(make: Make, stack: Callable[[Env], Env]) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version")
        check_with_gymnasium(stack(make()), skip_render_check=True)


@pytest.mark.parametrize("stack", NUMERIC)
def test_stable_baselines3s_checker_is_content(make: Make, stack: Callable[[Env], Env]) -> None:
    checker = pytest.importorskip(
        "stable_baselines3.common.env_checker", reason="the extra sb3 is not installed"
    )
    checker.check_env(stack(make(reward="balanced")))


def test_the_spec_tells_which_wrappers_there_are(make: Make) -> None:
    env = SelectInfo(TextObservation(make()), ["turn"])
    assert env.spec is not None
    wrappers = env.spec.additional_wrappers
    assert [wrapper.name for wrapper in wrappers] == ["TextObservation", "SelectInfo"]
    remade = gym.make(env.spec)
    assert remade.observation_space == env.observation_space
