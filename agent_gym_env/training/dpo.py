"""Direct preference optimisation on pairs of messages, with TRL."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from agent_gym_env.errors import DataError
from agent_gym_env.extras import require
from agent_gym_env.training.chat_dataset import chat_dataset
from agent_gym_env.training.dpo_config import DPOConfig
from agent_gym_env.training.preference_margin import (
    LogProbabilities,
    PreferenceReport,
    compare_preferences,
    log_probabilities,
)
from agent_gym_env.training.progress import OnMeasured, OnProgress
from agent_gym_env.training.trl_run import (
    TRLRun,
    load_model,
    load_tokenizer,
    peft_config,
    process_kept,
)

trl: Any = require("trl", extra="train")


class DPOReport(msgspec.Struct, frozen=True):
    """The data that a run was trained on, and its results.

    Attributes:
        steps: steps of the optimizer.
        pairs: pairs that it was trained on; one that was read twice counts twice.
        tokens: tokens of these, both times that a prompt is read before a message.
        available: pairs of the rows that could be read.
        unscored: share of the rows that was left out since a reward could not be told.
        close: share that was left out since the rewards differ too little.
        long: share that was left out since it has too many tokens.
        held_out: how the preference for held-out pairs has changed; ``None`` without any.
    """

    steps: int
    pairs: int
    tokens: int
    available: int
    unscored: float
    close: float
    long: float
    held_out: PreferenceReport | None


@process_kept()
def train_dpo(
    config: DPOConfig,
    *,
    out: Path,
    resume: bool = False,
    tensorboard: bool = False,
    on_progress: OnProgress | None = None,
    on_measured: OnMeasured | None = None,
) -> Path:
    """Train a model to prefer the better message of each pair.

    Args:
        config: of the run.
        out: its folder, as `agent_gym_env.training.trl_run` lays it out, and ``report.json``.
        resume: go on from the folder's last checkpoint. The result is that of an uninterrupted run.
        tensorboard: write TensorBoard's event files.
        on_progress: called with ``dpo`` and the numbers of steps done and of all.
        on_measured: called with measurements, such as ``loss``.

    Returns:
        The folder of the trained model.

    Raises:
        DataError: the rows or the model cannot be read, or no pair is left to train on.
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
    rows = chat_dataset(config.rows, "dpo")
    scored = rows if config.keep_unscored else rows.filter(_is_scored)
    apart = scored.filter(_is_apart, fn_kwargs={"least": config.min_margin})
    trainer = _trainer(config, run, apart)
    before = _held_out(trainer)
    run.count_batches(trainer)
    path = run.train(trainer)
    after = _held_out(trainer)
    report = DPOReport(
        steps=run.trained.steps,
        pairs=run.trained.rows // 2,  # a batch has each pair's two messages
        tokens=run.trained.tokens,
        available=len(trainer.train_dataset),
        unscored=1 - len(scored) / len(rows),
        close=(len(scored) - len(apart)) / len(rows),
        long=(len(apart) - len(trainer.train_dataset)) / len(rows),
        held_out=compare_preferences(before, after, beta=config.beta) if len(before) else None,
    )
    run.report(report)
    return path


def _is_scored(row: Mapping[str, Any]) -> bool:
    return row["margin"] is not None


def _is_apart(row: Mapping[str, Any], least: float) -> bool:
    return row["margin"] is None or row["margin"] >= least


def _trainer(config: DPOConfig, run: TRLRun, pairs: Any) -> Any:
    if not len(pairs):
        raise DataError("no pair is scored and apart enough to be trained on", file=config.rows[0])
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
    # TRL would cut off the ends, which are what a pair is about.
    run.leave_out_long(trainer, _tokens, "pair")
    return trainer


def _tokens(row: Mapping[str, Any]) -> int:
    return len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"]))


def _held_out(trainer: Any) -> LogProbabilities:
    """Ask the model as it is now about the pairs that are held out."""
    if trainer.eval_dataset is None:
        return np.zeros((0, 2))
    return log_probabilities(
        trainer.accelerator.unwrap_model(trainer.model),
        trainer.eval_dataset,
        pad=trainer.processing_class.pad_token_id,
        batch_size=trainer.args.per_device_eval_batch_size,
    )
