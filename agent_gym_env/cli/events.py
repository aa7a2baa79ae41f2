"""Events of a command, for programs that watch it: JSON objects with ``kind`` and ``elapsed_s``.

The bars of `agent_gym_env.cli.console` and the commands emit them where somebody wants them:
``--events`` prints them, and a job of ``agent-gym serve`` writes them to a file.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import msgspec

Sink = Callable[[dict[str, Any]], None]
"""Function that receives each event, one at a time, from any thread."""

_MIN_DISTANCE_S = 0.2
"""Shortest time between two events about the progress of one phase."""


class Events:
    """Emits events.

    Args:
        sink: function that receives them.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._begin = time.monotonic()
        self._lock = threading.Lock()
        self._shown: dict[str, float] = {}

    def emit(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Emit an event.

        Args:
            kind: kind of the event.
            fields: its other fields, as JSON-able values.
        """
        event = {"kind": kind, "elapsed_s": round(time.monotonic() - self._begin, 3), **fields}
        with self._lock:
            self._sink(event)

    def emit_struct(self, event: msgspec.Struct) -> None:
        """Emit an event that is a struct with ``kind`` and ``elapsed_s``."""
        with self._lock:
            self._sink(msgspec.to_builtins(event))

    def progress(self, phase: str, done: int, total: int | None, **more: Any) -> None:
        """Emit the progress of a phase, at most five times a second and at its end.

        Args:
            phase: name of the phase.
            done: number of items done.
            total: number of items; ``None`` if it is unknown.
            **more: further fields.
        """
        now = time.monotonic()
        if done != total and now - self._shown.get(phase, -1.0) < _MIN_DISTANCE_S:
            return
        self._shown[phase] = now
        self.emit("progress", {"phase": phase, "done": done, "total": total, **more})


_current: ContextVar[Events | None] = ContextVar("events", default=None)


def wanted_events() -> Events | None:
    """Return the events of the command that runs; ``None`` if nobody wants them."""
    return _current.get()


@contextmanager
def events_to(sink: Sink) -> Iterator[Events]:
    """Send the events of the commands that run inside to a function."""
    events = Events(sink)
    token = _current.set(events)
    try:
        yield events
    finally:
        _current.reset(token)
