"""A step whose reward could not be told moves nothing."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("stable_baselines3", reason="the extra sb3 is not installed")

from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.env_util import make_vec_env

from agent_gym_env.training.unscored import SkipUnscoredSteps


class EverySecondUnscored(gym.Env[Any, Any]):
    """Episodes of one step; the reward of every second one is not valid."""

    observation_space = gym.spaces.Box(-1, 1, (1,))
    action_space = gym.spaces.Discrete(2)

    def __init__(self) -> None:
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin."""
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take a step."""
        self._steps += 1
        valid = self._steps % 2 == 1
        return self.observation_space.sample(), float(valid), True, False, {"reward_valid": valid}


class Look(BaseCallback):
    """Keeps what the rollout buffer holds when a rollout has ended."""

    model: PPO

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        buffer = self.model.rollout_buffer
        self.advantages = buffer.advantages.copy()
        self.surprises = buffer.returns - buffer.values


def test_unscored_steps_have_no_advantage_and_their_value_as_return() -> None:
    model = PPO("MlpPolicy", make_vec_env(EverySecondUnscored, 2), n_steps=8, batch_size=16, seed=0)
    look = Look()
    model.learn(16, CallbackList([SkipUnscoredSteps(), look]))
    assert not look.advantages[1::2].any()
    assert not look.surprises[1::2].any()
    assert np.all(look.advantages[::2] != 0)
