"""Agent Gym's dialogues in a script that trains with TRL's `GRPOTrainer`.

Two ways to play, each with its own data set::

    config = RolloutConfig(env="SGDSim-v0", max_length=4096)

    GRPOTrainer(
        model,
        reward_funcs=environment_reward,
        train_dataset=rollout_prompts(config),
        rollout_func=rollout_func(config),
    )
    GRPOTrainer(
        model,
        reward_funcs=environment_reward,
        train_dataset=environment_prompts(config),
        environment_factory=environment_factory(config),
    )

With `rollout_func` the model talks as it does when it is deployed: what it writes is said to the
user, and it calls the services' own tools. With `environment_factory` the trainer plays, and knows
tools only: the model speaks through one of them and calls services through another.

All plays of a group have the same dialogue, seed and user. A session that fails, because the
model of a simulated user or of a judge does not answer, has no reward and is taken out of its
group; the metric ``failed`` is the share of such sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import msgspec

from agent_gym_env.envs.actions import parse_action
from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.envs.replay import Replay
from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.envs.simulation import STATE_VERSION, SimulationStart
from agent_gym_env.errors import STOPS_THE_RUN
from agent_gym_env.export.rows import conversation
from agent_gym_env.extras import require
from agent_gym_env.lm.chat_templates import with_tools
from agent_gym_env.lm.prompt import RULES
from agent_gym_env.rollout.play import episode_seed
from agent_gym_env.training.config import RolloutConfig
from agent_gym_env.training.model_play import ScoredDialogue, Situation
from agent_gym_env.training.model_player import (
    ModelPlayer,
    Worlds,
    environment_reward,
    open_env,
    read_situation,
)
from agent_gym_env.training.played_dialogues import evenly_spread
from agent_gym_env.wrappers.checks import require_positive

__all__ = [
    "TOOL_RULES",
    "DialogueEnvironment",
    "RolloutConfig",
    "async_grpo_trainer",
    "environment_factory",
    "environment_prompts",
    "environment_reward",
    "rollout_func",
    "rollout_prompts",
]

TOOL_RULES = """\
You are the assistant of several services and talk with one user. Today is {today}.

You act by calls only:
- say_to_user says words to the user and returns the answer.
- call_service calls a tool of a service and returns its result.
- A message without a call ends the conversation.
- Call a tool of a service as soon as you know all of its required arguments. Ask for one that is \
missing; never make a value up.
- Before a call that books, buys, sends or changes something, repeat its details and ask the user \
to confirm.
- Say only what a result says."""
"""System message for `environment_factory`; ``{today}`` is replaced by the date."""


def rollout_func(config: RolloutConfig) -> Callable[[Sequence[Any], Any], dict[str, Any]]:
    """Make the ``rollout_func`` of a `GRPOTrainer`.

    It generates with the model in the trainer's process, and follows the trainer's ``temperature``.
    A tokenizer whose chat template leaves tools out gets our ``hermes`` template.

    Args:
        config: settings of the plays.

    Returns:
        A function that plays once from each prompt of `rollout_prompts`. It raises a `ValueError`
        if the trainer asks for another way to generate (``use_vllm``, ``top_p``, ``top_k``,
        ``min_p``, ``repetition_penalty``), or if a first prompt leaves no room for an answer.
    """
    return _RolloutFunc(msgspec.convert(msgspec.to_builtins(config), RolloutConfig))


class _RolloutFunc:
    def __init__(self, config: RolloutConfig) -> None:
        self._config = config
        self._player: ModelPlayer | None = None

    def __call__(self, prompts: Sequence[Any], trainer: Any) -> dict[str, Any]:
        if self._player is None:
            tokenizer = trainer.processing_class
            self._player = ModelPlayer(
                self._config, with_tools(tokenizer, None, tokenizer.name_or_path)
            )
        fields = self._player.rollout(prompts, trainer)
        longest = max(map(len, fields["prompt_ids"]), default=0)
        if longest + self._config.max_new_tokens > self._config.max_length:
            raise ValueError(
                f"a first prompt has {longest} tokens and a message up to "
                f"max_new_tokens={self._config.max_new_tokens}; expected both to fit into "
                f"max_length={self._config.max_length}: raise it"
            )
        return fields


def environment_factory(
    config: RolloutConfig, *, owns_reward: bool = False
) -> Callable[[], DialogueEnvironment]:
    """Make the ``environment_factory`` of a `GRPOTrainer` or `AsyncGRPOTrainer`.

    Args:
        config: settings of the plays; only ``env``, ``reward`` and ``turns`` are used.
        owns_reward: whether the environments have a ``get_reward``, so that the trainer needs no
            reward function. `AsyncGRPOTrainer` needs this. `GRPOTrainer` does better without, and
            with `environment_reward`, which also counts failed sessions.

    Returns:
        A function without arguments that makes a `DialogueEnvironment`. It can be pickled.
    """
    checked = msgspec.convert(msgspec.to_builtins(config), RolloutConfig)
    return partial(ScoringEnvironment if owns_reward else DialogueEnvironment, checked)


class DialogueEnvironment:
    """A dialogue that a trainer of TRL plays: its two public methods are the model's tools.

    Args:
        config: settings of the plays.
    """

    def __init__(self, config: RolloutConfig) -> None:
        self._worlds = Worlds(config)
        self._turns = config.turn_limit
        self._stop: Exception | None = None

    def reset(self, *, situation: str, **_: Any) -> str:
        """Begin the dialogue of a row of `environment_prompts`.

        Args:
            situation: column of the data set: the beginning of the dialogue.
            **_: the other columns.

        Returns:
            The tools of the services and the conversation so far.
        """
        begin = read_situation(situation)
        self._dialogue = ScoredDialogue(begin, self._worlds[begin.split], self._turns)
        observation = self._dialogue.begin()
        if not observation:
            return _FAILED
        return (
            f"Tools for call_service:\n{observation['tools']}\n\n"
            f"The conversation so far:\n{observation['messages']}"
        )

    def say_to_user(self, text: str) -> str:
        """Speak to the user, which ends your turn.

        Args:
            text: The words.

        Returns:
            The user's answer.
        """
        return self._step({"text": text})

    def call_service(self, name: str, arguments: dict[str, Any]) -> str:
        """Call a tool of a service.

        Args:
            name: The name of the tool.
            arguments: The values by the names of the arguments.

        Returns:
            The result as JSON.
        """
        return self._step({"tool_calls": [{"name": name, "arguments": arguments}]})

    def _step(self, action: dict[str, Any]) -> str:
        if self._dialogue.is_over:
            return _OVER
        try:
            observation = self._dialogue.step(action)
        except STOPS_THE_RUN as error:
            # The trainer shows a tool's exceptions to the model; `finished` raises this one again.
            self._stop = error
            raise
        if self._dialogue.failure is not None:
            return _FAILED
        said = [observation["tool_result"], observation["user"]]
        return "\n".join([*filter(None, said), *([_OVER] if self._dialogue.is_over else [])])

    @property
    def finished(self) -> ScoredDialogue:
        """The dialogue, played in silence to its end from where the model stopped.

        Raises:
            BudgetExceeded: the run has spent its budget. So for the other errors that end a run.
        """
        if self._stop is not None:
            raise self._stop
        self._dialogue.stay_silent()
        return self._dialogue


class ScoringEnvironment(DialogueEnvironment):
    """A `DialogueEnvironment` that tells the trainer its reward."""

    def get_reward(self) -> float | None:
        """Return the reward of the play; ``None`` if it is unknown or the session failed."""
        return self.finished.reward


_OVER = "The conversation is over. Answer without a call."
_FAILED = "The session has failed. Answer without a call."


def rollout_prompts(
    config: RolloutConfig,
    *,
    split: str = "train",
    dialogues: int | None = None,
    trials: int = 1,
    seed: int = 0,
    rules: str = RULES,
) -> Any:
    """Make the data set of `rollout_func`.

    A simulated dialogue is a row, and so is a recorded one that is played to its end. A recorded
    dialogue that is played for some ``turns`` has a row for each turn, which follows the recorded
    turns before it.

    Args:
        config: settings of the plays.
        split: split of the dialogues.
        dialogues: number of dialogues, evenly spread over the split; ``None`` for all.
        trials: rows of each beginning, with different seeds: for a simulated user who is random.
        seed: seed that those of the dialogues are derived from, as in ``agent-gym evaluate``.
        rules: system message, with ``{today}`` in the place of the date.

    Returns:
        A `datasets.Dataset` with the columns ``prompt`` (the beginning as JSON), ``dialogue_id``,
        ``turn`` and ``seed``. All generations of a row have its dialogue and seed.

    Raises:
        ValueError: an argument of the environment is unknown or not among its values, or
            ``dialogues`` or ``trials`` is below 1.
        DataError: the corpus is missing or damaged.
        MissingDependency: the extra ``train`` is not installed.
    """
    rows = _rows(config, split, dialogues, trials, seed, rules)
    return _dataset({"prompt": begin, **columns} for begin, columns in rows)


def environment_prompts(
    config: RolloutConfig,
    *,
    split: str = "train",
    dialogues: int | None = None,
    trials: int = 1,
    seed: int = 0,
    rules: str = TOOL_RULES,
) -> Any:
    """Make the data set of `environment_factory`.

    Its rows are those of `rollout_prompts`, with the beginning in the column ``situation`` and the
    system message in ``prompt``, to which the environment adds tools and conversation.

    Args:
        config: as in `rollout_prompts`.
        split: as in `rollout_prompts`.
        dialogues: as in `rollout_prompts`.
        trials: as in `rollout_prompts`.
        seed: as in `rollout_prompts`.
        rules: as in `rollout_prompts`.

    Raises:
        ValueError: as in `rollout_prompts`.
        DataError: as in `rollout_prompts`.
        MissingDependency: as in `rollout_prompts`.
    """
    rows = _rows(config, split, dialogues, trials, seed, rules)
    user = {"role": "user", "content": ""}
    return _dataset(
        {"prompt": [read_situation(begin).system, user], "situation": begin, **columns}
        for begin, columns in rows
    )


def _dataset(rows: Iterator[dict[str, Any]]) -> Any:
    datasets: Any = require("datasets", extra="train")
    return datasets.Dataset.from_list(list(rows))


def _rows(
    config: RolloutConfig, split: str, dialogues: int | None, trials: int, seed: int, rules: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each beginning as JSON, and its other columns."""
    require_positive("trials", trials)
    if dialogues is not None:
        require_positive("dialogues", dialogues)
    # Walking to a turn asks no judge and no live tool.
    env = open_env(config, split) if config.is_simulated else open_recorded(config, split)
    selected = list(env.selected)
    most = len(selected) if dialogues is None else dialogues
    for index in evenly_spread(selected, most):
        task = env.split.task(index)
        for trial in range(trials):
            of_row = episode_seed(seed, task.dialogue_id, trial)
            for turn, messages, state in _states(env, index, of_row, config.turn_limit):
                begin = Situation(
                    dialogue_id=task.dialogue_id,
                    split=split,
                    turn=turn,
                    state=state,
                    system=conversation(messages, task.date, rules)[0],
                )
                columns = {"dialogue_id": task.dialogue_id, "turn": turn, "seed": of_row}
                yield msgspec.json.encode(begin).decode(), columns


def open_recorded(config: RolloutConfig, split: str) -> SGDEnv | SGDSimEnv:
    """Open an environment of recorded dialogues whose turns cost nothing."""
    return open_env(config, split, reward="ground_truth", tool_backend="replay")


def _states(
    env: SGDEnv | SGDSimEnv, index: int, seed: int, turns: int | None
) -> Iterator[tuple[int, str, str]]:
    """Yield turn, messages and state of each beginning in a dialogue."""
    if isinstance(env, SGDSimEnv):
        start = SimulationStart(
            version=STATE_VERSION,
            corpus=env.split.fingerprint,
            split=env.split.name,
            dialogue_id=env.split.task(index).dialogue_id,
            seed=seed,
            user_options=env.user_options,
        )
        yield 0, "[]", msgspec.json.encode(start).decode()
        return
    replay = Replay(env.settings, env.split.task(index))
    while not replay.over:
        state = msgspec.json.encode(replay.snapshot()).decode()
        yield replay.turn, replay.messages, state
        if turns is None:
            return
        turn = replay.turn
        while replay.turn == turn:
            replay.step(parse_action(replay.recorded_action()))


def async_grpo_trainer() -> Any:
    """Return TRL's `AsyncGRPOTrainer`, which is stable from TRL 1.18 and experimental before.

    It plays by an ``environment_factory`` with ``owns_reward``; it has no ``rollout_func``.

    Raises:
        MissingDependency: TRL is not installed.
    """
    trl: Any = require("trl", extra="train")
    try:
        return trl.AsyncGRPOTrainer
    except AttributeError:
        return import_module("trl.experimental.async_grpo").AsyncGRPOTrainer
