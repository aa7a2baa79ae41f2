"""Sends measurements to TensorBoard's event files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agent_gym_env.extras import require

require("tensorboard.summary", extra="trackers")

from tensorboard.summary import Writer  # noqa: E402


class TensorBoardTracker:
    """Writes ``tensorboard/`` in the folder of a run.

    Args:
        out: folder of the run.
    """

    def __init__(self, out: Path) -> None:
        self._writer = Writer(str(out / "tensorboard"))

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Write a scalar for each figure."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def finish(self) -> None:
        """Close the file."""
        self._writer.close()
