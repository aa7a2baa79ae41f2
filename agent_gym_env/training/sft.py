"""Supervised fine-tuning on conversations, with TRL."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env.errors import DataError
from agent_gym_env.extras import require
from agent_gym_env.training.chat_dataset import chat_dataset
from agent_gym_env.training.progress import OnMeasured, OnProgress
from agent_gym_env.training.renaming import invented_words, renamed, words_of_names
from agent_gym_env.training.sft_config import TINY, SFTConfig
from agent_gym_env.training.tiny import make_tiny
from agent_gym_env.training.trl_callbacks import IGNORED
from agent_gym_env.training.trl_run import (
    TRLRun,
    load_model,
    load_tokenizer,
    peft_config,
    process_kept,
)

trl: Any = require("trl", extra="train")
_templates: Any = require("trl.chat_template_utils", extra="train")
datasets: Any = require("datasets", extra="train")

import torch  # noqa: E402

_PLAIN_HEADS = ("lfm2", "llama", "mistral", "qwen2", "qwen3", "smollm3")
"""Architectures whose logits are what their output matrix gives, neither scaled nor capped, and
whose loss has no other part."""


class SFTReport(msgspec.Struct, frozen=True):
    """The data that a run was trained on, and its results.

    Attributes:
        steps: steps of the optimizer.
        conversations: conversations that it was trained on; one that was read twice counts twice.
        tokens: tokens of these, as the chat template writes them.
        learned: tokens of these that the assistant wrote.
        available: conversations of the rows that could be read, copies with other names included.
        long: share of the rows that was left out since it has too many tokens.
        held_out_loss: nats a learned token of the rows that are held out; ``None`` without any.
    """

    steps: int
    conversations: int
    tokens: int
    learned: int
    available: int
    long: float
    held_out_loss: float | None


@process_kept()
def train_sft(
    config: SFTConfig,
    *,
    out: Path,
    resume: bool = False,
    tensorboard: bool = False,
    on_progress: OnProgress | None = None,
    on_measured: OnMeasured | None = None,
) -> Path:
    """Train a model to write what the assistant of each conversation wrote.

    Args:
        config: of the run.
        out: its folder, as `agent_gym_env.training.trl_run` lays it out, and ``report.json``.
        resume: go on from the folder's last checkpoint. The result is that of an uninterrupted run.
        tensorboard: write TensorBoard's event files.
        on_progress: called with ``sft`` and the numbers of steps done and of all; before that
            with ``practice``, where a tiny model is made.
        on_measured: called with measurements, such as ``loss``.

    Returns:
        The folder of the trained model.

    Raises:
        DataError: the rows or the model cannot be read, or no row is left to train on.
        StorageError: the folder holds another run, or the disk does not take this one.
        AgentGymError: the loss is no number any more.
    """
    run = TRLRun(
        config,
        out,
        resume=resume,
        tensorboard=tensorboard,
        on_progress=on_progress,
        on_measured=on_measured,
    )
    rows = _with_renamed(chat_dataset(config.rows, "sft"), config)
    if config.model == TINY:
        config = msgspec.structs.replace(config, model=str(out / "untrained"))
        make_tiny(
            Path(config.model),
            _spread(rows, config.tiny.tokenizer_rows),
            config.tiny,
            on_progress=on_progress,
        )
    trainer = _trainer(config, run, rows)
    run.count_batches(trainer)
    path = run.train(trainer)
    available = len(trainer.train_dataset)
    report = SFTReport(
        steps=run.trained.steps,
        conversations=run.trained.rows,
        tokens=run.trained.tokens,
        learned=run.trained.learned,
        available=available,
        long=1 - available / len(rows),
        held_out_loss=trainer.evaluate()["eval_loss"] if config.held_out else None,
    )
    run.report(report)
    return path


def _with_renamed(rows: Any, config: SFTConfig) -> Any:
    """Add to conversations their copies with other names."""
    if not config.renamed:
        return rows
    words = words_of_names(rows)
    words += invented_words(len(words), random.Random(config.seed))

    def change(row: dict[str, Any], index: int, copy: int) -> dict[str, Any]:
        return renamed(row, words, random.Random(f"{config.seed} {copy} {index}"))

    copies = [
        rows.map(change, with_indices=True, fn_kwargs={"copy": copy}, load_from_cache_file=False)
        for copy in range(config.renamed)
    ]
    return datasets.concatenate_datasets([rows, *copies])


def _spread(rows: Any, most: int) -> Iterator[dict[str, Any]]:
    """Give every so many-th row."""
    every = -(-len(rows) // most)
    return (rows[index] for index in range(0, len(rows), every))


def _trainer(config: SFTConfig, run: TRLRun, rows: Any) -> Any:
    model, tokenizer = load_model(config), load_tokenizer(config)
    _check_weights(rows, tokenizer, config)
    _check_marks(tokenizer, config)
    # On a GPU TRL's own loss is fast, and knows of several devices.
    is_plain = model.config.model_type in _PLAIN_HEADS and not torch.cuda.is_available()
    trainer = (_CPUTrainer if is_plain else trl.SFTTrainer)(
        model,
        args=trl.SFTConfig(
            assistant_only_loss=True,
            adam_beta2=config.adam_beta2,
            # Else it would cut off the ends; what is too long is left out below.
            max_length=None,
            train_sampling_strategy="group_by_length",
            **run.arguments(),
        ),
        train_dataset=_conversations(rows),
        eval_dataset=_conversations(chat_dataset(config.held_out, "sft"))
        if config.held_out
        else None,
        processing_class=tokenizer,
        peft_config=peft_config(config.lora),
        callbacks=run.callbacks(),
    )
    run.leave_out_long(trainer, _tokens, "conversation")
    return trainer


def _conversations(rows: Any) -> Any:
    """Leave what TRL would take for something else: it knows ``messages`` and ``tools``."""
    return rows.select_columns(["messages", "tools"])


def _check_weights(rows: Any, tokenizer: Any, config: SFTConfig) -> None:
    if "weight" in (tokenizer.chat_template or ""):
        return
    for number, row in enumerate(rows):
        if any(message.get("weight") == 0 for message in row["messages"]):
            raise DataError(
                f"row {number} has messages of weight 0, to be read and not learned, and the chat "
                f"template of {config.model} does not tell them apart: take `tiny`, or "
                "chat_template (--chat-template) `hermes` or `compact`"
            )


def _check_marks(tokenizer: Any, config: SFTConfig) -> None:
    """Refuse a template that does not tell what the assistant says from what it reads.

    TRL knows how to mark the templates of some families.

    Raises:
        DataError: the template has no marks, and TRL knows none for it.
    """
    if "generation %}" in str(tokenizer.chat_template):
        return
    try:
        _templates.get_training_chat_template(tokenizer)
    except ValueError as error:
        raise DataError(
            "the chat template does not mark what the assistant says with {% generation %}, and "
            "only that is learned; expected a template that does: chat_template (--chat-template) "
            "takes a file, `hermes` or `compact`",
            file=config.model,
        ) from error


def _tokens(row: Mapping[str, Any]) -> int:
    return len(row["input_ids"])


class _CPUTrainer(trl.SFTTrainer):  # type: ignore[misc]  # it has no types
    """Leaves out what the loss does not need, which halves its CPU time.

    TRL's own loss tells entropy and accuracy too. And rows are padded at their ends, where no
    earlier token looks: without a mask attention need not read what it would hide.
    """

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Give the mean negative log-likelihood of the learned tokens."""
        bare = self.accelerator.unwrap_model(model)
        if hasattr(bare, "get_base_model"):  # adapters are around it
            bare = bare.get_base_model()
        hidden = bare.base_model(input_ids=inputs["input_ids"], use_cache=False).last_hidden_state
        labels = inputs["labels"][:, 1:]
        kept = labels != IGNORED
        logits = bare.get_output_embeddings()(hidden[:, :-1][kept]).float()
        total = torch.nn.functional.cross_entropy(logits, labels[kept], reduction="sum")
        loss = total / (kept.sum() if num_items_in_batch is None else num_items_in_batch)
        return (loss, {"loss": loss}) if return_outputs else loss
