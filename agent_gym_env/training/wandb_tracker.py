"""Sends measurements to Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from agent_gym_env.extras import require

require("wandb", extra="trackers")

import wandb  # noqa: E402


class WandbTracker:
    """A run of Weights & Biases; its own variables, such as ``WANDB_API_KEY``, apply.

    Args:
        out: folder of the run; W&B keeps its files in ``wandb/`` there.
        settings: settings of the run, shown as its configuration.
        run: name of the run.
        project: project of the run.
        mode: ``offline`` keeps everything in the folder for ``wandb sync``; by default what
            ``WANDB_MODE`` says.
    """

    def __init__(
        self,
        out: Path,
        settings: dict[str, Any],
        run: str = "run",
        project: str = "agent-gym",
        mode: Literal["online", "offline", "disabled"] | None = None,
    ) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=project,
            name=run,
            dir=str(out),
            config=settings,
            mode=mode,
            reinit="create_new",  # beside a run that the user has begun
            # What the run prints stays here. Nobody may be there to answer a question.
            settings=wandb.Settings(console="off", login_timeout=60, init_timeout=60),
        )

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Send figures."""
        self._run.log(dict(figures), step=step)

    def finish(self) -> None:
        """Send what is left, and end the run."""
        self._run.finish()
