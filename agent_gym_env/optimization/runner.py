"""The optimisation of an agent's prompt, as a user starts it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent_gym_env.errors import StorageError
from agent_gym_env.extras import require
from agent_gym_env.lm.base import LanguageModel, default_model
from agent_gym_env.lm.open_model import ModelConfig, open_model
from agent_gym_env.optimization.monitor import EventLog, Meter, RunAborted, Stopped
from agent_gym_env.optimization.result import OptimizationResult, Settings

CACHE_FOLDER = ".lm_cache"
"""Folder beside the output with the answers of models, so that a repeated run costs nothing."""


class OptimizationRunner(Settings):
    """Optimises the prompt of an agent with DSPy, on recorded turns or on simulated dialogues.

    The optimiser learns from some examples and compares programs on others, of other dialogues. The
    original and the optimised program are measured on the same examples, of dialogues that are used
    for nothing else. The reward is the environment's own: with ``SGD-v0`` of a turn, with
    ``SGDSim-v0`` of a whole dialogue.

    The arguments are those of `Settings`.
    """

    @property
    def result_path(self) -> Path:
        """Path of the result."""
        path = Path(self.output_path)
        return path.with_name(f"{path.stem}_result.json")

    def run(self) -> OptimizationResult:
        """Optimise, measure, and write both files.

        The answers of models are kept in ``.lm_cache`` beside the output, unless a model is passed
        as an object, which keeps its own. A run that is repeated after it was stopped pays for the
        missing answers only.

        Raises:
            MissingDependency: DSPy, or a library that the strategy needs, is not installed.
            DataError: the corpus or the program to begin with cannot be read.
            ValueError: the corpus has fewer turns or dialogues than the run needs, or a held-out
                dialogue is also among those to learn from; or an option of the environment is
                unknown.
            BudgetExceeded: a model's budget is spent.
            LMError: models failed more than ``max_errors`` times.
            StorageError: the files cannot be written.
        """
        require("dspy", extra="dspy")
        _check_writable(Path(self.output_path).parent)
        # DSPy takes seconds to import, and reading results does not need it.
        from agent_gym_env.optimization.dspy_run import DSPyRun

        meter = Meter(self.max_errors)
        log = EventLog(self.callback, meter)
        with _end_recorded(log, meter):
            model = self._open(self.model)
            shared = self.prompt_model is self.model
            prompt_model = model if shared else self._open(self.prompt_model)
            session = DSPyRun(self, model, prompt_model, meter=meter, log=log)
            return session.run(Path(self.output_path), self.result_path)

    def _open(self, config: ModelConfig | None) -> LanguageModel:
        cache = Path(self.output_path).parent / CACHE_FOLDER
        return open_model(default_model() if config is None else config, cache=cache)


def _check_writable(folder: Path) -> None:
    """Check that files can be written to a folder, before any call is paid for."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StorageError(f"cannot write to {folder}: {error.strerror}") from error


@contextmanager
def _end_recorded(log: EventLog, meter: Meter) -> Iterator[None]:
    """Record the early end of a run, and raise its original error."""
    try:
        yield
    except RunAborted as end:
        error = end.__cause__ or end
        log.record(Stopped, reason=f"{type(error).__name__}: {error}")
        raise error from None
    except BaseException as error:
        meter.close(error)
        log.record(Stopped, reason=f"{type(error).__name__}: {error}")
        raise
