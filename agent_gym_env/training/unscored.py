"""What PPO makes of turns whose reward could not be told: nothing."""

from __future__ import annotations

import numpy as np

from agent_gym_env.extras import require

require("stable_baselines3", extra="sb3")

from stable_baselines3.common.callbacks import BaseCallback  # noqa: E402
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm  # noqa: E402


class SkipUnscoredSteps(BaseCallback):
    """Gives steps without a valid reward no advantage and their own value as return.

    A judge that did not answer is no fault of the agent: such a step moves neither policy nor
    value.
    """

    model: OnPolicyAlgorithm

    def _on_rollout_start(self) -> None:
        buffer = self.model.rollout_buffer
        self._unscored = np.zeros((buffer.buffer_size, buffer.n_envs), np.bool_)

    def _on_step(self) -> bool:
        infos = self.locals["infos"]
        place = self.model.rollout_buffer.pos
        self._unscored[place] = [not info["reward_valid"] for info in infos]
        return True

    def _on_rollout_end(self) -> None:
        buffer = self.model.rollout_buffer
        buffer.advantages[self._unscored] = 0.0
        buffer.returns[self._unscored] = buffer.values[self._unscored]
