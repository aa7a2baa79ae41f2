"""An optimisation as its user starts it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from agent_gym_env.errors import StorageError
from agent_gym_env.extras import require
from agent_gym_env.lm.base import LanguageModel, default_model
from agent_gym_env.lm.credentials import without_credentials
from agent_gym_env.lm.open_model import ModelConfig, open_model
from agent_gym_env.optimization.event_log import EventLog
from agent_gym_env.optimization.events import Callback, Stopped
from agent_gym_env.optimization.meter import BrokenOff, Meter
from agent_gym_env.optimization.result import OptimizationResult
from agent_gym_env.optimization.settings import Effort, Settings
from agent_gym_env.rewards.base import Reward

CACHE_FOLDER = ".lm_cache"
"""Beside the output: what models answered, so that a run that was broken off goes on for free."""


class OptimizationRunner:
    """Optimises the prompt of an agent on recorded dialogues, with DSPy.

    The optimiser learns from some turns and chooses between programs by others, of other dialogues.
    The untouched and the optimised program are measured on the same turns, of dialogues that serve
    nothing else. The reward is the environment's own, on the turn.

    Args:
        data_path: see `Settings` for this and all that is not named here.
        strategy: how to search.
        num_train: turns to learn from.
        output_path: where the program is written, as JSON; the result is written beside it, as
            ``<name>_result.json``.
        num_validation: turns to choose by.
        num_held_out: turns to measure on.
        split: to learn from.
        held_out_split: to measure on.
        schema_variant: of the dialogues.
        reward: as in `SGDEnv`.
        model: model that the program asks: a name, a mapping as in `open_model`, or a model; by
            default `agent_gym_env.lm.base.default_model`.
        prompt_model: that writes instructions; by default the same.
        program: a saved program to begin with.
        effort: how long to search.
        options: of DSPy's optimiser.
        seed: of every draw.
        threads: turns played at once.
        temperature: of the program's model.
        max_errors: failures that a run bears.
        callback: is told events as they happen.

    Raises:
        ValueError: the strategy or the effort is not known, or a number is not positive.
        TypeError: an option is no JSON value.
    """

    def __init__(
        self,
        data_path: str | PathLike[str] = "sample",
        strategy: str = "mipro",
        num_train: int = 50,
        output_path: str | PathLike[str] = "checkpoints/agent.json",
        *,
        num_validation: int = 50,
        num_held_out: int = 100,
        split: str = "train",
        held_out_split: str | None = None,
        schema_variant: str | None = None,
        reward: str | Mapping[str, Any] | Reward = "balanced",
        model: ModelConfig | None = None,
        prompt_model: ModelConfig | None = None,
        program: str | PathLike[str] | None = None,
        effort: Effort = "light",
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
        threads: int = 8,
        temperature: float | None = None,
        max_errors: int = 10,
        callback: Callback | None = None,
    ) -> None:
        self.output_path = Path(output_path)
        self._reward = reward
        self._model = default_model() if model is None else model
        self._prompt_model = self._model if prompt_model is None else prompt_model
        self._callback = callback
        self.settings = Settings(
            data_path=fspath(data_path),
            strategy=strategy,
            num_train=num_train,
            num_validation=num_validation,
            num_held_out=num_held_out,
            split=split,
            held_out_split=held_out_split,
            schema_variant=schema_variant,
            reward=_plain_reward(reward),
            model=_name(self._model),
            prompt_model=_name(self._prompt_model),
            program=None if program is None else fspath(program),
            effort=effort,
            options=dict(options or {}),
            seed=seed,
            threads=threads,
            temperature=temperature,
            max_errors=max_errors,
        )

    @property
    def result_path(self) -> Path:
        """Where the result is written."""
        return self.output_path.with_name(f"{self.output_path.stem}_result.json")

    def run(self) -> OptimizationResult:
        """Optimise, measure, and write both files.

        What models answer is kept in ``.lm_cache`` beside the output, unless a model is handed over
        as an object, which keeps its own: the same run, begun again after it was broken off, asks
        only for what is missing.

        Raises:
            MissingDependency: DSPy, or what the strategy needs, is not installed.
            DataError: the corpus or the program to begin with is not in order.
            ValueError: the corpus has not as many turns as are asked for.
            BudgetExceeded: a model's budget is spent.
            LMError: models failed more than ``max_errors`` times.
            StorageError: the disk does not take the files.
        """
        require("dspy", extra="dspy")
        _check_writable(self.output_path.parent)
        # DSPy takes seconds to load; whoever only reads results need not have it.
        from agent_gym_env.optimization.dspy_run import DSPyRun

        meter = Meter(self.settings.max_errors)
        log = EventLog(self._callback, meter)
        with _told_when_broken_off(log, meter):
            model = self._open(self._model)
            shared = self._prompt_model is self._model
            prompt_model = model if shared else self._open(self._prompt_model)
            session = DSPyRun(
                self.settings, self._reward, model, prompt_model, meter=meter, log=log
            )
            return session.run(self.output_path, self.result_path)

    def _open(self, config: ModelConfig) -> LanguageModel:
        return open_model(config, cache=self.output_path.parent / CACHE_FOLDER)


def _check_writable(folder: Path) -> None:
    """Find out now, not when all calls are paid, whether the files can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StorageError(f"cannot write to {folder}: {error.strerror}") from error


@contextmanager
def _told_when_broken_off(log: EventLog, meter: Meter) -> Iterator[None]:
    """Tell the log how a run ends that does not finish, and give its error as it was raised."""
    try:
        yield
    except BrokenOff as end:
        error = end.__cause__ or end
        log.tell(Stopped, reason=f"{type(error).__name__}: {error}")
        raise error from None
    except BaseException as error:
        meter.close(error)
        log.tell(Stopped, reason=f"{type(error).__name__}: {error}")
        raise


def _plain_reward(reward: str | Mapping[str, Any] | Reward) -> str | dict[str, Any]:
    if isinstance(reward, str):
        return reward
    if isinstance(reward, Mapping):
        plain: dict[str, Any] = without_credentials(reward)
        return plain
    return reward.name


def _name(model: ModelConfig) -> str:
    if isinstance(model, str):
        return model
    return str(model.get("model", default_model())) if isinstance(model, Mapping) else model.name
