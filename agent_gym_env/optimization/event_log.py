"""Events as they happen: to whoever listens, and kept for the result."""

from __future__ import annotations

import threading
import time
from typing import Any, TypeVar

from agent_gym_env.optimization.events import Callback, Event, TurnScored
from agent_gym_env.optimization.hush import aloud
from agent_gym_env.optimization.meter import Meter

_E = TypeVar("_E", bound=Event)


class EventLog:
    """Tells events, one at a time, and keeps all but the single turns.

    Args:
        callback: is told; an exception of its ends the run.
        meter: of the run.

    Attributes:
        events: those that are kept.
    """

    def __init__(self, callback: Callback | None, meter: Meter) -> None:
        self.events: list[Event] = []
        self._callback = callback
        self._meter = meter
        self._begin = time.perf_counter()
        self._lock = threading.Lock()

    @property
    def elapsed_s(self) -> float:
        """Wall-clock seconds since the run began."""
        return time.perf_counter() - self._begin

    def tell(self, kind: type[_E], **values: Any) -> None:
        """Make an event and tell it.

        Raises:
            BrokenOff: the callback raised.
        """
        with self._lock, aloud():
            event = kind(elapsed_s=self.elapsed_s, **values)
            if not isinstance(event, TurnScored):
                self.events.append(event)
            if self._callback is None:
                return
            try:
                self._callback(event)
            except Exception as error:  # noqa: BLE001  (whatever it is, it is the caller's wish)
                self._callback = None
                self._meter.end(error)
