"""The candidate network as a policy of stable-baselines3, plain and masked."""

from __future__ import annotations

from typing import Any

from agent_gym_env.extras import require
from agent_gym_env.policies.sb3_model import Shape

require("stable_baselines3", extra="sb3")
require("sb3_contrib", extra="sb3")

from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy  # noqa: E402
from stable_baselines3.common.policies import ActorCriticPolicy  # noqa: E402
from stable_baselines3.common.type_aliases import Schedule  # noqa: E402
from torch import nn  # noqa: E402


class CandidateActorCritic(ActorCriticPolicy):
    """Scores candidates; the numbers without one have to be learnt to be silence.

    Args:
        shape: of the network.
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
    """Scores candidates; the numbers without one are never drawn.

    Args:
        shape: of the network.
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
    """Leave out the linear layer that would mix the scores of different candidates."""
    policy.action_net = nn.Identity()
    policy.optimizer = policy.optimizer_class(
        policy.parameters(),
        lr=lr_schedule(1),  # type: ignore[call-arg]  # every optimizer of torch has one
        **policy.optimizer_kwargs,
    )
