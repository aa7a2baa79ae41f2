"""Plays that TRL's trainer learns from: played with the model that it trains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import msgspec

from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.envs.sgd_sim import SGDSimEnv, unwrap_any
from agent_gym_env.extras import require
from agent_gym_env.lm.torch_generation import Generator
from agent_gym_env.registry import DEFAULT_REWARDS
from agent_gym_env.training.config import RolloutConfig
from agent_gym_env.training.model_play import (
    ChatTokens,
    Limits,
    Played,
    ScoredDialogue,
    Situation,
    World,
    play_together,
    refuse_other_tools,
    situation,
)

torch: Any = require("torch", extra="train")

_CACHE_BYTES = 1 << 28
"""Memory for keys and values of the model during play."""

_NOT_HERE: dict[str, tuple[Any, ...]] = {
    "use_vllm": (False,),
    "top_p": (None, 1.0),
    "top_k": (None, 0),
    "min_p": (None, 0.0),
    "repetition_penalty": (None, 1.0),
}
"""Settings of TRL's trainer that its own generation follows, and the values that change nothing."""


class Worlds(dict[str, World]):
    """Environments by split, each opened when it is first asked for.

    Args:
        config: settings of the plays.
    """

    def __init__(self, config: RolloutConfig) -> None:
        self._config = config

    def __missing__(self, split: str) -> World:
        self[split] = world = open_world(self._config, split)
        return world


def open_world(config: RolloutConfig, split: str) -> World:
    """Open the environment of a split, for `begun`.

    Raises:
        ValueError: an argument of the environment is unknown or not among its values.
        DataError: the corpus is missing or damaged.
    """
    env = open_env(config, split)
    return env if isinstance(env, SGDSimEnv) else env.settings


def open_env(config: RolloutConfig, split: str, **changes: Any) -> SGDEnv | SGDSimEnv:
    """Open the environment of a split.

    Args:
        config: settings of the plays.
        split: name of the split.
        **changes: arguments of the environment in the place of those of the settings.

    Raises:
        ValueError: an argument of the environment is unknown or not among its values.
        DataError: the corpus is missing or damaged.
    """
    name, options = config.environment()
    arguments = {"reward": config.reward or DEFAULT_REWARDS[name], **options, **changes}
    return unwrap_any(gym.make(f"agent_gym_env:{name}", split=split, **arguments))


class ModelPlayer:
    """Plays dialogues with a model that is being trained.

    Args:
        config: settings of the plays.
        tokenizer: tokenizer of the model, with a chat template that supports tools.

    Raises:
        DataError: the chat template ends an assistant's message with no special token.
    """

    def __init__(self, config: RolloutConfig, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._config = config
        self._chat = ChatTokens(tokenizer, [tokenizer.eos_token_id])
        self._limits = Limits(config.turn_limit, config.max_new_tokens, config.max_length)
        self._worlds = Worlds(config)
        self._step, self._calls = -1, 0

    def situations(self, rows: Iterable[Mapping[str, Any]]) -> list[Situation]:
        """Read the states of ``grpo`` rows, without those that leave no room for an answer.

        Raises:
            DataError: a row belongs to another corpus, split or choice of tools.
        """
        most = self._limits.tokens - self._limits.message
        situations = []
        for row in rows:
            begin = situation(row)
            refuse_other_tools(begin, row["tools"], self._worlds[begin.split])
            if len(self._chat.prompt(row["prompt"], row["tools"])) <= most:
                situations.append(begin)
        return situations

    def rollout(self, prompts: Sequence[str], trainer: Any) -> dict[str, Any]:
        """Play once from each prompt, as TRL's ``rollout_func``.

        Args:
            prompts: a `Situation` as JSON for each play. The trainer repeats them per group.
            trainer: TRL's trainer.

        Raises:
            ValueError: the trainer's settings ask for another way to generate than this module's,
                or a prompt is not a `Situation`.
        """
        refuse_other_generation(trainer.args)
        plays = self.play(
            trainer.accelerator.unwrap_model(trainer.model),
            [read_situation(prompt) for prompt in prompts],
            temperature=trainer.args.temperature,
            seed=self._seed(trainer.state.global_step),
            first=trainer.accelerator.process_index * len(prompts),
        )
        return {
            "prompt_ids": [play.prompt_ids for play in plays],
            "completion_ids": [play.completion_ids for play in plays],
            "env_mask": [play.env_mask for play in plays],
            # The trainer computes them itself. Only generators outside it must return them.
            "logprobs": None,
            "played": plays,
        }

    def _seed(self, step: int) -> str:
        """Return the seed of a call; a step of the optimizer may need several."""
        self._calls = self._calls + 1 if step == self._step else 0
        self._step = step
        return f"{self._config.seed} {step}" + (f" {self._calls}" if self._calls else "")

    def play(
        self,
        model: Any,
        situations: Sequence[Situation],
        *,
        temperature: float,
        seed: str = "",
        first: int = 0,
    ) -> list[Played]:
        """Play once from each state with the current weights of a model.

        See `play_together` for the arguments and the errors.
        """
        worlds = {each.split: self._worlds[each.split] for each in situations}
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
                first=first,
            )
        model.train(was_training)
        return plays


def refuse_other_generation(args: Any) -> None:
    """Check that a trainer's settings ask for no other way to draw tokens than this module's.

    Raises:
        ValueError: they do.
    """
    for name, same in _NOT_HERE.items():
        value = getattr(args, name, same[0])
        if value not in same:
            raise ValueError(
                f"rollout_func draws from the whole distribution with the model in this process; "
                f"expected {name}={same[-1]} in the trainer's settings, not {value!r}"
            )


def read_situation(prompt: Any) -> Situation:
    """Read the beginning of a play from JSON.

    Raises:
        ValueError: it is not a `Situation`.
    """
    try:
        return msgspec.json.decode(prompt, type=Situation)
    except (msgspec.MsgspecError, TypeError) as error:
        raise ValueError(
            f"expected the beginning of a dialogue, as a data set of `agent_gym_env.trl` has it, "
            f"not {prompt!r:.80}: {error}"
        ) from error


def environment_reward(
    completions: Sequence[Any],
    log_metric: Callable[[str, float], None],
    played: Sequence[Played] | None = None,
    environments: Sequence[Any] | None = None,
    **_: Any,
) -> list[float | None]:
    """Return the rewards of plays to TRL's trainer; ``None`` takes a play out of its group.

    Logs the shares of turns without a reward (``unscored``) and of sessions that failed
    (``failed``).

    Args:
        completions: the plays' texts, which are not needed.
        log_metric: logs a measurement.
        played: plays of a rollout function.
        environments: environments of the plays, if the trainer played: each has a ``finished``
            dialogue.
        **_: what the trainer also passes.
    """
    plays: list[Played | ScoredDialogue] = [
        *(played or ()),
        *(each.finished for each in environments or ()),
    ]
    rewards = [reward for play in plays for reward in play.rewards]
    log_metric("unscored", rewards.count(None) / max(1, len(rewards)))
    log_metric("failed", sum(play.failure is not None for play in plays) / max(1, len(plays)))
    return [play.reward for play in plays]
