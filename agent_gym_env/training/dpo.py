"""Direct preference optimisation on pairs of messages, with TRL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from agent_gym_env.errors import DataError
from agent_gym_env.extras import require
from agent_gym_env.training.chat_dataset import Origin, chat_dataset, origin
from agent_gym_env.training.config import DPOConfig
from agent_gym_env.training.trl_run import (
    RunOptions,
    TRLRun,
    load_model,
    load_tokenizer,
    peft_config,
    run_trainer,
)

torch: Any = require("torch", extra="train")
trl: Any = require("trl", extra="train")

if TYPE_CHECKING:
    from typing_extensions import Unpack

LogProbabilities = NDArray[np.float64]
"""Log-probabilities of messages, in nats; shape (rows, messages of a row)."""

_MESSAGES = ("chosen_ids", "rejected_ids")
"""Columns with the tokens of a pair's messages."""


class PreferenceReport(msgspec.Struct, frozen=True):
    """A model's preference for the better messages of held-out pairs, before and after training.

    Attributes:
        pairs: number of pairs.
        margin_before: mean of log p(chosen) - log p(rejected), in nats, before the training.
        margin_after: the same mean after the training.
        accuracy_before: share of the pairs whose chosen message was the more likely one.
        accuracy_after: the same share after the training.
        reward_margin: mean increase of the margin, times beta; TRL's ``rewards/margins``.
        reward_accuracy: share of the pairs whose margin has increased.
    """

    pairs: int
    margin_before: float
    margin_after: float
    accuracy_before: float
    accuracy_after: float
    reward_margin: float
    reward_accuracy: float


class DPOReport(msgspec.Struct, frozen=True):
    """The data that a run was trained on, and its results.

    Attributes:
        steps: steps of the optimizer.
        pairs: pairs that the model was trained on; each reading counts.
        tokens: tokens of these pairs; a prompt counts once for each of its two messages.
        available: pairs that were used.
        unscored: share of the rows that was left out because a reward is unknown.
        close: share of the rows that was left out because the rewards differ too little.
        long: share of the rows that was left out because of too many tokens.
        held_out: change of the preference for held-out pairs; ``None`` without held-out pairs.
        origin: dialogues of the rows, by split.
    """

    steps: int
    pairs: int
    tokens: int
    available: int
    unscored: float
    close: float
    long: float
    held_out: PreferenceReport | None
    origin: Origin


def train_dpo(config: DPOConfig, *, out: Path, **options: Unpack[RunOptions]) -> Path:
    """Train a model to prefer the better message of each pair.

    See `agent_gym_env.training.trl_run.run_trainer` for the arguments, the result and the errors.
    """
    return run_trainer("dpo", config, _fit, out=out, **options)


def _fit(config: DPOConfig, run: TRLRun) -> DPOReport:
    rows = chat_dataset(config.rows, "dpo")
    scored = rows if config.keep_unscored else rows.filter(_is_scored)
    apart = scored.filter(_is_apart, fn_kwargs={"least": config.min_margin})
    trainer = _trainer(config, run, apart)
    before = held_out_log_probabilities(trainer, _MESSAGES)
    run.count_batches(trainer)
    run.train(trainer)
    after = held_out_log_probabilities(trainer, _MESSAGES)
    return DPOReport(
        steps=run.trained.steps,
        pairs=run.trained.rows // 2,  # a batch has each pair's two messages
        tokens=run.trained.tokens,
        available=len(trainer.train_dataset),
        unscored=1 - len(scored) / len(rows),
        close=(len(scored) - len(apart)) / len(rows),
        long=(len(apart) - len(trainer.train_dataset)) / len(rows),
        held_out=compare_preferences(before, after, beta=config.beta) if len(before) else None,
        origin=origin(rows, config.held_out, "dpo"),
    )


def _is_scored(row: Mapping[str, Any]) -> bool:
    return row["margin"] is not None


def _is_apart(row: Mapping[str, Any], least: float) -> bool:
    return row["margin"] is None or row["margin"] >= least


def _trainer(config: DPOConfig, run: TRLRun, pairs: Any) -> Any:
    if not len(pairs):
        raise DataError("no pair has rewards that differ enough to train on", file=config.rows[0])
    tokenizer = load_tokenizer(config)
    trainer = trl.DPOTrainer(
        load_model(config),
        args=trl.DPOConfig(
            beta=config.beta,
            loss_type=["sigmoid", "sft"] if config.imitation else ["sigmoid"],
            loss_weights=[1.0, config.imitation] if config.imitation else None,
            max_length=config.max_length,
            **run.arguments(),
        ),
        train_dataset=pairs,
        eval_dataset=chat_dataset(config.held_out, "dpo") if config.held_out else None,
        processing_class=tokenizer,
        peft_config=peft_config(config.lora),
        callbacks=run.callbacks(),
    )
    # TRL would cut off the ends, where the messages of a pair differ.
    run.leave_out_long(trainer, _tokens, "pair")
    return trainer


def _tokens(row: Mapping[str, Any]) -> int:
    return len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"]))


def held_out_log_probabilities(trainer: Any, messages: Sequence[str]) -> LogProbabilities:
    """Compute the log-probabilities of a trainer's held-out rows under its current model.

    Args:
        trainer: a trainer of TRL.
        messages: names of the columns with the tokens of the messages.

    Returns:
        Shape (rows, messages); no rows without a held-out dataset.
    """
    if trainer.eval_dataset is None:
        return np.zeros((0, len(messages)))
    return log_probabilities(
        trainer.accelerator.unwrap_model(trainer.model),
        trainer.eval_dataset,
        messages,
        pad=trainer.processing_class.pad_token_id,
        batch_size=trainer.args.per_device_eval_batch_size,
    )


def compare_preferences(
    before: LogProbabilities, after: LogProbabilities, *, beta: float
) -> PreferenceReport:
    """Compare two models on the same pairs.

    Args:
        before: log-probabilities under the original model.
        after: log-probabilities under the trained model.
        beta: beta of the training.
    """
    old, new = before[:, 0] - before[:, 1], after[:, 0] - after[:, 1]
    return PreferenceReport(
        pairs=len(old),
        margin_before=float(old.mean()),
        margin_after=float(new.mean()),
        accuracy_before=float((old > 0).mean()),
        accuracy_after=float((new > 0).mean()),
        reward_margin=float(beta * (new - old).mean()),
        reward_accuracy=float((new > old).mean()),
    )


def log_probabilities(
    model: Any, rows: Any, messages: Sequence[str], *, pad: int, batch_size: int
) -> LogProbabilities:
    """Compute the log-probabilities of messages after their prompts; shape (rows, messages).

    Args:
        model: a causal language model.
        rows: dataset with ``prompt_ids`` and the columns of the messages, as TRL's trainers have
            them.
        messages: names of the columns with the tokens of the messages.
        pad: token id that fills up a batch.
        batch_size: number of sequences in a batch.
    """
    was_training = model.training
    model.eval()
    sums = np.zeros((len(rows), len(messages)))
    with torch.inference_mode():
        for column, name in enumerate(messages):
            for begin in range(0, len(rows), batch_size):
                batch = rows[begin : begin + batch_size]
                values = _sums(model, batch["prompt_ids"], batch[name], pad)
                sums[begin : begin + batch_size, column] = values
    model.train(was_training)
    return sums


def _sums(
    model: Any,
    prompts: Sequence[Sequence[int]],
    messages: Sequence[Sequence[int]],
    pad: int,
) -> Any:
    """Compute the log-probability of each message after its prompt; shape (batch,)."""
    sequences = [[*prompt, *message] for prompt, message in zip(prompts, messages, strict=True)]
    longest = max(map(len, sequences))
    ids = torch.full((len(sequences), longest), pad)
    read, said = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, (sequence, prompt) in enumerate(zip(sequences, prompts, strict=True)):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        read[row, : len(sequence)] = 1
        said[row, len(prompt) : len(sequence)] = 1
    ids, read, said = (each.to(model.device) for each in (ids, read, said))
    logits = model(input_ids=ids, attention_mask=read).logits[:, :-1].float()
    chosen = torch.log_softmax(logits, -1).gather(-1, ids[:, 1:, None])[..., 0]
    return (chosen * said[:, 1:]).sum(1).double().cpu().numpy()
