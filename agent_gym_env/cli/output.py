"""Outputs of a command: the streams take any text, and known warnings of libraries are hidden."""

from __future__ import annotations

import codecs
import io
import logging
import sys
import warnings
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
    """Make the standard outputs accept any text, even after their reader has closed them.

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
    except (AttributeError, OSError):  # no stream, or a text in memory
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
        with suppress(StorageError):  # raised before, when the command flushed its output
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


_WARNED = (
    # TRL uses names of attributes and settings that transformers has deprecated.
    ("`(is_)?gradient_checkpointing` is deprecated", FutureWarning, "transformers"),
)
"""Warnings that users cannot act on: message, category and module, as regular expressions."""

_LOGGED = (
    # The message recommends kernels that need a GPU.
    ("transformers.integrations.hub_kernels", "falling back to its reference PyTorch"),
)
"""Log records about GPUs, hidden on machines without one: logger, and part of the text."""
_LOGGED_ANYWAY = (
    # A run that is stopped cancels what its threads wait for; each thread would print its example.
    ("dspy.utils.parallelizer", "Error for "),
)
"""Log records that repeat what the command prints: logger, and part of the text."""


@contextmanager
def without_library_warnings() -> Iterator[None]:
    """Hide the warnings and log records that this module lists, and no others."""
    with warnings.catch_warnings(), ExitStack() as stack:
        for message, category, module in _WARNED:
            warnings.filterwarnings("ignore", message, category, module)
        filters: list[tuple[str, _Unwanted]]
        filters = [(name, _UnwantedWithoutGPU(text)) for name, text in _LOGGED]
        filters += [(name, _Unwanted(text)) for name, text in _LOGGED_ANYWAY]
        for name, unwanted in filters:
            logger = logging.getLogger(name)
            logger.addFilter(unwanted)
            stack.callback(logger.removeFilter, unwanted)
        yield


class _Unwanted(logging.Filter):
    """Drops records with a text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def filter(self, record: logging.LogRecord) -> bool:
        return self._text not in record.getMessage()


class _UnwantedWithoutGPU(_Unwanted):
    """Drops records with a text, unless there is a GPU."""

    def filter(self, record: logging.LogRecord) -> bool:
        torch = sys.modules.get("torch")
        has_gpu = torch is not None and torch.cuda.is_available()
        return has_gpu or super().filter(record)
