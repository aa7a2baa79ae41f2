"""Warnings of libraries that users can do nothing about, and a context that hides them."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_WARNED = (
    # TRL asks transformers for attributes and settings by the names that it gave up.
    ("`(is_)?gradient_checkpointing` is deprecated", FutureWarning, "transformers"),
)
"""Message, category and module of warnings, as regular expressions."""

_LOGGED = (
    # Only a GPU has the faster kernels that it says can be installed.
    ("transformers.integrations.hub_kernels", "falling back to its reference PyTorch"),
)
"""Logger and part of the text of records that say something about a GPU where there is none."""
_LOGGED_ANYWAY = (
    # A run that is stopped cancels what its threads wait for; each would be told with its example.
    ("dspy.utils.parallelizer", "Error for "),
)
"""Logger and part of the text of records that say what the command says itself."""


@contextmanager
def without_library_warnings() -> Iterator[None]:
    """Hide the warnings of this module's lists, and no others."""
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
