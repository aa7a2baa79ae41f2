"""Libraries that print, kept quiet while they work; what the caller prints is let through."""

from __future__ import annotations

import contextlib
import io
import sys
import threading
from collections.abc import Iterator
from typing import TextIO

from agent_gym_env.process_wide import SharedChange

_speaking = threading.local()


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Swallow what is printed, to both outputs and in all threads, outside of `aloud`.

    Several threads may do so at once; the outputs are restored when the last one leaves.
    """
    with _quiet.held():
        yield


@contextlib.contextmanager
def aloud() -> Iterator[None]:
    """Let through what this thread prints."""
    before = getattr(_speaking, "is_on", False)
    _speaking.is_on = True
    try:
        yield
    finally:
        _speaking.is_on = before


class _Hushed(io.TextIOBase):
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        # Whoever has put a stream of their own over this one may write to it after its time.
        if getattr(_speaking, "is_on", False) or not _quiet.is_made:
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


@contextlib.contextmanager
def _swallowed() -> Iterator[None]:
    streams = {"stdout": _Hushed(sys.stdout), "stderr": _Hushed(sys.stderr)}
    before = {name: getattr(sys, name) for name in streams}
    for name, stream in streams.items():
        setattr(sys, name, stream)
    try:
        yield
    finally:
        for name, stream in streams.items():
            # Leave a stream that someone else has put there since.
            if getattr(sys, name) is stream:
                setattr(sys, name, before[name])


_quiet = SharedChange(_swallowed)
