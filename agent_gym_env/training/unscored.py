"""What PPO makes of steps whose reward could not be told: nothing."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, cast

import numpy as np

from agent_gym_env.errors import AgentGymError
from agent_gym_env.extras import require

require("stable_baselines3", extra="sb3")
require("sb3_contrib", extra="sb3")

import torch  # noqa: E402
from sb3_contrib.common.maskable.buffers import MaskableRolloutBuffer  # noqa: E402
from stable_baselines3.common.buffers import RolloutBuffer  # noqa: E402
from stable_baselines3.common.callbacks import BaseCallback  # noqa: E402
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm  # noqa: E402


class ScoredRolloutBuffer(RolloutBuffer):
    """Gives minibatches of scored steps only.

    A judge that did not answer is no fault of the agent: the step is in no minibatch, and for the
    steps before it, it earned what the value expected it to. Minibatches are those of
    `RolloutBuffer` where all steps are scored, but for a last one of a single step: a single
    advantage cannot be normalised.

    Attributes:
        is_scored: booleans, shape ``(buffer_size, n_envs)``.
    """

    def reset(self) -> None:
        """Begin a rollout."""
        self.is_scored = np.ones((self.buffer_size, self.n_envs), np.bool_)
        super().reset()

    def compute_returns_and_advantage(self, last_values: torch.Tensor, dones: Any) -> None:
        """Estimate advantages, with rewards of unscored steps that surprise nobody."""
        following = np.vstack((self.values[1:], last_values.numpy().reshape(1, -1)))
        goes_on = ~np.vstack((self.episode_starts[1:], dones)).astype(np.bool_)
        expected = self.values - self.gamma * following * goes_on
        self.rewards = np.where(self.is_scored, self.rewards, expected)
        super().compute_returns_and_advantage(last_values, dones)

    def get(self, batch_size: int | None = None) -> Generator[Any, None, None]:
        """Give minibatches in an order drawn anew."""
        (steps,) = super().get()
        count = len(steps.returns)
        size = batch_size or count
        for begin in range(0, count - 1, size):
            yield type(steps)(*(each[begin : begin + size] for each in steps))

    def _get_samples(self, batch_inds: Any, env: Any = None) -> Any:
        is_scored = self.swap_and_flatten(self.is_scored)[batch_inds, 0]
        return super()._get_samples(batch_inds[is_scored], env)


class ScoredMaskableRolloutBuffer(ScoredRolloutBuffer, MaskableRolloutBuffer):
    """The same with masks of actions."""


class NoteUnscoredSteps(BaseCallback):
    """Tells a `ScoredRolloutBuffer` which steps have no valid reward."""

    model: OnPolicyAlgorithm

    @property
    def _buffer(self) -> ScoredRolloutBuffer:
        return cast(ScoredRolloutBuffer, self.model.rollout_buffer)

    def _on_step(self) -> bool:
        infos = self.locals["infos"]
        self._buffer.is_scored[self._buffer.pos] = [info["reward_valid"] for info in infos]
        return True

    def _on_rollout_end(self) -> None:
        is_scored = self._buffer.is_scored
        if is_scored.sum() < 2:
            raise AgentGymError(
                f"{is_scored.sum()} of the {is_scored.size} steps of a rollout have a valid "
                "reward, too few to learn from; does the reward's judge answer?"
            )
