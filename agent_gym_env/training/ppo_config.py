"""Settings of a PPO run: everything that its result depends on."""

from __future__ import annotations

from typing import Annotated, get_args

import msgspec

from agent_gym_env.policies.sb3_file import Shape
from agent_gym_env.suggestions import unknown_name
from agent_gym_env.training.act_envs import ActEnvsConfig, Teacher
from agent_gym_env.training.candidate_envs import CandidateEnvsConfig

AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]
AtLeastTwo = Annotated[int, msgspec.Meta(ge=2)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Rate = Annotated[float, msgspec.Meta(gt=0, le=1)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class CloningConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of behaviour cloning, with which a run begins.

    Attributes:
        dialogues: number of demonstrated dialogues; 0 for no cloning.
        epochs: passes over the demonstrations.
        learning_rate: learning rate of Adam.
    """

    dialogues: NotNegative = 400
    epochs: AtLeastOne = 4
    learning_rate: Rate = 1e-3


class EvaluationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the learning curve.

    Attributes:
        split: split that is played.
        dialogues: number of dialogues, evenly spread over the split; the same for every point.
        every: steps between two points. The curve always has the first and the last point.
    """

    split: str = "dev"
    dialogues: AtLeastOne = 50
    every: AtLeastOne = 20_000


class PPOSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings that every PPO run has.

    Settings of stable-baselines3 have the names that they have there.

    Attributes:
        cloning: settings of behaviour cloning.
        evaluation: settings of the learning curve.
        total_timesteps: steps of all environments together, rounded up to whole rollouts; 0 for
            cloning alone.
        n_envs: number of environments that are played side by side.
        n_steps: steps of each environment between two updates.
        batch_size: steps in one step of the optimizer; a last batch of one step is left out.
        n_epochs: passes over a rollout.
        learning_rate: first learning rate of Adam; it falls linearly to 0.
        gamma: discount.
        gae_lambda: lambda of the generalised advantage estimate.
        clip_range: clipping range of the policy's ratio.
        ent_coef: weight of the entropy.
        checkpoint_every: steps between two checkpoints.
        seed: seed of every random draw.
    """

    cloning: CloningConfig = CloningConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
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
        """Check settings that depend on each other.

        Raises:
            ValueError: a rollout has one step.
        """
        if self.n_envs * self.n_steps < 2:
            raise ValueError("n_envs * n_steps must be at least 2, not 1")


class PPOConfig(PPOSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a PPO run over candidates; equal settings give the same policy, bit for bit.

    Attributes:
        world: settings of the environments.
        shape: sizes of the network and of its input.
        masked: use ``MaskablePPO``, which draws among the candidates only; otherwise ``PPO``,
            which has to learn that an action without a candidate is silence.
        tries: number of times that each turn is played, as a separate episode, before the dialogue
            continues; ``None`` for dialogues as episodes.
    """

    world: CandidateEnvsConfig = CandidateEnvsConfig()
    shape: Shape = Shape()
    masked: bool = True
    tries: AtLeastOne | None = 8

    def __post_init__(self) -> None:
        """Check settings that depend on each other.

        Raises:
            ValueError: a rollout has one step, or the shape has no encoder.
        """
        super().__post_init__()
        if self.shape.ngrams is None:
            raise ValueError("shape.ngrams must not be null: a run encodes texts by hashed n-grams")


class ActPPOConfig(PPOSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a PPO run over dialogue acts in ``SGDSim-v0``.

    Equal settings give the same policy, bit for bit. An episode is a whole dialogue.

    Attributes:
        world: settings of the environments, and of what the agent hears.
        hidden: number of units of each of the two hidden layers.
        cloning: settings of behaviour cloning: the policy imitates its teacher in so many dialogues
            of train, or in all if there are fewer.
        teacher: who is imitated. ``recorded``: the recorded agent, without noise. ``rules``: the
            rule-based agent, in the run's own environment and with its noise; it hears what the
            policy hears, so it is ``acts-oracle`` or ``rule``. Dialogues that it does not solve are
            imitated, too.
        critic_updates: number of first updates in which only the estimate of the value is learned.
            A policy that was cloned would be spoiled by an estimate that knows nothing yet.
    """

    world: ActEnvsConfig = ActEnvsConfig()
    hidden: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 128
    cloning: CloningConfig = CloningConfig(dialogues=400, epochs=30)
    teacher: Teacher = "recorded"
    evaluation: EvaluationConfig = EvaluationConfig(dialogues=300, every=100_000)
    critic_updates: NotNegative = 5
    total_timesteps: NotNegative = 400_000
    n_envs: AtLeastOne = 128
    n_steps: AtLeastOne = 64
    batch_size: AtLeastTwo = 2048
    n_epochs: AtLeastOne = 4
    checkpoint_every: AtLeastOne = 100_000

    def __post_init__(self) -> None:
        """Check settings that depend on each other.

        Raises:
            ValueError: a rollout has one step, the policy would never be improved, or the teacher
                is unknown.
        """
        super().__post_init__()
        if self.teacher not in get_args(Teacher):
            raise ValueError(unknown_name("teacher", self.teacher, get_args(Teacher)))
        alone = self.critic_updates * self.n_envs * self.n_steps
        if self.cloning.dialogues and 0 < self.total_timesteps <= alone:
            raise ValueError(
                f"total_timesteps is {self.total_timesteps:,}, but for the first {alone:,} steps "
                "(critic_updates * n_envs * n_steps) a clone does not change: make it larger, or "
                "critic_updates or n_envs smaller"
            )
