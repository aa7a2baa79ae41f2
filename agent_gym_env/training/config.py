"""Settings of the trainers of language models, and the callbacks that every trainer takes.

A trainer's ``--config`` on the command line takes any of its settings as JSON, under these names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec

from agent_gym_env.registry import DEFAULT_REWARDS
from agent_gym_env.suggestions import unknown_name

OnProgress = Callable[[str, int, int], None]
"""Called with the name of the current phase, and how many of its steps are done and in total."""

OnMeasured = Callable[[Mapping[str, float]], None]
"""Called with new measurements by name, such as ``loss``."""

AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
AtLeastTwo = Annotated[int, msgspec.Meta(ge=2)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
FromZero = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Paths = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]

ENVIRONMENTS = tuple(DEFAULT_REWARDS)
"""Environments that a language model can play in training."""

TINY = "tiny"
"""As `SFTConfig.model`: train a small new model from scratch, which needs no download."""


class LoRA(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Low-rank adapters beside frozen weights (Hu et al., 2021).

    Attributes:
        rank: rank of an adapter.
        alpha: an adapter's output is scaled by ``alpha / rank``.
        dropout: dropout before an adapter.
        targets: names of the modules that get an adapter, or ``"all-linear"``.
    """

    rank: AtLeastOne = 16
    alpha: AtLeastOne = 32
    dropout: Share = 0.0
    targets: str | tuple[str, ...] = "all-linear"


class TrainingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings that SFT, DPO and GRPO share: the model, the rows and the optimizer's steps.

    Attributes:
        model: a folder in Hugging Face's layout, the name of a model that ``agent-gym models
            fetch`` has fetched, or a name on the hub.
        chat_template: path of a template, or one of ours, ``hermes``, ``compact`` or
            ``signatures``; ``None`` for the model's own template, or ``hermes`` if that does not
            support tools.
        rows: files that ``agent-gym export`` wrote.
        held_out: files of rows of other dialogues, to measure on; may be empty.
        learning_rate: highest learning rate of AdamW.
        epochs: passes over the rows; ignored if ``max_steps`` is set.
        max_steps: steps of the optimizer; ``None`` for as many as the epochs make.
        batch_size: rows in one batch on one device.
        gradient_accumulation: batches that make one step.
        max_length: longest row, in tokens. Longer rows are left out, and the report has their
            share.
        schedule: course of the learning rate after the warmup.
        warmup: share of the steps over which the learning rate rises from 0.
        weight_decay: weight decay of AdamW.
        max_grad_norm: norm to which gradients are clipped.
        lora: adapters to train and then merge into the weights; ``None`` to train all weights.
        bf16: multiply matrices in bfloat16; ``None`` to do so on a GPU only. Some CPUs are twice
            as fast with it, others much slower.
        gradient_checkpointing: halve the memory of activations, for a third more time.
        log_every: steps between two lines of ``metrics.jsonl``.
        eval_every: steps between two measurements on ``held_out``; ``None`` to measure at the end
            only.
        save_every: steps between two checkpoints.
        seed: seed of every random draw.
    """

    model: str
    rows: Paths
    held_out: tuple[str, ...] = ()
    chat_template: str | None = None
    learning_rate: Positive = 1e-4
    epochs: Positive = 1.0
    max_steps: AtLeastOne | None = None
    batch_size: AtLeastOne = 8
    gradient_accumulation: AtLeastOne = 1
    max_length: AtLeastOne = 2048
    schedule: Literal["linear", "cosine", "constant_with_warmup"] = "cosine"
    warmup: Share = 0.03
    weight_decay: FromZero = 0.0
    max_grad_norm: Positive = 1.0
    lora: LoRA | None = None
    bf16: bool | None = None
    gradient_checkpointing: bool = False
    log_every: AtLeastOne = 10
    eval_every: AtLeastOne | None = 200
    save_every: AtLeastOne = 200
    seed: NotNegative = 0


class TinyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A small decoder that is trained from scratch, and its tokenizer.

    Attributes:
        vocabulary: number of tokens, of which 256 are bytes.
        width: width of the residual stream; a multiple of twice the heads.
        layers: number of layers.
        convolutions: make every second layer a short convolution (LFM2's architecture), which
            learns to copy much sooner. Otherwise all layers are attention (Qwen2's architecture),
            whose keys and values can be kept between turns.
        heads: number of attention heads.
        context: longest conversation, in tokens.
        result_characters: longest tool result that the model reads; the rest is cut off.
        tokenizer_rows: largest number of conversations that the tokenizer is trained on, evenly
            spread over the rows.
        practice: steps in which a model with convolutions practises copying before it sees a
            conversation; see `agent_gym_env.training.copying`.
        seed: seed of the first weights and of the practice.
    """

    vocabulary: Annotated[int, msgspec.Meta(ge=300)] = 4096
    width: AtLeastOne = 128
    layers: AtLeastOne = 4
    convolutions: bool = True
    heads: AtLeastOne = 2
    context: AtLeastOne = 2048
    result_characters: AtLeastOne = 320
    tokenizer_rows: AtLeastOne = 2048
    practice: NotNegative = 60
    seed: int = 0

    def __post_init__(self) -> None:
        if self.width % (2 * self.heads):
            raise ValueError(
                f"width must be a multiple of twice the heads ({2 * self.heads}), not {self.width}"
            )


class SFTConfig(TrainingConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of supervised fine-tuning: `TrainingConfig`'s and these.

    The model learns the assistant's words and calls only, not the words of the user or the tools.

    Attributes:
        model: as in `TrainingConfig`, or ``"tiny"`` to train a new model from scratch.
        tiny: the new model. It needs a higher learning rate than a trained model, about 3e-3.
        renamed: copies of each conversation with other names in it, from which the model learns
            to copy names; see `agent_gym_env.training.renaming`.
        adam_beta2: AdamW's second decay rate; lower than the usual 0.999 for short runs.
    """

    tiny: TinyConfig = TinyConfig()
    renamed: NotNegative = 0
    learning_rate: Positive = 2e-5
    adam_beta2: Positive = 0.98


class DPOConfig(TrainingConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of direct preference optimisation (Rafailov et al., 2023): shared ones and these.

    Attributes:
        beta: penalty for moving away from the original model; small values allow large moves.
        imitation: weight of the chosen messages' own likelihood beside the preference (Pang et al.,
            2024), which keeps a model from making both messages of a pair unlikely; may be 0.
        min_margin: smallest difference of the rewards; pairs with a smaller one are left out.
        keep_unscored: train also on pairs that were ranked without rewards.
    """

    learning_rate: Positive = 5e-6
    beta: Positive = 0.1
    imitation: FromZero = 0.1
    min_margin: FromZero = 0.0
    keep_unscored: bool = False


class KTOConfig(TrainingConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of Kahneman-Tversky optimisation (Ethayarajh et al., 2024): shared ones and these.

    Attributes:
        batch_size: as in `TrainingConfig`, at least 2.
        beta: penalty for moving away from the original model; small values allow large moves.
    """

    learning_rate: Positive = 5e-6
    batch_size: AtLeastTwo = 8
    beta: Positive = 0.1


class RolloutConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the dialogues that a language model plays while TRL trains it.

    Attributes:
        env: ``SGDSim-v0``, ``SGD-v0`` or ``Traces-v0``, or a mapping with such a ``name`` and
            arguments of the environment other than split and reward.
        reward: reward of the environment, by name or as a mapping; ``None`` for ``balanced``, or
            ``task`` with ``SGDSim-v0``.
        turns: number of the agent's turns in a play; ``None`` to play to the dialogue's end;
            ``auto`` for one turn in a recorded dialogue, and to the end in ``SGDSim-v0``. A play's
            reward is the mean over its turns, in ``SGDSim-v0`` the sum.
        max_new_tokens: longest message of the assistant, in tokens.
        max_length: longest conversation, in tokens. When it is full, the agent stays silent.
        plays_at_once: messages that are generated in one batch.
        seed: seed of the model's draws.
    """

    env: str | dict[str, Any] = "SGDSim-v0"
    reward: str | dict[str, Any] | None = None
    turns: AtLeastOne | Literal["auto"] | None = "auto"
    max_new_tokens: AtLeastOne = 192
    max_length: AtLeastOne = 2048
    plays_at_once: AtLeastOne = 64
    seed: NotNegative = 0

    def __post_init__(self) -> None:
        """Check the name of the environment.

        Raises:
            ValueError: it is unknown.
        """
        name, _ = self.environment()
        if name not in ENVIRONMENTS:
            raise ValueError(unknown_name("env", name, ENVIRONMENTS))

    def environment(self) -> tuple[str, dict[str, Any]]:
        """Return the name of the environment, and its arguments other than split and reward."""
        options = {"name": self.env} if isinstance(self.env, str) else dict(self.env)
        return options.pop("name", "SGD-v0"), options

    @property
    def is_simulated(self) -> bool:
        """True if a simulated user is played with."""
        return self.environment()[0] == "SGDSim-v0"

    @property
    def turn_limit(self) -> int | None:
        """Number of the agent's turns in a play; ``None`` to play to the dialogue's end."""
        if self.turns == "auto":
            return None if self.is_simulated else 1
        return self.turns


class GRPOConfig(TrainingConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of reinforcement learning in an environment: `TrainingConfig`'s and these.

    ``batch_size`` times ``gradient_accumulation`` is the number of plays in a step: a multiple of
    ``generations``.

    Attributes:
        algorithm: ``grpo``, group relative policy optimisation (Shao et al., 2024), which divides
            an advantage by the spread of its group; or ``rloo``, REINFORCE with the mean of the
            others as baseline (Ahmadian et al., 2024), which does not.
        env: ``SGD-v0`` (the default) or ``SGDSim-v0``, or a mapping with such a ``name`` and
            arguments of the environment other than split and reward.
        reward: reward of the environment, by name or as a mapping; ``None`` for ``balanced``, or
            ``task`` with ``SGDSim-v0``.
        turns: number of the agent's turns that are played from a row's state; ``None`` to play to
            the dialogue's end; ``auto`` for one turn in ``SGD-v0``, and to the end in
            ``SGDSim-v0``. A play's reward is the mean over its turns, in ``SGDSim-v0`` the sum.
        generations: plays from one state; they make a group.
        temperature: sampling temperature.
        max_new_tokens: longest message of the assistant, in tokens.
        beta: weight of the divergence from the original model; with 0 no copy of it is kept.
        plays_at_once: messages that are generated in one batch.
        evaluated: largest number of held-out rows that are played before and after the training,
            evenly spread.
    """

    learning_rate: Positive = 1e-6
    gradient_accumulation: AtLeastOne = 8
    algorithm: Literal["grpo", "rloo"] = "grpo"
    env: str | dict[str, Any] = "SGD-v0"
    reward: str | dict[str, Any] | None = None
    turns: AtLeastOne | Literal["auto"] | None = "auto"
    generations: AtLeastTwo = 8
    temperature: Positive = 1.0
    max_new_tokens: AtLeastOne = 192
    beta: FromZero = 0.0
    plays_at_once: AtLeastOne = 64
    evaluated: AtLeastOne = 200

    def __post_init__(self) -> None:
        """Check settings that depend on each other.

        Raises:
            ValueError: the plays of a step are not a whole number of groups, or the environment
                has an unknown name.
        """
        _ = self.rollout  # refuses an unknown environment
        plays = self.batch_size * self.gradient_accumulation
        if plays % self.generations:
            raise ValueError(
                f"batch_size * gradient_accumulation = {plays} is the number of plays of a step; "
                f"expected a multiple of generations={self.generations}"
            )

    @property
    def rollout(self) -> RolloutConfig:
        """The settings of the plays."""
        return RolloutConfig(
            env=self.env,
            reward=self.reward,
            turns=self.turns,
            max_new_tokens=self.max_new_tokens,
            max_length=self.max_length,
            plays_at_once=self.plays_at_once,
            seed=self.seed,
        )
