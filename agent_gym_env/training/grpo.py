"""Group relative policy optimisation in the real environments, with TRL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import msgspec
import numpy as np

from agent_gym_env.envs.dialogue import unwrap_sgd
from agent_gym_env.envs.sgd_sim import unwrap_simulation
from agent_gym_env.errors import DataError
from agent_gym_env.evaluation.statistics import Difference, paired_difference
from agent_gym_env.extras import require
from agent_gym_env.lm.torch_generation import Generator
from agent_gym_env.registry import DEFAULT_REWARDS
from agent_gym_env.training.chat_dataset import Origin, chat_dataset, origin
from agent_gym_env.training.config import GRPOConfig
from agent_gym_env.training.model_play import (
    ChatTokens,
    Limits,
    Played,
    Situation,
    World,
    play_together,
    refuse_other_tools,
    situation,
)
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

torch: Any = require("torch", extra="train")
trl: Any = require("trl", extra="train")
datasets: Any = require("datasets", extra="train")

if TYPE_CHECKING:
    from typing_extensions import Unpack

_CACHE_BYTES = 1 << 28
"""Memory for keys and values of the model during play."""

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
    player = _Player(config, load_tokenizer(config), run.trained)
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


class _Player:
    """Plays from the rows of a run, and counts the plays of the training."""

    def __init__(self, config: GRPOConfig, tokenizer: Any, trained: Trained) -> None:
        self.tokenizer = tokenizer
        self._trained = trained
        self._config = config
        self._chat = ChatTokens(tokenizer, [tokenizer.eos_token_id])
        turns = config.turns
        if turns == "auto":
            turns = None if config.is_simulated else 1
        self._limits = Limits(turns, config.max_new_tokens, config.max_length)
        self._worlds: dict[str, World] = {}

    def situations(self, rows: Iterable[Mapping[str, Any]]) -> list[Situation]:
        """Read the states of rows, without those that leave no room for an answer.

        Raises:
            DataError: a row belongs to another corpus, split or choice of tools.
        """
        most = self._limits.tokens - self._limits.message
        situations = []
        for row in rows:
            begin = situation(row)
            refuse_other_tools(begin, row["tools"], self._world(begin.split))
            if len(self._chat.prompt(row["prompt"], row["tools"])) <= most:
                situations.append(begin)
        return situations

    def rollout(self, prompts: Sequence[str], trainer: Any) -> dict[str, Any]:
        """Play once from each prompt; called by TRL's trainer, which repeats them per group."""
        config = self._config
        plays = self.play(
            trainer.accelerator.unwrap_model(trainer.model),
            [msgspec.json.decode(prompt, type=Situation) for prompt in prompts],
            temperature=config.temperature,
            seed=f"{config.seed} {trainer.state.global_step}",
        )
        self._trained.rows += len(plays)
        self._trained.failed += sum(play.failed for play in plays)
        self._trained.tokens += sum(
            len(play.prompt_ids) + len(play.completion_ids) for play in plays
        )
        self._trained.learned += sum(sum(play.env_mask) for play in plays)
        return {
            "prompt_ids": [play.prompt_ids for play in plays],
            "completion_ids": [play.completion_ids for play in plays],
            "env_mask": [play.env_mask for play in plays],
            # The trainer computes them itself. Only generators outside it must return them.
            "logprobs": None,
            "played": plays,
        }

    def play(
        self, model: Any, situations: Sequence[Situation], *, temperature: float, seed: str = ""
    ) -> list[Played]:
        """Play once from each state with the current weights of a model."""
        worlds = {each.split: self._world(each.split) for each in situations}
        was_training, on_gpu = model.training, model.device.type == "cuda"
        model.eval()
        generator = Generator(
            model,
            self.tokenizer,
            ends=self._chat.ends,
            context=self._limits.tokens,
            cache_bytes=_CACHE_BYTES,
        )
        with torch.autocast("cuda", torch.bfloat16, enabled=on_gpu):
            plays = play_together(
                situations,
                worlds,
                generator,
                self._chat,
                self._limits,
                temperature=temperature,
                seed=seed,
                batch_size=self._config.plays_at_once,
            )
        model.train(was_training)
        return plays

    def _world(self, split: str) -> World:
        if split not in self._worlds:
            self._worlds[split] = _world(self._config, split)
        return self._worlds[split]


def _world(config: GRPOConfig, split: str) -> World:
    name, options = config.environment()
    reward = config.reward or DEFAULT_REWARDS[name]
    env = gym.make(f"agent_gym_env:{name}", split=split, reward=reward, **options)
    return unwrap_simulation(env) if config.is_simulated else unwrap_sgd(env).settings


def _held_out(config: GRPOConfig, player: _Player) -> list[Situation]:
    if not config.held_out:
        return []
    situations = player.situations(chat_dataset(config.held_out, "grpo"))
    return evenly_spread(situations, config.evaluated)


def _trainer(
    config: GRPOConfig, run: TRLRun, player: _Player, situations: Sequence[Situation]
) -> Any:
    prompts = [msgspec.json.encode(each).decode() for each in situations]
    return trl.GRPOTrainer(
        load_model(config),
        reward_funcs=environment,
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
        rollout_func=player.rollout,
    )


def environment(
    completions: Sequence[Any],
    played: Sequence[Played],
    log_metric: Callable[[str, float], None],
    **_: Any,
) -> list[float | None]:
    """Return the rewards of plays to TRL's trainer; ``None`` takes a play out of its group."""
    rewards = [reward for play in played for reward in play.rewards]
    log_metric("unscored", rewards.count(None) / max(1, len(rewards)))
    log_metric("failed", sum(play.failed for play in played) / len(played))
    return [play.reward for play in played]


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
