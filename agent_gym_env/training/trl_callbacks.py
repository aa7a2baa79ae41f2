"""What a trainer of TRL's tells as it goes, and what it leaves behind."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env.corpus.disk import written_whole
from agent_gym_env.errors import AgentGymError
from agent_gym_env.extras import require
from agent_gym_env.training.progress import OnProgress

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
"""The file that a checkpoint gets last; one without it was cut off."""


class Metrics(TrainerCallback):
    """Appends what is measured to a file; a run that goes on takes back what came later."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Keep the lines up to where the run goes on."""
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
    """Give the step of a line; none for what a killed run left of one."""
    try:
        return float(msgspec.json.decode(line, type=_Line).step)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return math.inf


class RefuseNonFinite(TrainerCallback):
    """Ends a run that has diverged: nothing good comes of its weights any more."""

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Look at the gradient.

        Raises:
            AgentGymError: it is no number.
        """
        gradients = [each.grad for each in given["model"].parameters() if each.grad is not None]
        if not torch.nn.utils.get_total_norm(gradients).isfinite():
            raise _diverged(f"the gradient is no number at step {state.global_step + 1}")

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Look at what was measured.

        Raises:
            AgentGymError: it is no number.
        """
        logs = given["logs"]
        for name in ("loss", "train_loss", "eval_loss"):
            if not math.isfinite(logs.get(name, 0.0)):
                raise _diverged(f"{name} is {logs[name]} at step {state.global_step}")


def refuse_non_finite(model: torch.nn.Module) -> None:
    """See that a model's weights are numbers.

    Raises:
        AgentGymError: one is none.
    """
    for name, weights in model.named_parameters():
        if not weights.isfinite().all():
            raise _diverged(f"a weight of {name} is no number after the last step")


def _diverged(problem: str) -> AgentGymError:
    return AgentGymError(f"{problem}; try a smaller learning_rate")


class MarkComplete(TrainerCallback):
    """Marks a checkpoint when all of it is written."""

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Mark it."""
        folder = Path(args.output_dir or ".") / f"checkpoint-{state.global_step}"
        (folder / _COMPLETE).touch()


def last_complete(folder: Path) -> str | None:
    """Give the last checkpoint in a folder that is complete; ``None`` if there is none."""
    marked = [mark.parent for mark in folder.glob(f"checkpoint-*/{_COMPLETE}")]
    return str(max(marked, key=_steps_of)) if marked else None


def is_at_end(checkpoint: str) -> bool:
    """Whether no step is left to a run that goes on from a checkpoint."""
    state = TrainerState.load_from_json(str(Path(checkpoint, TRAINER_STATE_NAME)))
    return bool(state.global_step >= state.max_steps)


def _steps_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


class Progress(TrainerCallback):
    """Tells how far a run has come."""

    def __init__(self, on_progress: OnProgress, method: str) -> None:
        self._on_progress = on_progress
        self._method = method

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Tell."""
        self._on_progress(self._method, state.global_step, state.max_steps)


def tensorboard_events(folder: Path) -> TrainerCallback:
    """Write TensorBoard's event files.

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
