"""What a run of group relative policy optimisation is."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from agent_gym_env.training.training_config import (
    AtLeastOne,
    FromZero,
    Positive,
    TrainingConfig,
)

AtLeastTwo = Annotated[int, msgspec.Meta(ge=2)]


class GRPOConfig(TrainingConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Reinforcement learning in ``SGD-v0``, against the mean of a group; see `TrainingConfig` too.

    ``batch_size`` times ``gradient_accumulation`` is the number of plays of a step: a multiple of
    ``generations``.

    Attributes:
        algorithm: ``grpo``, group relative policy optimisation (Shao et al., 2024), which divides
            an advantage by the spread of its group; or ``rloo``, REINFORCE with the mean of the
            others as baseline (Ahmadian et al., 2024), which does not.
        env: arguments of ``SGD-v0`` other than split and reward.
        reward: as in ``SGD-v0``.
        turns: of the agent that are played from a row's state; ``None`` to the dialogue's end. The
            reward is their mean.
        generations: plays from one state, which make a group.
        temperature: of sampling.
        max_new_tokens: of a message of the assistant.
        beta: weight of the divergence from the model that is trained; 0 keeps no copy of that.
        plays_at_once: messages that are written at once.
        evaluated: rows that are held out are played before and after the training: at most so many,
            evenly spread.
    """

    learning_rate: Positive = 1e-6
    gradient_accumulation: AtLeastOne = 8
    algorithm: Literal["grpo", "rloo"] = "grpo"
    env: dict[str, Any] = msgspec.field(default_factory=dict)
    reward: str | dict[str, Any] = "balanced"
    turns: AtLeastOne | None = 1
    generations: AtLeastTwo = 8
    temperature: Positive = 1.0
    max_new_tokens: AtLeastOne = 192
    beta: FromZero = 0.0
    plays_at_once: AtLeastOne = 64
    evaluated: AtLeastOne = 200

    def __post_init__(self) -> None:
        """Check what depends on each other.

        Raises:
            ValueError: a step's plays are no whole number of groups.
        """
        plays = self.batch_size * self.gradient_accumulation
        if plays % self.generations:
            raise ValueError(
                f"batch_size * gradient_accumulation = {plays} is the number of plays of a step; "
                f"expected a multiple of generations={self.generations}"
            )
