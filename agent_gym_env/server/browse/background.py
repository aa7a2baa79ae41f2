"""Work that a page does not wait for: it goes on in a thread, and the page asks again."""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from agent_gym_env.errors import AgentGymError

_T = TypeVar("_T")

_KEPT = 32
"""Number of results that are kept."""

_EXPECTED = (AgentGymError, ValueError, OSError, sqlite3.Error)


class Background(Generic[_T]):
    """Pieces of work by name, each in a separate thread.

    Args:
        patience_s: longest time that `result` waits, in seconds.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._begun: OrderedDict[Hashable, _Work[_T]] = OrderedDict()

    def result(self, name: Hashable, work: Callable[[], _T], *, again: bool = False) -> _T | None:
        """Return the result of a piece of work; ``None`` if it is not done yet.

        Args:
            name: name of the work. Work of the same name is begun once.
            work: function that does it.
            again: whether work that is done is done again.

        Raises:
            AgentGymError | ValueError | OSError | sqlite3.Error: the work raised it.
        """
        with self._lock:
            begun = self._begun.get(name)
            if begun is None or (again and not begun.is_alive()):
                begun = self._begun[name] = _Work(work)
                begun.start()
            self._begun.move_to_end(name)
            self._drop_old()
        begun.join(self._patience_s)
        if begun.error is not None:
            with self._lock:
                self._begun.pop(name, None)
            raise begun.error
        return begun.result

    def _drop_old(self) -> None:
        for name in [*self._begun][:-_KEPT]:
            if not self._begun[name].is_alive():
                del self._begun[name]


class _Work(threading.Thread, Generic[_T]):
    """A piece of work.

    Attributes:
        result: result of the work; ``None`` until it is done.
        error: exception that ended it; ``None`` without one.
    """

    def __init__(self, work: Callable[[], _T]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self.result: _T | None = None
        self.error: Exception | None = None

    def run(self) -> None:
        """Do the work."""
        try:
            self.result = self._work()
        except _EXPECTED as error:
            self.error = error
