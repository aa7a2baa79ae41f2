"""Trackers of experiments, which measurements of a run are sent to, by name.

A tracker has two methods. Those of TensorBoard, Weights & Biases, MLflow and trackio come with the
package; another one is named ``"package.module:Name"`` or registered by
`agent_gym_env.register_tracker`.

A tracker never ends a run: its errors become one warning, and the run goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec

from agent_gym_env.lm.credentials import Scrubber, environment_secrets, without_credentials
from agent_gym_env.registry import TRACKERS

_log = logging.getLogger(__name__)


class Tracker(Protocol):
    """Receiver of the measurements of a run."""

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Receive measurements.

        Args:
            step: number of steps of the run so far; it never falls.
            figures: values by name, such as ``loss``.
        """

    def finish(self) -> None:
        """End the record of the run; called once."""


class GuardedTracker:
    """Sends measurements to trackers. The first error of each is a warning, and none is raised.

    Args:
        trackers: trackers by name.
    """

    def __init__(self, trackers: Mapping[str, Tracker]) -> None:
        self._trackers = trackers
        self._warned: set[str] = set()

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Send measurements to each tracker; values that are not numbers are left out."""
        numbers = {
            name: float(value)
            for name, value in figures.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        for name, tracker in self._trackers.items():
            self._guard(name, partial(tracker.log, step, numbers))

    def finish(self) -> None:
        """End the record of each tracker."""
        for name, tracker in self._trackers.items():
            self._guard(name, tracker.finish)

    def _guard(self, name: str, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001  (foreign code must not end hours of work)
            if name not in self._warned:
                self._warned.add(name)
                _warn(name, error)


def _warn(name: str, error: Exception) -> None:
    shown = Scrubber(environment_secrets()).all(f"{type(error).__name__}: {error}")
    _log.warning("the tracker %s failed, and the run goes on without what it lost: %s", name, shown)


def guarded(tracker: Tracker | None) -> GuardedTracker:
    """Return a tracker that never raises.

    Args:
        tracker: any tracker; ``None`` for one that does nothing.
    """
    if isinstance(tracker, GuardedTracker):
        return tracker
    return GuardedTracker({} if tracker is None else {type(tracker).__name__: tracker})


class _Later:
    """A tracker that is opened when the first measurements come.

    So a run that is refused leaves no record. If it cannot be opened, it is not tried again.
    """

    def __init__(self, open_tracker: Callable[[], Tracker]) -> None:
        self._open: Callable[[], Tracker] | None = open_tracker
        self._tracker: Tracker | None = None

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Send measurements."""
        if self._open is not None:
            open_tracker, self._open = self._open, None
            self._tracker = open_tracker()
        if self._tracker is not None:
            self._tracker.log(step, figures)

    def finish(self) -> None:
        """End the record, if there is one."""
        if self._tracker is not None:
            self._tracker.finish()


@contextmanager
def open_trackers(
    trackers: Iterable[str | Mapping[str, Any]], *, out: Path, settings: Any = None
) -> Iterator[GuardedTracker]:
    """Make trackers by their names, and finish them at the end, also if the run fails.

    A tracker is opened when the first measurements come.

    Args:
        trackers: a name for each, or a mapping with a name and options.
        out: folder of the run. Its name is the name of the run, unless the option ``run`` names it.
        settings: settings of the run, a struct or a mapping; credentials in it are left out.

    Raises:
        ValueError: a tracker is unknown, or has no such option.
        MissingDependency: the library of a tracker is not installed.
    """
    shown = without_credentials(msgspec.to_builtins(settings or {}))
    context = {"out": out, "run": out.name, "settings": shown}
    configs = [{"name": each} if isinstance(each, str) else dict(each) for each in trackers]
    named = [(config.pop("name"), config) for config in configs]
    for name, options in named:
        TRACKERS.check(name, options, context)  # before hours of work; imports the library
    tracker = GuardedTracker(
        {name: _Later(partial(TRACKERS.call, name, options, context)) for name, options in named}
    )
    try:
        yield tracker
    finally:
        tracker.finish()
