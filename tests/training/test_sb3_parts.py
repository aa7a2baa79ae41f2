"""A step whose reward could not be told moves nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("stable_baselines3", reason="the extra sb3 is not installed")
pytest.importorskip("sb3_contrib", reason="the extra sb3 is not installed")

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.env_util import make_vec_env

from agent_gym_env.errors import AgentGymError
from agent_gym_env.training.sb3_parts import NoteUnscoredSteps, ScoredRolloutBuffer

Seen = NDArray[np.float32]


class CallAndReply(gym.Env[Seen, np.int64]):
    """Episodes of two steps, of which only the second is rewarded, with a valid reward or not.

    What is seen is the number of the step, and whether the reward of this step will be valid.

    Args:
        is_scored: says of each episode, by its number, whether it is scored.
        unscored: the reward that comes with the note that it is not valid.
    """

    observation_space = gym.spaces.Box(0, 1, (2,))
    action_space = gym.spaces.Discrete(2)

    def __init__(self, is_scored: Callable[[int], bool], unscored: float = 0.0) -> None:
        self._is_scored = is_scored
        self._unscored = unscored
        self._episode = -1

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Seen, dict[str, Any]]:
        """Begin."""
        super().reset(seed=seed)
        self._episode += 1
        self._step = 0
        return self._seen(), {}

    def step(self, action: np.int64) -> tuple[Seen, float, bool, bool, dict[str, Any]]:
        """Take a step."""
        valid = bool(self._seen()[1])
        self._step += 1
        over = self._step == 2
        reward = (float(action) if valid else self._unscored) if over else 0.0
        return self._seen(), reward, over, False, {"reward_valid": valid}

    def _seen(self) -> Seen:
        return np.array([self._step, self._step != 1 or self._is_scored(self._episode)], np.float32)


def every_second(episode: int) -> bool:
    return episode % 2 == 0


def always(episode: int) -> bool:
    return True


def never(episode: int) -> bool:
    return False


def learned(
    is_scored: Callable[[int], bool],
    *,
    unscored: float = 0.0,
    buffer: type[RolloutBuffer] = ScoredRolloutBuffer,
    **options: Any,
) -> PPO:
    """Learn from one rollout of 16 steps in each of two environments."""
    env = make_vec_env(lambda: CallAndReply(is_scored, unscored), 2)
    settings = {"n_steps": 16, "batch_size": 8, "n_epochs": 2, "seed": 0, "ent_coef": 0.01}
    model = PPO("MlpPolicy", env, rollout_buffer_class=buffer, **{**settings, **options})
    model.policy.value_net.bias.data.fill_(0.5)
    model.learn(32, NoteUnscoredSteps() if buffer is ScoredRolloutBuffer else None)
    return model


def weights(model: PPO) -> list[torch.Tensor]:
    return list(model.policy.state_dict().values())


def test_unscored_steps_are_in_no_minibatch() -> None:
    batches = list(learned(every_second).rollout_buffer.get(5))
    # Of 16 episodes 8 have an unscored reply.
    assert [len(batch.returns) for batch in batches] == [5, 5, 5, 5, 4]
    assert all(batch.observations[:, 1].all() for batch in batches)


def test_the_number_that_stands_for_a_missing_reward_does_not_matter() -> None:
    one, other = (weights(learned(every_second, unscored=number)) for number in (0.0, 99.0))
    assert all(map(torch.equal, one, other))


def test_the_call_before_an_unscored_reply_is_not_charged_for_it() -> None:
    model = learned(never, gamma=0.5)
    buffer = model.rollout_buffer
    calls = next(buffer.get())
    replies = buffer.values[buffer.observations[:, 0] == 1]
    # As if the reply earned what was expected of it: no more than its value is left, discounted.
    assert len(calls.returns) == len(replies) == 16
    assert float(calls.returns.sum()) == pytest.approx(0.5 * replies.sum(), rel=1e-5)


def test_where_all_is_scored_it_learns_what_stable_baselines3_learns() -> None:
    ours, theirs = (learned(always, buffer=each) for each in (ScoredRolloutBuffer, RolloutBuffer))
    assert all(map(torch.equal, weights(ours), weights(theirs)))


def test_a_step_that_is_left_over_is_in_no_minibatch() -> None:
    # 32 steps in batches of 31: alone, the last one has no spread to normalise its advantage by.
    (batch,) = learned(always).rollout_buffer.get(31)
    assert len(batch.returns) == 31


class NeverScored(CallAndReply):
    """Episodes of which no step is scored."""

    def step(self, action: np.int64) -> tuple[Seen, float, bool, bool, dict[str, Any]]:
        """Take a step."""
        *step, _ = super().step(action)
        return (*step, {"reward_valid": False})  # type: ignore[return-value]


def test_a_rollout_without_scores_ends_the_run() -> None:
    env = make_vec_env(lambda: NeverScored(never), 2)
    model = PPO("MlpPolicy", env, n_steps=4, batch_size=8, rollout_buffer_class=ScoredRolloutBuffer)
    with pytest.raises(AgentGymError, match="0 of the 8 steps of a rollout have a valid reward"):
        model.learn(8, NoteUnscoredSteps())
