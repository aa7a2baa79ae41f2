"""The one event loop, in a thread of its own, on which every client's requests are under way.

One for the process and not one a client: litellm binds its queues and connections to the first
loop that it sees.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class BackgroundLoop:
    """An event loop in a daemon thread, started by the first call; a forked child gets its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._tidying: set[asyncio.Task[None]] = set()
        self._process = os.getpid()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine to its end; what interrupts the wait, Ctrl-C say, cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._running())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def finish(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run what lets go of connections; nothing, where none can have been made.

        It is safe in a finalizer, which the collector may run on the loop's own thread.
        """
        if self._loop is None or self._process != os.getpid():
            return
        if threading.current_thread() is self._thread:
            self._tidying.add(task := self._loop.create_task(work()))
            task.add_done_callback(self._tidying.discard)
        else:
            self.run(work())

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._process != os.getpid():
            # The thread did not come along, and the lock may have been held when we were forked.
            self._lock, self._loop, self._process = threading.Lock(), None, os.getpid()
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="agent-gym-lm", daemon=True
                )
                self._thread.start()
            return self._loop


BACKGROUND = BackgroundLoop()
