"""What every training of a language model has to be told."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
FromZero = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Paths = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]


class LoRA(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Low-rank adapters beside frozen weights (Hu et al., 2021).

    Attributes:
        rank: of an adapter.
        alpha: what it adds is scaled by ``alpha / rank``.
        dropout: before it.
        targets: names of the modules that get one, or ``"all-linear"``.
    """

    rank: AtLeastOne = 16
    alpha: AtLeastOne = 32
    dropout: Share = 0.0
    targets: str | tuple[str, ...] = "all-linear"


class TrainingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is trained, on what, and how the optimizer steps.

    Attributes:
        model: a folder in Hugging Face's layout, or a name on its hub.
        chat_template: a file, or one of ours, ``hermes`` or ``compact``; by default the model's
            own template, or ``hermes`` if that does not support tools.
        rows: files that ``agent-gym export`` wrote.
        held_out: such files of other dialogues, to measure on; none if empty.
        learning_rate: of AdamW at its height.
        epochs: passes over the rows, where ``max_steps`` does not say otherwise.
        max_steps: steps of the optimizer; ``None`` for what the epochs make.
        batch_size: rows on a device at once.
        gradient_accumulation: batches that make one step.
        max_length: tokens; rows with more are left out, and their share is reported.
        schedule: how the learning rate goes on after the warmup.
        warmup: share of the steps over which the learning rate rises from 0.
        weight_decay: of AdamW.
        max_grad_norm: gradients are clipped to it.
        lora: adapters are trained and then merged; ``None`` to train all weights.
        bf16: whether matrices are multiplied in bfloat16; ``None`` for where there is a GPU. Some
            CPUs are twice as fast with it, others much slower.
        gradient_checkpointing: half the memory of activations for a third more time.
        log_every: steps between two lines of ``metrics.jsonl``.
        eval_every: steps between two looks at what is held out; ``None`` for none on the way.
        save_every: steps between two checkpoints.
        seed: of everything that is drawn.
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
