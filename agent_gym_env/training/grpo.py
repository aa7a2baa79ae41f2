"""Group relative policy optimisation in the real environment, with TRL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import msgspec
import numpy as np

from agent_gym_env.envs.dialogue import unwrap_sgd
from agent_gym_env.envs.replay import World
from agent_gym_env.errors import DataError
from agent_gym_env.extras import require
from agent_gym_env.lm.torch_generation import Generator
from agent_gym_env.training.chat_dataset import chat_dataset
from agent_gym_env.training.chat_tokens import ChatTokens
from agent_gym_env.training.grpo_config import GRPOConfig
from agent_gym_env.training.model_play import (
    Limits,
    Played,
    Situation,
    play_together,
    refuse_other_tools,
    situation,
)
from agent_gym_env.training.play_difference import PlayDifference, compare_plays
from agent_gym_env.training.progress import OnMeasured, OnProgress
from agent_gym_env.training.trl_callbacks import Trained
from agent_gym_env.training.trl_run import (
    TRLRun,
    load_model,
    load_tokenizer,
    peft_config,
    process_kept,
)

torch: Any = require("torch", extra="train")
trl: Any = require("trl", extra="train")
datasets: Any = require("datasets", extra="train")

_CACHE_BYTES = 1 << 28
_ALGORITHMS: dict[str, dict[str, Any]] = {
    "grpo": {"loss_type": "dapo", "scale_rewards": "group"},
    # The mean of the others differs from the mean of all by a factor that is the same for all
    # plays: of a group of n by n / (n - 1).
    "rloo": {"loss_type": "dr_grpo", "scale_rewards": "none"},
}
"""How TRL's trainer becomes each. Its own RLOO trainer has no place for an environment."""


class GRPOReport(msgspec.Struct, frozen=True):
    """The data that a run was trained on, and its results.

    Attributes:
        steps: steps of the optimizer.
        situations: situations that it played from; one that was drawn twice counts twice.
        plays: plays from these.
        tokens: tokens of these, prompts included.
        learned: tokens of these that the model wrote.
        available: situations of the rows that could be played from.
        long: share of the rows that was left out since there is no room for an answer.
        held_out: what the training has changed in the play from held-out rows, by the likeliest
            tokens; ``None`` without any.
    """

    steps: int
    situations: int
    plays: int
    tokens: int
    learned: int
    available: int
    long: float
    held_out: PlayDifference | None


@process_kept()
def train_grpo(
    config: GRPOConfig,
    *,
    out: Path,
    resume: bool = False,
    tensorboard: bool = False,
    on_progress: OnProgress | None = None,
    on_measured: OnMeasured | None = None,
) -> Path:
    """Train a model by what its own play earns.

    Args:
        config: of the run.
        out: its folder, as `agent_gym_env.training.trl_run` lays it out, and ``report.json``.
        resume: go on from the folder's last checkpoint. The result is that of an uninterrupted run.
        tensorboard: write TensorBoard's event files.
        on_progress: called with ``grpo`` and the numbers of steps done and of all.
        on_measured: called with measurements, such as ``loss`` and ``reward``.

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
    path = run.train(trainer)
    after = player.play(model, held_out, temperature=0.0)
    report = GRPOReport(
        steps=run.trained.steps,
        situations=run.trained.rows // config.generations,
        plays=run.trained.rows,
        tokens=run.trained.tokens,
        learned=run.trained.learned,
        available=len(situations),
        long=1 - len(situations) / len(rows),
        held_out=compare_plays(after, before, [each.state.dialogue_id for each in held_out])
        if held_out
        else None,
    )
    run.report(report)
    return path


class _Player:
    """Plays the rows of a run, and counts what is played for its trainer."""

    def __init__(self, config: GRPOConfig, tokenizer: Any, trained: Trained) -> None:
        self.tokenizer = tokenizer
        self._trained = trained
        self._config = config
        self._chat = ChatTokens(tokenizer, [tokenizer.eos_token_id])
        self._limits = Limits(config.turns, config.max_new_tokens, config.max_length)
        self._worlds: dict[str, World] = {}

    def situations(self, rows: Iterable[Mapping[str, Any]]) -> list[Situation]:
        """Read where the rows stand; leave out those without room for an answer.

        Raises:
            DataError: a row is of another corpus, split or choice of tools.
        """
        most = self._limits.tokens - self._limits.message
        situations = []
        for row in rows:
            begin = situation(row)
            refuse_other_tools(begin, row["tools"], self._world(begin.state.split))
            if len(self._chat.prompt(row["prompt"], row["tools"])) <= most:
                situations.append(begin)
        return situations

    def rollout(self, prompts: Sequence[str], trainer: Any) -> dict[str, Any]:
        """Play for TRL's trainer, whose prompts are each there as often as it is to be played."""
        config = self._config
        plays = self.play(
            trainer.accelerator.unwrap_model(trainer.model),
            [msgspec.json.decode(prompt, type=Situation) for prompt in prompts],
            temperature=config.temperature,
            seed=f"{config.seed} {trainer.state.global_step}",
        )
        self._trained.rows += len(plays)
        self._trained.tokens += sum(
            len(play.prompt_ids) + len(play.completion_ids) for play in plays
        )
        self._trained.learned += sum(sum(play.env_mask) for play in plays)
        return {
            "prompt_ids": [play.prompt_ids for play in plays],
            "completion_ids": [play.completion_ids for play in plays],
            "env_mask": [play.env_mask for play in plays],
            # The trainer computes them itself; it asks for those of generators beside it.
            "logprobs": None,
            "played": plays,
        }

    def play(
        self, model: Any, situations: Sequence[Situation], *, temperature: float, seed: str = ""
    ) -> list[Played]:
        """Play with a model as it is now."""
        worlds = {each.state.split: self._world(each.state.split) for each in situations}
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
    env = gym.make("agent_gym_env:SGD-v0", split=split, reward=config.reward, **config.env)
    return unwrap_sgd(env).world


def _held_out(config: GRPOConfig, player: _Player) -> list[Situation]:
    if not config.held_out:
        return []
    situations = player.situations(chat_dataset(config.held_out, "grpo"))
    places = np.linspace(0, len(situations) - 1, min(config.evaluated, len(situations)))
    return [situations[round(place)] for place in places.tolist()]


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
    """Give TRL's trainer what the plays earned; ``None`` takes one out of its group."""
    rewards = [reward for play in played for reward in play.rewards]
    log_metric("unscored", rewards.count(None) / len(rewards))
    return [play.reward for play in played]
