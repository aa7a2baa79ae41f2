"""What was worked out for the last few observations, for environments that go back to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from agent_gym_env.types import Observation

_T = TypeVar("_T")

_SIZE = 32
"""Situations of a turn that is tried several times: its begin, and after each call."""


class Remembered(Generic[_T]):
    """A function of the observation that need not be worked out again for one of the last.

    Args:
        work_out: depends on nothing but the observation.
    """

    def __init__(self, work_out: Callable[[Observation], _T]) -> None:
        self._work_out = work_out
        self._known: dict[tuple[str, str], _T] = {}

    def __call__(self, observation: Observation) -> _T:
        """Give the value for an observation of ``SGD-v0``, all of which its messages tell."""
        key = observation["messages"], observation["tools"]
        if key not in self._known:
            if len(self._known) >= _SIZE:
                del self._known[next(iter(self._known))]
            self._known[key] = self._work_out(observation)
        return self._known[key]
