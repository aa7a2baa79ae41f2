"""Callbacks of TRL's trainers: measurements, progress, checks, and the state of checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env.errors import AgentGymError, DataError
from agent_gym_env.extras import require
from agent_gym_env.storage.files import read_file, written_whole
from agent_gym_env.training.config import OnMeasured, OnProgress
from agent_gym_env.training.trackers import Tracker

require("transformers", extra="train")

import torch  # noqa: E402
from transformers import (  # noqa: E402
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME  # noqa: E402

_COMPLETE = "complete"
"""The file that is written last into a checkpoint; without it the checkpoint is incomplete."""

_TRAINED = "trained.json"
"""The file with the counts of `Trained` in a checkpoint."""

IGNORED = -100
"""The label of a token that the loss ignores."""


class Trained(msgspec.Struct):
    """Counts of the data that a run was trained on. Data that is read twice counts twice.

    Attributes:
        steps: steps of the optimizer.
        rows: rows, or plays in reinforcement learning.
        tokens: tokens of the rows, without padding.
        learned: tokens of the rows that the loss includes.
        failed: plays that ended because the simulated user's model did not answer.
    """

    steps: int = 0
    rows: int = 0
    tokens: int = 0
    learned: int = 0
    failed: int = 0

    def add_batch(self, inputs: Mapping[str, Any]) -> None:
        """Count the rows of a batch."""
        ids, labels = inputs["input_ids"], inputs.get("labels")
        mask = inputs.get("attention_mask")
        self.rows += len(ids)
        self.tokens += ids.numel() if mask is None else int(mask.sum())
        if labels is not None:
            self.learned += int((labels != IGNORED).sum())


def read_trained(checkpoint: str) -> Trained:
    """Read the counts of a checkpoint.

    Raises:
        DataError: the checkpoint has no counts.
    """
    path = Path(checkpoint, _TRAINED)
    try:
        return msgspec.json.decode(read_file(path), type=Trained)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        problem = f"the checkpoint has no counts of its training data: {error}"
        raise DataError(problem, file=str(path)) from error


class KeepTrained(TrainerCallback):
    """Counts steps, and writes the counts of a run to each checkpoint."""

    def __init__(self, trained: Trained) -> None:
        self._trained = trained

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Count the step."""
        self._trained.steps = state.global_step

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Write the counts."""
        with written_whole(_folder_of(args, state) / _TRAINED) as file:
            file.write(msgspec.json.encode(self._trained))


class Metrics(TrainerCallback):
    """Appends measurements to a file. A resumed run removes those after its checkpoint."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Keep the lines up to the step that the run begins at."""
        lines = self._path.read_bytes().splitlines() if self._path.exists() else []
        with written_whole(self._path) as file:
            file.writelines(line + b"\n" for line in lines if _step(line) <= state.global_step)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Write a line."""
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode({"step": state.global_step, **given["logs"]}) + b"\n")


class _Line(msgspec.Struct):
    step: float


def _step(line: bytes) -> float:
    """Read the step of a line; infinite for a line that a killed run left incomplete."""
    try:
        return float(msgspec.json.decode(line, type=_Line).step)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return math.inf


class RefuseNonFinite(TrainerCallback):
    """Ends a run that has diverged."""

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Check the gradient.

        Raises:
            AgentGymError: it contains NaN or infinity.
        """
        gradients = [each.grad for each in given["model"].parameters() if each.grad is not None]
        if not torch.nn.utils.get_total_norm(gradients).isfinite():
            step = state.global_step + 1
            raise _diverged(f"the gradient contains NaN or infinity at step {step}")

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Check the loss.

        Raises:
            AgentGymError: it is NaN or infinite.
        """
        logs = given["logs"]
        for name in ("loss", "train_loss", "eval_loss"):
            if not math.isfinite(logs.get(name, 0.0)):
                raise _diverged(f"{name} is {logs[name]} at step {state.global_step}")


def refuse_non_finite(model: torch.nn.Module) -> None:
    """Check that all weights of a model are finite.

    Raises:
        AgentGymError: some contain NaN or infinity.
    """
    for name, weights in model.named_parameters():
        if not weights.isfinite().all():
            raise _diverged(f"{name} contains NaN or infinity after the last step")


def _diverged(problem: str) -> AgentGymError:
    return AgentGymError(f"{problem}; try a smaller learning_rate")


class MarkComplete(TrainerCallback):
    """Marks a checkpoint as complete after everything else is written."""

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Write the mark."""
        (_folder_of(args, state) / _COMPLETE).touch()


def _folder_of(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(args.output_dir or ".") / f"checkpoint-{state.global_step}"


def last_complete(folder: Path) -> str | None:
    """Return the last complete checkpoint in a folder; ``None`` if it has none."""
    marked = [mark.parent for mark in folder.glob(f"checkpoint-*/{_COMPLETE}")]
    return str(max(marked, key=_steps_of)) if marked else None


def is_at_end(checkpoint: str) -> bool:
    """Return whether a checkpoint was written after the last step of its run."""
    state = TrainerState.load_from_json(str(Path(checkpoint, TRAINER_STATE_NAME)))
    return bool(state.global_step >= state.max_steps)


def _steps_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


class Progress(TrainerCallback):
    """Calls the callbacks for progress and measurements."""

    def __init__(
        self, method: str, on_progress: OnProgress | None, on_measured: OnMeasured | None
    ) -> None:
        self._method = method
        self._on_progress = on_progress
        self._on_measured = on_measured

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Report the number of steps."""
        if self._on_progress is not None:
            self._on_progress(self._method, state.global_step, state.max_steps)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Report the measurements."""
        if self._on_measured is not None:
            self._on_measured(given["logs"])


class Track(TrainerCallback):
    """Sends measurements to a tracker."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Send the measurements."""
        self._tracker.log(state.global_step, given["logs"])


def tensorboard_events(folder: Path) -> TrainerCallback:
    """Make the callback that writes TensorBoard's event files.

    Raises:
        MissingDependency: tensorboard is not installed.
    """
    require("tensorboard", extra="sb3")
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations.integration_utils import TensorBoardCallback

    callback: TrainerCallback = TensorBoardCallback(  # type: ignore[no-untyped-call]
        SummaryWriter(folder)
    )
    return callback
