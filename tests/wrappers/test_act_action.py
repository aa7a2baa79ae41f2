"""Actions as numbers of dialogue acts, observations as features."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from agent_gym_env.assembly import make_act_choices, make_env
from agent_gym_env.wrappers import ActAction, ActObservation


@pytest.fixture
def env() -> ActAction:
    inner = make_env(env="SGDSim-v0", understanding="acts")
    return ActAction(inner, make_act_choices(inner, hears="acts"))


def test_masks_agree_and_follow_the_dialogue(env: ActAction) -> None:
    _, info = env.reset(seed=0)
    random, over = np.random.default_rng(0), False
    while not over:
        assert info["action_mask"].dtype == np.int8
        assert info["action_mask"].astype(bool).tolist() == env.action_masks().tolist()
        action = random.choice(np.flatnonzero(env.action_masks()))
        _, _, over, _, info = env.step(action)
    assert not info["action_mask"].any()


def test_a_number_that_is_not_possible_is_an_empty_reply(env: ActAction) -> None:
    env.reset(seed=0)
    impossible = int(np.flatnonzero(~env.action_masks())[0])
    observation, _, _, _, info = env.step(impossible)
    assert info["turn"] == 1
    assert '{"role":"assistant","content":""}' in observation["messages"]


def test_numbers_outside_are_refused(env: ActAction) -> None:
    env.reset(seed=0)
    with pytest.raises(ValueError, match="a number from 0 to 19, not 20"):
        env.step(20)


def test_the_same_seed_and_numbers_give_the_same_features(env: ActAction) -> None:
    features = ActObservation(env)

    def walk() -> list[Any]:
        vector, _ = features.reset(seed=3)
        seen, over = [vector], False
        while not over:
            number = int(np.flatnonzero(env.action_masks())[0])
            vector, _, over, _, _ = features.step(number)
            seen.append(vector)
        return [vector.tolist() for vector in seen]

    assert walk() == walk()


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
def test_gymnasium_accepts_the_wrapped_environment(env: ActAction) -> None:
    check_env(ActObservation(env), skip_render_check=True)


def test_features_need_the_acts(env: ActAction) -> None:
    with pytest.raises(TypeError, match="put ActAction around the env first"):
        ActObservation(env.env)


def test_the_action_space_of_text_is_needed() -> None:
    with pytest.raises(TypeError, match="ActAction wraps an environment whose observation space"):
        ActAction(gym.make("CartPole-v1"), object())  # type: ignore[arg-type]
