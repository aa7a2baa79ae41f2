"""Parts for stable-baselines3: the candidate network as a policy, and buffers of scored steps."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, cast

import numpy as np

from agent_gym_env.errors import AgentGymError
from agent_gym_env.extras import require
from agent_gym_env.policies.sb3_file import Shape

require("stable_baselines3", extra="sb3")
require("sb3_contrib", extra="sb3")

import torch  # noqa: E402
from sb3_contrib.common.maskable.buffers import MaskableRolloutBuffer  # noqa: E402
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy  # noqa: E402
from stable_baselines3.common.buffers import RolloutBuffer  # noqa: E402
from stable_baselines3.common.callbacks import BaseCallback  # noqa: E402
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm  # noqa: E402
from stable_baselines3.common.policies import ActorCriticPolicy  # noqa: E402
from stable_baselines3.common.type_aliases import Schedule  # noqa: E402
from torch import nn  # noqa: E402


class CandidateActorCritic(ActorCriticPolicy):
    """Scores candidates. It has to learn that an action without a candidate is silence.

    Args:
        shape: sizes of the network.
    """

    def __init__(self, *args: Any, shape: Shape, **kwargs: Any) -> None:
        self._shape = shape
        super().__init__(*args, **kwargs)

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = self._shape.network()  # type: ignore[assignment]  # of that shape

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        _take_scores_as_logits(self, lr_schedule)


class MaskableCandidateActorCritic(MaskableActorCriticPolicy):
    """Scores candidates. An action without a candidate is never drawn.

    Args:
        shape: sizes of the network.
    """

    def __init__(self, *args: Any, shape: Shape, **kwargs: Any) -> None:
        self._shape = shape
        super().__init__(*args, **kwargs)

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = self._shape.network()  # type: ignore[assignment]  # of that shape

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        _take_scores_as_logits(self, lr_schedule)


def _take_scores_as_logits(
    policy: CandidateActorCritic | MaskableCandidateActorCritic, lr_schedule: Schedule
) -> None:
    """Remove the linear layer that would mix the scores of different candidates."""
    policy.action_net = nn.Identity()
    policy.optimizer = policy.optimizer_class(
        policy.parameters(),
        lr=lr_schedule(1),  # type: ignore[call-arg]  # every optimizer of torch has it
        **policy.optimizer_kwargs,
    )


class ScoredRolloutBuffer(RolloutBuffer):
    """A rollout buffer whose minibatches contain scored steps only.

    A step whose judge did not answer is in no minibatch, because the agent is not at fault. For the
    advantages of earlier steps, it counts with the reward that the value function expects. If all
    steps are scored, the minibatches are those of `RolloutBuffer`, except that a last minibatch of
    one step is left out: a single advantage cannot be normalised.

    Attributes:
        is_scored: booleans of the steps, shape ``(buffer_size, n_envs)``.
    """

    def reset(self) -> None:
        """Begin a rollout."""
        self.is_scored = np.ones((self.buffer_size, self.n_envs), np.bool_)
        super().reset()

    def compute_returns_and_advantage(self, last_values: torch.Tensor, dones: Any) -> None:
        """Estimate advantages, with the expected reward for each unscored step."""
        following = np.vstack((self.values[1:], last_values.numpy().reshape(1, -1)))
        goes_on = ~np.vstack((self.episode_starts[1:], dones)).astype(np.bool_)
        expected = self.values - self.gamma * following * goes_on
        self.rewards = np.where(self.is_scored, self.rewards, expected)
        super().compute_returns_and_advantage(last_values, dones)

    def get(self, batch_size: int | None = None) -> Generator[Any, None, None]:
        """Yield minibatches in a new random order."""
        (steps,) = super().get()
        count = len(steps.returns)
        size = batch_size or count
        for begin in range(0, count - 1, size):
            yield type(steps)(*(each[begin : begin + size] for each in steps))

    def _get_samples(self, batch_inds: Any, env: Any = None) -> Any:
        is_scored = self.swap_and_flatten(self.is_scored)[batch_inds, 0]
        return super()._get_samples(batch_inds[is_scored], env)


class ScoredMaskableRolloutBuffer(ScoredRolloutBuffer, MaskableRolloutBuffer):
    """`ScoredRolloutBuffer` with action masks."""


class NoteUnscoredSteps(BaseCallback):
    """Callback that marks the steps without a valid reward in a `ScoredRolloutBuffer`."""

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
                f"only {is_scored.sum()} of the {is_scored.size} steps of a rollout have a valid "
                "reward, expected at least 2; check that the reward's judge answers"
            )
