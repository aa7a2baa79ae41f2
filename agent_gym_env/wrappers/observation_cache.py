"""A cache of what was computed for the last observations, for environments that return to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from agent_gym_env.types import Observation

_T = TypeVar("_T")

_SIZE = 32
"""Number of observations: a turn that is tried several times has one per call and its beginning."""


class ObservationCache(Generic[_T]):
    """A function of the observation whose last values are kept.

    Args:
        compute: function that depends on the observation alone.
    """

    def __init__(self, compute: Callable[[Observation], _T]) -> None:
        self._compute = compute
        self._known: dict[tuple[str, str], _T] = {}

    def __call__(self, observation: Observation) -> _T:
        """Return the value for an observation, which its messages and tools determine."""
        key = observation["messages"], observation["tools"]
        if key not in self._known:
            if len(self._known) >= _SIZE:
                del self._known[next(iter(self._known))]
            self._known[key] = self._compute(observation)
        return self._known[key]
