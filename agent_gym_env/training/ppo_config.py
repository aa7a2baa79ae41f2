"""What a PPO run is: everything that its result depends on."""

from __future__ import annotations

from typing import Annotated

import msgspec

from agent_gym_env.policies.sb3_model import Shape
from agent_gym_env.training.candidate_world import WorldConfig

AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]
AtLeastTwo = Annotated[int, msgspec.Meta(ge=2)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Rate = Annotated[float, msgspec.Meta(gt=0, le=1)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class CloningConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The warm start.

    Attributes:
        dialogues: how many are shown; 0 for a start from nothing.
        epochs: how often each situation is seen.
        learning_rate: of Adam.
    """

    dialogues: NotNegative = 400
    epochs: AtLeastOne = 4
    learning_rate: Rate = 1e-3


class EvaluationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The points of the learning curve.

    Attributes:
        split: is played.
        dialogues: how many, the same each time, evenly spread over the split.
        every: steps between two points; the first and the last point are always there.
    """

    split: str = "dev"
    dialogues: AtLeastOne = 50
    every: AtLeastOne = 20_000


class PPOConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A training run; the same configuration gives the same policy, bit for bit.

    What stable-baselines3 has too goes by its name there.

    Attributes:
        world: what is played.
        shape: of the network, and what it sees.
        masked: ``MaskablePPO``, which draws among the candidates that there are; else ``PPO``,
            which has to learn that a number without a candidate is silence.
        cloning: the warm start.
        evaluation: the points of the learning curve.
        tries: how often each turn is played, as an episode of its own, before the dialogue goes on;
            ``None`` for dialogues as episodes.
        total_timesteps: of all environments together; whole rollouts are taken. 0 for cloning
            alone.
        n_envs: how many environments are played side by side.
        n_steps: of each environment between two updates.
        batch_size: of one step of the optimizer; a last batch of a single step is left out.
        n_epochs: passes over a rollout.
        learning_rate: of Adam at the begin; it falls linearly to 0.
        gamma: discount.
        gae_lambda: of the generalised advantage estimate.
        clip_range: of the policy's ratio.
        ent_coef: weight of the entropy.
        checkpoint_every: steps between two checkpoints.
        seed: of everything that is drawn.
    """

    world: WorldConfig = WorldConfig()
    shape: Shape = Shape()
    masked: bool = True
    cloning: CloningConfig = CloningConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    tries: AtLeastOne | None = 8
    total_timesteps: NotNegative = 100_000
    n_envs: AtLeastOne = 16
    n_steps: AtLeastOne = 128
    batch_size: AtLeastTwo = 64
    n_epochs: AtLeastOne = 10
    learning_rate: Rate = 3e-4
    gamma: Share = 1.0
    gae_lambda: Share = 0.95
    clip_range: Positive = 0.2
    ent_coef: Annotated[float, msgspec.Meta(ge=0)] = 0.005
    checkpoint_every: AtLeastOne = 20_000
    seed: NotNegative = 0

    def __post_init__(self) -> None:
        """Refuse what no run can be made of.

        Raises:
            ValueError: it cannot be.
        """
        if self.n_envs * self.n_steps < 2:
            raise ValueError("n_envs * n_steps is 1, at least 2 steps are needed to learn from")
        if self.shape.ngrams is None:
            raise ValueError("shape.ngrams is null, but a run encodes texts by hashed n-grams")
