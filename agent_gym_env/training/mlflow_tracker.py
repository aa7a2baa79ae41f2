"""Sends measurements to MLflow."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from agent_gym_env.extras import require

require("mlflow", extra="trackers")

from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import Metric, Param  # noqa: E402

_MOST_PARAMS = 100
"""Number of parameters that a request may have."""

_LONGEST_PARAM = 500
"""Number of characters of a parameter that every server takes."""


class MlflowTracker:
    """A run of MLflow, on the server or in the database that its address names.

    Args:
        settings: settings of the run, shown as its parameters.
        run: name of the run.
        experiment: experiment of the run; it is made where there is none.
        tracking_uri: address, such as ``sqlite:///mlflow.db``; by default what
            ``MLFLOW_TRACKING_URI`` says.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        run: str = "run",
        experiment: str = "agent-gym",
        tracking_uri: str | None = None,
    ) -> None:
        self._client = MlflowClient(tracking_uri)
        found = self._client.get_experiment_by_name(experiment)
        number = found.experiment_id if found else self._client.create_experiment(experiment)
        self._run_id = self._client.create_run(number, run_name=run).info.run_id
        params = [Param(name, value[:_LONGEST_PARAM]) for name, value in _flat(settings)]
        for first in range(0, len(params), _MOST_PARAMS):
            chunk = params[first : first + _MOST_PARAMS]
            self._client.log_batch(self._run_id, params=chunk)

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Send figures."""
        now_ms = round(time.time() * 1000)
        metrics = [Metric(name, value, now_ms, step) for name, value in figures.items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def finish(self) -> None:
        """End the run."""
        self._client.set_terminated(self._run_id)


def _flat(settings: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{at}{name}.")
        else:
            yield f"{at}{name}", str(value)
