"""Resources of this process: memory, open files and threads."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from typing import NamedTuple

import pytest

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


class Holdings(NamedTuple):
    """Resident memory in bytes, and numbers of open files and threads."""

    memory: int
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
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1])
    return Holdings(resident * _PAGE, len(os.listdir("/proc/self/fd")), threading.active_count())
