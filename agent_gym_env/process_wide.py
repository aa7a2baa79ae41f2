"""Changes of the whole process that several threads may hold at once.

The first thread that enters makes the change, and the last one that leaves undoes it, so that the
process is always left as it was.
"""

from __future__ import annotations

import io
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, TextIO

import numpy as np


class SharedChange:
    """One change of the process, with a count of its users.

    Args:
        make: returns a context manager that makes the change and undoes it. It is entered and left
            under a lock, not always in the same thread.
    """

    def __init__(self, make: Callable[..., AbstractContextManager[object]]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._users = 0
        self._undo = ExitStack()

    @property
    def is_made(self) -> bool:
        """True while the change is in effect."""
        return self._users > 0

    @contextmanager
    def held(self, *arguments: Any) -> Iterator[None]:
        """Keep the change in effect inside this context.

        Args:
            *arguments: arguments of ``make``; those of the first user count.
        """
        with self._lock:
            if not self._users:
                self._undo.enter_context(self._make(*arguments))
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._undo.close()


@contextmanager
def environment_variable(name: str, value: str, *, override: bool = True) -> Iterator[None]:
    """Set an environment variable, and restore it afterwards.

    Args:
        name: name of the variable.
        value: its value.
        override: whether a value that the user has set is replaced.
    """
    before = os.environ.get(name)
    if before is None or override:
        os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Restore the random generators of Python, numpy and torch when the last user leaves.

    Training libraries seed them. The caller must have imported torch.
    """
    with _random_state.held():
        yield


@contextmanager
def _random_state_restored() -> Iterator[None]:
    # Not an import: different trainers get torch from different extras.
    torch: Any = sys.modules["torch"]
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if devices is not None:
            torch.cuda.set_rng_state_all(devices)


_random_state = SharedChange(_random_state_restored)


_shown = threading.local()


@contextmanager
def suppress_output() -> Iterator[None]:
    """Drop what is printed to both outputs, in all threads, except inside `output_shown`.

    The outputs are restored when the last user leaves.
    """
    with _suppressed.held():
        yield


@contextmanager
def output_shown() -> Iterator[None]:
    """Show what this thread prints, also inside `suppress_output`."""
    before = getattr(_shown, "is_on", False)
    _shown.is_on = True
    try:
        yield
    finally:
        _shown.is_on = before


class _Filter(io.TextIOBase):
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        # Code that keeps this stream may write to it after the output was restored.
        if getattr(_shown, "is_on", False) or not _suppressed.is_made:
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


@contextmanager
def _streams_replaced() -> Iterator[None]:
    streams = {"stdout": _Filter(sys.stdout), "stderr": _Filter(sys.stderr)}
    before = {name: getattr(sys, name) for name in streams}
    for name, stream in streams.items():
        setattr(sys, name, stream)
    try:
        yield
    finally:
        for name, stream in streams.items():
            # Keep a stream that other code has put there since.
            if getattr(sys, name) is stream:
                setattr(sys, name, before[name])


_suppressed = SharedChange(_streams_replaced)
