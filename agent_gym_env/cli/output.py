"""Standard output and error output that take any text, also where nobody reads it any more."""

from __future__ import annotations

import codecs
import io
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from agent_gym_env.errors import StorageError

_ERRORS = "agent-gym-plain"
"""Name under which `_plain` is registered as a handler of encoding errors."""

_PLAIN = str.maketrans({"│": "|", "…": "...", "→": "->"})
"""The characters outside ASCII that this package prints."""


@contextmanager
def tolerant_output() -> Iterator[None]:
    """Make the standard outputs accept any text, even if nobody reads it any more.

    Characters that the encoding of the terminal lacks are replaced, by similar ones in ASCII or by
    escapes. When the reader of a pipe has gone, as `head` does, the rest of the output is dropped
    and the command goes on: its files are written, and its exit code is its own.
    """
    with ExitStack() as stack:
        stack.enter_context(_replaced("stderr"))
        stack.enter_context(_replaced("stdout"))
        yield


@contextmanager
def _replaced(name: str) -> Iterator[None]:
    stream: Any = getattr(sys, name)
    try:
        descriptor = stream.fileno()
    except (AttributeError, OSError):  # there is none, or it is a text in memory
        yield
        return
    ours = io.TextIOWrapper(
        io.BufferedWriter(_Output(descriptor, raises=name == "stdout")),
        encoding=stream.encoding,
        errors=_ERRORS,
        line_buffering=stream.line_buffering,
    )
    stream.flush()
    setattr(sys, name, ours)
    try:
        yield
    finally:
        setattr(sys, name, stream)
        with suppress(StorageError):  # it was raised before, when the command flushed its output
            ours.flush()


class _Output(io.FileIO):
    """A file descriptor that drops everything after the first failed write."""

    def __init__(self, descriptor: int, *, raises: bool) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._raises = raises
        self._has_failed = False

    def write(self, data: Any) -> int:
        """Write the data, or drop it if nobody reads it.

        Raises:
            StorageError: the disk does not take it.
        """
        if not self._has_failed:
            try:
                return super().write(data) or 0
            except OSError as error:
                self._has_failed = True
                if self._raises and not isinstance(error, BrokenPipeError):
                    problem = f"cannot write to the standard output: {error.strerror}"
                    raise StorageError(problem) from error
        return memoryview(data).nbytes


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Replace what cannot be encoded; see `codecs.register_error`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    plain = found.translate(_PLAIN)
    return plain.encode("ascii", "backslashreplace").decode("ascii"), error.end


codecs.register_error(_ERRORS, _plain)
