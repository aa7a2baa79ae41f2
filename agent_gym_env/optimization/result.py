"""The settings and the result of an optimisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, fields
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from agent_gym_env.errors import DataError
from agent_gym_env.evaluation.statistics import Difference, Estimate
from agent_gym_env.lm.base import default_model
from agent_gym_env.lm.credentials import without_credentials
from agent_gym_env.lm.open_model import ModelConfig
from agent_gym_env.optimization.monitor import Callback, CallCounts, Event
from agent_gym_env.registry import DEFAULT_REWARDS, REPLAYED, STRATEGIES
from agent_gym_env.rewards.base import Reward
from agent_gym_env.rewards.task import TaskReward
from agent_gym_env.storage.files import read_file, written_whole
from agent_gym_env.suggestions import unknown_name

RESULT_FORMAT = 1

Effort = Literal["light", "medium", "heavy"]

Unit = Literal["turn", "dialogue"]
"""An example of an optimiser: a turn of a recorded dialogue, or a whole simulated dialogue."""


@dataclass
class Settings:
    """Settings of an optimisation.

    An example is a turn with ``SGD-v0``, and a whole dialogue with ``SGDSim-v0``.

    Attributes:
        data_path: ``sample``, ``sgd``, the path of a folder or archive in SGD's format, the name of
            a reader, or a mapping with a name and options.
        strategy: ``bootstrap``: demonstrations from examples with a high reward;
            ``bootstrap_random``: the best of several sets of them; ``mipro``: sets of
            demonstrations and proposed instructions together; ``gepa``: instructions, rewritten
            after reflection on mistakes; ``simba``: demonstrations and rules from the examples with
            the most variable rewards; or a registered name, or ``package.module:Name``.
        num_train: number of examples to learn from.
        output_path: path of the program, JSON. The result is written beside it, as
            ``<name>_result.json``.
        num_validation: number of examples to compare programs on.
        num_held_out: number of examples to measure the result on.
        split: split of the examples to learn from and to compare programs on.
        held_out_split: split of the examples to measure on; ``None`` for ``dev``, then ``test``,
            then the same split, with other dialogues.
        schema_variant: ``v1`` to ``v5``, or ``None`` for the original schema.
        env: ``SGD-v0``, ``SGDSim-v0``, or a mapping with the name ``SGDSim-v0`` and further options
            of `SGDSimEnv`.
        reward: reward of the environment: a name, a mapping that configures one, or an object;
            ``None`` for ``balanced``, and for ``task`` with ``SGDSim-v0``.
        model: model of the program: a name, a mapping for `open_model`, or an object; ``None`` for
            `agent_gym_env.lm.base.default_model`.
        prompt_model: model that writes instructions; ``None`` for the program's model.
        program: path of the program to begin with; ``None`` for the original one.
        effort: length of the search.
        options: options of DSPy's optimiser, by its own names; they override ``effort``.
        seed: seed of every random draw.
        threads: number of examples that are played at once.
        temperature: temperature of the program's model; ``None`` for the provider's own.
        max_errors: number of failures of models and of unknown rewards that are tolerated.
        callback: called with each event.

    Raises:
        ValueError: the strategy, the effort or the environment is unknown, a number is not
            positive, or ``SGD-v0`` has options.
        TypeError: an option is not a JSON value.
    """

    data_path: str | PathLike[str] | Mapping[str, Any] = "sample"
    strategy: str = "mipro"
    num_train: int = 50
    output_path: str | PathLike[str] = "checkpoints/agent.json"
    _: KW_ONLY
    num_validation: int = 50
    num_held_out: int = 100
    split: str = "train"
    held_out_split: str | None = None
    schema_variant: str | None = None
    env: str | Mapping[str, Any] = "SGD-v0"
    reward: str | Mapping[str, Any] | Reward | TaskReward | None = None
    model: ModelConfig | None = None
    prompt_model: ModelConfig | None = None
    program: str | PathLike[str] | None = None
    effort: Effort = "light"
    options: Mapping[str, Any] | None = None
    seed: int = 0
    threads: int = 8
    temperature: float | None = None
    max_errors: int = 10
    callback: Callback | None = None

    def __post_init__(self) -> None:
        if not STRATEGIES.knows(self.strategy):
            raise ValueError(unknown_name("strategy", self.strategy, STRATEGIES.names()))
        if self.effort not in get_args(Effort):
            raise ValueError(unknown_name("effort", self.effort, get_args(Effort)))
        name = self.environment.get("name")
        if name not in DEFAULT_REWARDS:
            raise ValueError(unknown_name("env", name, DEFAULT_REWARDS))
        if name in REPLAYED and len(self.environment) > 1:
            given = sorted(self.environment.keys() - {"name"})
            raise ValueError(f"env: {name} takes no options here, but has {given}")
        self.reward = DEFAULT_REWARDS[name] if self.reward is None else self.reward
        for name in ("num_train", "num_validation", "num_held_out", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        self.model = default_model() if self.model is None else self.model
        self.prompt_model = self.model if self.prompt_model is None else self.prompt_model
        # The result contains them: fail now rather than after hours of calls.
        try:
            msgspec.json.encode(self.as_json())
        except TypeError as error:
            raise TypeError(f"options, env and reward must be JSON values: {error}") from error

    @property
    def environment(self) -> Mapping[str, Any]:
        """The name of the environment and its options."""
        return {"name": self.env} if isinstance(self.env, str) else self.env

    def as_json(self) -> dict[str, Any]:
        """Return the settings that determine the result, as JSON values without credentials."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        del values["output_path"], values["callback"]
        data = self.data_path
        return {
            **values,
            "data_path": dict(data) if isinstance(data, Mapping) else fspath(data),
            "env": without_credentials(dict(self.environment)),
            "reward": _reward_as_json(self.reward),
            "model": _model_name(self.model),
            "prompt_model": _model_name(self.prompt_model),
            "program": None if self.program is None else fspath(self.program),
            "options": dict(self.options or {}),
        }


def _reward_as_json(
    reward: str | Mapping[str, Any] | Reward | TaskReward | None,
) -> str | dict[str, Any] | None:
    if reward is None or isinstance(reward, str):
        return reward
    if isinstance(reward, Mapping):
        plain: dict[str, Any] = without_credentials(reward)
        return plain
    return reward.name


def _model_name(model: ModelConfig | None) -> str:
    if model is None or isinstance(model, str):
        return model or default_model()
    return str(model.get("model", default_model())) if isinstance(model, Mapping) else model.name


class HeldOutScore(msgspec.Struct, frozen=True):
    """Rewards of a program on the held-out examples.

    Attributes:
        reward: mean reward per turn, or per simulated dialogue, with its interval over dialogues.
        components: mean of each part of the reward, over the turns to which it applies; of
            simulated dialogues the means of ``success``, ``strict`` and ``milestones``.
        rewards: reward of each example; ``None`` if it is unknown.
    """

    reward: Estimate
    components: dict[str, Estimate]
    rewards: dict[str, float | None]


class Turns(msgspec.Struct, frozen=True):
    """The examples of an optimisation by purpose.

    Each is named ``dialogue_id#turn``; a simulated dialogue by its id.

    Attributes:
        train: examples that the optimiser learned from.
        validation: examples that the optimiser compared programs on.
        held_out: examples that the result is measured on, of other dialogues.
        train_split: split of ``train`` and ``validation``.
        held_out_split: split of ``held_out``.
        corpora: fingerprint of each split.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    held_out: tuple[str, ...]
    train_split: str
    held_out_split: str
    corpora: dict[str, str]


class LeakCheck(msgspec.Struct, frozen=True):
    """Check that the result is measured on dialogues that nothing was learned or chosen from.

    A dialogue is recognised by its user turns, in any split and under any id.

    Attributes:
        demonstrations: for each of ``few_shot_demos`` the example that it was taken from; ``None``
            if it is not of this run, such as one of the program that the run began with.
        learned_from: number of dialogues of the train and validation examples.
        held_out: number of dialogues of the held-out examples.
        overlap: number of dialogues that are among both; a run with any is refused.
    """

    demonstrations: tuple[str | None, ...]
    learned_from: int
    held_out: int
    overlap: int


class OptimizationResult(msgspec.Struct, frozen=True):
    """Result of an optimisation.

    Attributes:
        strategy: name of the strategy.
        baseline: rewards of the original program.
        optimized: rewards of the optimised program, on the same examples.
        difference: optimised minus baseline, in reward per example, paired by example.
        improvement_pct: change of the mean reward in percent of the baseline; ``None`` if that is
            0 or unknown.
        initial_prompt: instructions of the original program.
        optimized_prompt: instructions of the optimised program.
        few_shot_demos: demonstrations of the optimised program, field by field.
        events: events of the run, without the single examples.
        counts: calls of models, and their cost.
        turns: examples by purpose.
        settings: settings of the run.
        versions: versions of the libraries that can change the result.
        program_path: path of the program.
        duration_s: wall-clock seconds.
        unit: what an example is.
        leak_check: check of the held-out dialogues; ``None`` in results of earlier versions.
        format: version of this format.
    """

    strategy: str
    baseline: HeldOutScore
    optimized: HeldOutScore
    difference: Difference
    improvement_pct: float | None
    initial_prompt: str
    optimized_prompt: str
    few_shot_demos: tuple[dict[str, str], ...]
    events: tuple[Event, ...]
    counts: CallCounts
    turns: Turns
    settings: dict[str, Any]
    versions: dict[str, str]
    program_path: str
    duration_s: float
    unit: Unit = "turn"
    leak_check: LeakCheck | None = None
    format: int = RESULT_FORMAT

    def save(self, path: str | Path) -> None:
        """Write the result; the file appears complete or not at all.

        Raises:
            StorageError: the file cannot be written.
        """
        with written_whole(Path(path)) as file:
            file.write(msgspec.json.format(msgspec.json.encode(self)))

    @classmethod
    def load(cls, path: str | Path) -> OptimizationResult:
        """Read a result.

        Raises:
            DataError: the file is not a result, or has another version's format.
        """
        try:
            result = msgspec.json.decode(read_file(path), type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DataError(f"not the result of an optimisation: {error}", file=str(path)) from (
                error
            )
        if result.format != RESULT_FORMAT:
            raise DataError(
                f"the result's format is {result.format}; this version reads {RESULT_FORMAT}",
                file=str(path),
            )
        return result


def improvement_pct(baseline: float | None, optimized: float | None) -> float | None:
    """Return the change in percent of the baseline; ``None`` if that is 0 or unknown."""
    if not baseline or optimized is None:
        return None
    return 100 * (optimized - baseline) / baseline
