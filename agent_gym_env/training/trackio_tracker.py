"""Sends measurements to trackio."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from typing import Any

from agent_gym_env.extras import require

require("trackio", extra="trackers")

import trackio  # noqa: E402


class TrackioTracker:
    """A run of trackio, in the folder that ``TRACKIO_DIR`` names, or on a Space.

    Args:
        settings: settings of the run, shown as its configuration.
        run: name of the run.
        project: project of the run.
        space_id: Space on the Hugging Face hub, ``owner/name``; by default the run stays here.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        run: str = "run",
        project: str = "agent-gym",
        space_id: str | None = None,
    ) -> None:
        with _off_the_standard_output():
            self._run = trackio.init(
                project=project, name=run, config=settings, space_id=space_id, embed=False
            )

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Send figures."""
        self._run.log(dict(figures), step=step)

    def finish(self) -> None:
        """Send what is left, and end the run."""
        with _off_the_standard_output():
            self._run.finish()


def _off_the_standard_output() -> contextlib.redirect_stdout[Any]:
    # trackio prints, and the standard output may be JSON for another program.
    return contextlib.redirect_stdout(sys.stderr)
