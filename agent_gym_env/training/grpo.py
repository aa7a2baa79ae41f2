"""Group relative policy optimisation in the real environments, with TRL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from agent_gym_env.errors import DataError
from agent_gym_env.evaluation.statistics import Difference, paired_difference
from agent_gym_env.extras import require
from agent_gym_env.training.chat_dataset import Origin, chat_dataset, origin
from agent_gym_env.training.config import GRPOConfig
from agent_gym_env.training.model_play import Played, Situation
from agent_gym_env.training.model_player import ModelPlayer, environment_reward
from agent_gym_env.training.played_dialogues import evenly_spread
from agent_gym_env.training.trl_callbacks import Trained
from agent_gym_env.training.trl_run import (
    RunOptions,
    TRLRun,
    load_model,
    load_tokenizer,
    peft_config,
    run_trainer,
)

trl: Any = require("trl", extra="train")
datasets: Any = require("datasets", extra="train")

if TYPE_CHECKING:
    from typing_extensions import Unpack

_RESAMPLES = 2000
"""Bootstrap resamples for the interval of a change."""

_ALGORITHMS: dict[str, dict[str, Any]] = {
    "grpo": {"loss_type": "dapo", "scale_rewards": "group"},
    # The baseline is the mean of the whole group, not of the others: in a group of n, every
    # advantage then differs by the same factor, n / (n - 1).
    "rloo": {"loss_type": "dr_grpo", "scale_rewards": "none"},
}
"""TRL's settings for each algorithm. TRL's own RLOO trainer cannot play an environment."""


class PlayDifference(msgspec.Struct, frozen=True):
    """Mean rewards of plays from the same states, before and after the training.

    Attributes:
        before: mean reward of a turn before the training; ``None`` if no state was scored twice.
        after: the same mean after the training.
        change: difference over the states that were scored both times, with its interval.
    """

    before: float | None
    after: float | None
    change: Difference


class GRPOReport(msgspec.Struct, frozen=True):
    """The data that a run was trained on, and its results.

    Attributes:
        steps: steps of the optimizer.
        situations: states that the model played from; each draw counts.
        plays: plays from these states.
        failed: plays that ended because the simulated user's model did not answer; they are taken
            out of their groups.
        tokens: tokens of these plays, prompts included.
        learned: tokens of these plays that the model wrote.
        available: rows that leave room for an answer.
        long: share of the rows that was left out because they leave no room for an answer.
        held_out: change of greedy play from held-out rows; ``None`` without held-out rows.
        origin: dialogues of the rows, by split.
    """

    steps: int
    situations: int
    plays: int
    failed: int
    tokens: int
    learned: int
    available: int
    long: float
    held_out: PlayDifference | None
    origin: Origin


def train_grpo(config: GRPOConfig, *, out: Path, **options: Unpack[RunOptions]) -> Path:
    """Train a model on the rewards of the turns that it plays.

    See `agent_gym_env.training.trl_run.run_trainer` for the arguments, the result and the errors.
    """
    return run_trainer("grpo", config, _fit, out=out, **options)


def _fit(config: GRPOConfig, run: TRLRun) -> GRPOReport:
    player = ModelPlayer(config.rollout, load_tokenizer(config))
    rows = chat_dataset(config.rows, "grpo")
    situations = player.situations(rows)
    if not situations:
        problem = f"no row leaves room for an answer within max_length={config.max_length} tokens"
        raise DataError(problem, file=config.rows[0])
    trainer = _trainer(config, run, player, situations)
    model = trainer.accelerator.unwrap_model(trainer.model)
    held_out = _held_out(config, player)
    before = player.play(model, held_out, temperature=0.0)
    run.train(trainer)
    after = player.play(model, held_out, temperature=0.0)
    return GRPOReport(
        steps=run.trained.steps,
        situations=run.trained.rows // config.generations,
        plays=run.trained.rows,
        failed=run.trained.failed,
        tokens=run.trained.tokens,
        learned=run.trained.learned,
        available=len(situations),
        long=1 - len(situations) / len(rows),
        held_out=compare_plays(after, before, [each.dialogue_id for each in held_out])
        if held_out
        else None,
        origin=origin(rows, config.held_out, "grpo"),
    )


def _count(trained: Trained, plays: Sequence[Played]) -> None:
    trained.rows += len(plays)
    trained.failed += sum(play.failure is not None for play in plays)
    trained.tokens += sum(len(play.prompt_ids) + len(play.completion_ids) for play in plays)
    trained.learned += sum(sum(play.env_mask) for play in plays)


def _held_out(config: GRPOConfig, player: ModelPlayer) -> list[Situation]:
    if not config.held_out:
        return []
    situations = player.situations(chat_dataset(config.held_out, "grpo"))
    return evenly_spread(situations, config.evaluated)


def _trainer(
    config: GRPOConfig, run: TRLRun, player: ModelPlayer, situations: Sequence[Situation]
) -> Any:
    def rollout(prompts: Sequence[str], trainer: Any) -> dict[str, Any]:
        fields = player.rollout(prompts, trainer)
        _count(run.trained, fields["played"])
        return fields

    prompts = [msgspec.json.encode(each).decode() for each in situations]
    return trl.GRPOTrainer(
        load_model(config),
        reward_funcs=environment_reward,
        args=trl.GRPOConfig(
            num_generations=config.generations,
            temperature=config.temperature,
            max_completion_length=config.max_new_tokens,
            beta=config.beta,
            **_ALGORITHMS[config.algorithm],
            **{**run.arguments(), "eval_strategy": "no"},
        ),
        train_dataset=datasets.Dataset.from_dict({"prompt": prompts}),
        processing_class=player.tokenizer,
        peft_config=peft_config(config.lora),
        callbacks=run.callbacks(),
        rollout_func=rollout,
    )


def compare_plays(
    after: Sequence[Played], before: Sequence[Played], dialogues: Sequence[str]
) -> PlayDifference:
    """Compare plays from the same states.

    Args:
        after: plays of the trained model, one from each state.
        before: plays of the original model.
        dialogues: dialogue ids of the states; the bootstrap resamples dialogues.
    """
    names = sorted(set(dialogues))
    places = {name: place for place, name in enumerate(names)}
    sums = np.zeros((3, len(names)))
    for now, was, name in zip(after, before, dialogues, strict=True):
        if now.reward is not None and was.reward is not None:
            sums[:, places[name]] += (now.reward, was.reward, 1)
    first, second, counts = sums
    change = paired_difference(
        first, second, counts, resamples=_RESAMPLES, rng=np.random.default_rng(0)
    )
    return PlayDifference(
        before=float(second.sum() / counts.sum()) if change.count else None,
        after=float(first.sum() / counts.sum()) if change.count else None,
        change=change,
    )
