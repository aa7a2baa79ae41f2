"""Libraries that print, kept quiet while they work; what the caller prints is let through."""

from __future__ import annotations

import contextlib
import io
import sys
import threading
from collections.abc import Iterator
from typing import TextIO

_speaking = threading.local()


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Swallow what is printed, to both outputs and in all threads, outside of `aloud`."""
    with (
        contextlib.redirect_stdout(_Hushed(sys.stdout)),
        contextlib.redirect_stderr(_Hushed(sys.stderr)),
    ):
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
        if getattr(_speaking, "is_on", False):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()
