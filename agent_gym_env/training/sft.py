"""Supervised fine-tuning on conversations, with TRL."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from agent_gym_env.errors import DataError
from agent_gym_env.extras import require
from agent_gym_env.training.chat_dataset import Origin, chat_dataset, origin
from agent_gym_env.training.config import TINY, SFTConfig
from agent_gym_env.training.renaming import invented_words, renamed, words_of_names
from agent_gym_env.training.tiny import make_tiny
from agent_gym_env.training.trl_callbacks import IGNORED
from agent_gym_env.training.trl_run import (
    RunOptions,
    TRLRun,
    load_model,
    load_tokenizer,
    peft_config,
    run_trainer,
)

trl: Any = require("trl", extra="train")
_templates: Any = require("trl.chat_template_utils", extra="train")
datasets: Any = require("datasets", extra="train")

import torch  # noqa: E402

if TYPE_CHECKING:
    from typing_extensions import Unpack

_PLAIN_HEADS = ("lfm2", "llama", "mistral", "qwen2", "qwen3", "smollm3")
"""Architectures whose logits are their output matrix's values, neither scaled nor capped, and whose
loss has no other part."""


class SFTReport(msgspec.Struct, frozen=True):
    """The data that a run was trained on, and its results.

    Attributes:
        steps: steps of the optimizer.
        conversations: conversations that the model was trained on; each reading counts.
        tokens: tokens of these conversations, as the chat template writes them.
        learned: tokens of these conversations that the assistant wrote.
        available: conversations that were short enough, copies with other names included.
        long: share of the rows that was left out because of too many tokens.
        held_out_loss: mean loss of a learned token of the held-out rows, in nats; ``None`` without
            held-out rows.
        origin: dialogues of the rows, by split.
    """

    steps: int
    conversations: int
    tokens: int
    learned: int
    available: int
    long: float
    held_out_loss: float | None
    origin: Origin


def train_sft(config: SFTConfig, *, out: Path, **options: Unpack[RunOptions]) -> Path:
    """Train a model to write what the assistant of each conversation wrote.

    ``on_progress`` is also called with ``practice`` while a tiny model is made.

    See `agent_gym_env.training.trl_run.run_trainer` for the arguments, the result and the errors.
    """
    return run_trainer("sft", config, _fit, out=out, **options)


def _fit(config: SFTConfig, run: TRLRun) -> SFTReport:
    rows = _with_renamed(chat_dataset(config.rows, "sft"), config)
    if config.model == TINY:
        config = msgspec.structs.replace(config, model=str(run.out / "untrained"))
        conversations = _spread(rows, config.tiny.tokenizer_rows)
        make_tiny(Path(config.model), conversations, config.tiny, on_progress=run.on_progress)
    trainer = _trainer(config, run, rows)
    run.count_batches(trainer)
    run.train(trainer)
    available = len(trainer.train_dataset)
    return SFTReport(
        steps=run.trained.steps,
        conversations=run.trained.rows,
        tokens=run.trained.tokens,
        learned=run.trained.learned,
        available=available,
        long=1 - available / len(rows),
        held_out_loss=trainer.evaluate()["eval_loss"] if config.held_out else None,
        origin=origin(rows, config.held_out, "sft"),
    )


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
    """Choose at most so many rows, evenly spread."""
    every = -(-len(rows) // most)
    return (rows[index] for index in range(0, len(rows), every))


def _trainer(config: SFTConfig, run: TRLRun, rows: Any) -> Any:
    model, tokenizer = load_model(config), load_tokenizer(config)
    _check_weights(rows, tokenizer, config)
    _check_marks(tokenizer, config)
    # On a GPU TRL's own loss is fast, and supports several devices.
    is_plain = model.config.model_type in _PLAIN_HEADS and not torch.cuda.is_available()
    trainer = (_CPUTrainer if is_plain else trl.SFTTrainer)(
        model,
        args=trl.SFTConfig(
            assistant_only_loss=True,
            adam_beta2=config.adam_beta2,
            # Otherwise TRL cuts off the ends. Rows that are too long are left out below.
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
    """Drop the columns that TRL would misread; it reads ``messages`` and ``tools``."""
    return rows.select_columns(["messages", "tools"])


def _check_weights(rows: Any, tokenizer: Any, config: SFTConfig) -> None:
    """Refuse rows with messages of weight 0 if the template cannot mark them.

    Raises:
        DataError: a row has such a message.
    """
    if "weight" in (tokenizer.chat_template or ""):
        return
    for number, row in enumerate(rows):
        if any(message.get("weight") == 0 for message in row["messages"]):
            raise DataError(
                f"row {number} has messages of weight 0, to be read and not learned, but the chat "
                f"template of {config.model} does not distinguish them; train `tiny`, or set "
                "chat_template (--chat-template) to `hermes`, `compact` or `signatures`"
            )


def _check_marks(tokenizer: Any, config: SFTConfig) -> None:
    """Refuse a template that does not mark what the assistant writes.

    TRL can add the marks to the templates of some model families.

    Raises:
        DataError: the template has no marks, and TRL cannot add them.
    """
    if "generation %}" in str(tokenizer.chat_template):
        return
    try:
        _templates.get_training_chat_template(tokenizer)
    except ValueError as error:
        raise DataError(
            "the chat template does not mark what the assistant writes with {% generation %}, and "
            "only that is learned; set chat_template (--chat-template) to a file with such marks, "
            "or to `hermes`, `compact` or `signatures`",
            file=config.model,
        ) from error


def _tokens(row: Mapping[str, Any]) -> int:
    return len(row["input_ids"])


class _CPUTrainer(trl.SFTTrainer):  # type: ignore[misc]  # it has no types
    """A trainer that computes the loss only, which halves its CPU time.

    TRL's own loss also computes entropy and accuracy. It passes a mask to attention, which is not
    needed here: rows are padded at their ends, and no token attends to a later one.
    """

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return the mean negative log-likelihood of the learned tokens."""
        plain = self.accelerator.unwrap_model(model)
        if hasattr(plain, "get_base_model"):  # a model with adapters
            plain = plain.get_base_model()
        labels = inputs["labels"][:, 1:]
        kept = labels != IGNORED
        with self.accelerator.autocast():  # otherwise only the call of the whole model has it
            read = plain.base_model(input_ids=inputs["input_ids"], use_cache=False)
            logits = plain.get_output_embeddings()(read.last_hidden_state[:, :-1][kept]).float()
        total = torch.nn.functional.cross_entropy(logits, labels[kept], reduction="sum")
        loss = total / (kept.sum() if num_items_in_batch is None else num_items_in_batch)
        return (loss, {"loss": loss}) if return_outputs else loss
