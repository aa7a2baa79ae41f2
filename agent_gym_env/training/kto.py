"""Kahneman-Tversky optimisation on messages that are labelled good or bad, with TRL."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from agent_gym_env.errors import DataError
from agent_gym_env.extras import require
from agent_gym_env.training.chat_dataset import Origin, chat_dataset, origin
from agent_gym_env.training.config import KTOConfig
from agent_gym_env.training.dpo import LogProbabilities, held_out_log_probabilities
from agent_gym_env.training.trl_run import (
    RunOptions,
    TRLRun,
    load_model,
    load_tokenizer,
    peft_config,
    run_trainer,
)

trl: Any = require("trl", extra="train")

if TYPE_CHECKING:
    from typing_extensions import Unpack


_MESSAGES = ("completion_ids",)
"""Column with the tokens of a row's message."""


class LabelReport(msgspec.Struct, frozen=True):
    """Change of the log-probabilities of held-out messages by the training.

    Attributes:
        messages: number of messages.
        good_change: mean increase of log p of the good messages, in nats; ``None`` without any.
        bad_change: the same mean of the bad messages.
    """

    messages: int
    good_change: float | None
    bad_change: float | None


class KTOReport(msgspec.Struct, frozen=True):
    """The data that a run was trained on, and its results.

    Attributes:
        steps: steps of the optimizer.
        messages: messages that the model was trained on; each reading counts.
        tokens: tokens of these messages and their prompts.
        available: messages that were used.
        good: share of the good messages among these.
        long: share of the rows that was left out because of too many tokens.
        held_out: change of the held-out messages; ``None`` without held-out rows.
        origin: dialogues of the rows, by split.
    """

    steps: int
    messages: int
    tokens: int
    available: int
    good: float
    long: float
    held_out: LabelReport | None
    origin: Origin


def train_kto(config: KTOConfig, *, out: Path, **options: Unpack[RunOptions]) -> Path:
    """Train a model to make good messages likelier, and bad ones less likely.

    See `agent_gym_env.training.trl_run.run_trainer` for the arguments, the result and the errors.
    """
    return run_trainer("kto", config, _fit, out=out, **options)


def _fit(config: KTOConfig, run: TRLRun) -> KTOReport:
    rows = chat_dataset(config.rows, "kto")
    trainer = _trainer(config, run, rows)
    before = held_out_log_probabilities(trainer, _MESSAGES)
    run.count_batches(trainer)
    run.train(trainer)
    after = held_out_log_probabilities(trainer, _MESSAGES)
    labels = trainer.train_dataset["label"]
    return KTOReport(
        steps=run.trained.steps,
        messages=run.trained.rows,
        tokens=run.trained.tokens,
        available=len(labels),
        good=sum(labels) / len(labels),
        long=1 - len(labels) / len(rows),
        held_out=_compared(before, after, trainer.eval_dataset) if len(before) else None,
        origin=origin(rows, config.held_out, "kto"),
    )


def _trainer(config: KTOConfig, run: TRLRun, rows: Any) -> Any:
    good = sum(rows["label"])
    bad = len(rows) - good
    if not good or not bad:
        problem = f"expected good and bad messages, found {good} good and {bad} bad ones"
        raise DataError(problem, file=config.rows[0])
    trainer = trl.KTOTrainer(
        load_model(config),
        args=trl.KTOConfig(
            beta=config.beta,
            # Both labels have the same weight in total, as the authors advise.
            desirable_weight=max(1.0, bad / good),
            undesirable_weight=max(1.0, good / bad),
            max_length=config.max_length,
            **run.arguments(),
        ),
        # TRL reads the rows in this order, and estimates how far the model has moved from the
        # message of one row after the prompt of the next one. Those of a pair are neighbours.
        train_dataset=rows.shuffle(seed=config.seed),
        eval_dataset=chat_dataset(config.held_out, "kto") if config.held_out else None,
        processing_class=load_tokenizer(config),
        peft_config=peft_config(config.lora),
        callbacks=run.callbacks(),
    )
    # TRL would cut off the ends, which are what is learned.
    run.leave_out_long(trainer, _tokens, "message")
    return trainer


def _tokens(row: Mapping[str, Any]) -> int:
    return len(row["prompt_ids"]) + len(row["completion_ids"])


def _compared(before: LogProbabilities, after: LogProbabilities, messages: Any) -> LabelReport:
    good = np.array(messages["label"], bool)
    change = (after - before)[:, 0]
    return LabelReport(
        messages=len(change),
        good_change=float(change[good].mean()) if good.any() else None,
        bad_change=float(change[~good].mean()) if not good.all() else None,
    )
