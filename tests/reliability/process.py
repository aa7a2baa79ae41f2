"""Resources of this process: memory, open files and threads."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import pytest

from benchmarks.measure import resident_mb

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


class Holdings(NamedTuple):
    """Resident memory in millions of bytes, and numbers of open files and threads.

    Pages of files do not count: the system drops them and reads them again as it likes.
    """

    memory_mb: float
    files: int
    threads: int


def holds_no_more(after: Holdings, before: Holdings) -> bool:
    """Return whether as many files are open and threads run as before, or fewer.

    Fewer: what an earlier test left open is closed when garbage is collected.
    """
    return after.files <= before.files and after.threads <= before.threads


def holdings() -> Holdings:
    """Collect garbage, give free memory back to the system, and look."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    files = len(os.listdir("/proc/self/fd"))
    return Holdings(resident_mb("RssAnon"), files, threading.active_count())


def in_new_process(function: Callable[..., None], *arguments: object) -> None:
    """Call a function in a new Python process, which holds nothing of earlier tests."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(function, *arguments).result()
