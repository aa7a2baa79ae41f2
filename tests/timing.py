"""Limits of time for tests, that a busy machine keeps too."""

from __future__ import annotations

import time
from collections.abc import Callable

SOON_S = 25.0
"""Far more than what is to be at once takes, and less than what it must not wait for."""

PROCESS_S = 1000.0
"""Limit of a process that a test starts: an import can take a minute on a busy machine. It is less
than the limit of the test, whose message would not name the process."""


def takes_less_than(limit_s: float, work: Callable[[], object], *, tries: int = 3) -> bool:
    """Return whether some work takes less than so many seconds of this thread's CPU time.

    One try can be slow by no fault of the work: garbage of earlier tests is collected in it, or
    other processes take turns on the core. So it is tried again, and has to be slow each time.
    """
    return any(thread_seconds(work) < limit_s for _ in range(tries))


def thread_seconds(work: Callable[[], object]) -> float:
    """Return the seconds of this thread's CPU time that some work takes."""
    begun = time.thread_time()
    work()
    return time.thread_time() - begun
