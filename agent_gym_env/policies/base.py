"""The contract of policies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from agent_gym_env.types import Action, Observation


class Policy(Protocol):
    """An agent that acts on observations of the unwrapped environment.

    It never sees ``info``, which contains what the corpus recorded.

    A policy that can only go on with a dialogue that it has played from the beginning, because it
    remembers more than the observation has, says so by an attribute ``needs_beginning = True``.

    Attributes:
        name: name in reports.
    """

    name: str

    def reset(self, *, seed: int | None = None) -> None:
        """Begin an episode. With a seed, all random draws after it repeat."""

    def act(self, observation: Observation) -> Action:
        """Return the next action."""


@runtime_checkable
class BatchPolicy(Protocol):
    """A policy that is faster if it is asked about several conversations at once."""

    def act_batch(
        self, observations: Sequence[Observation], *, seeds: Sequence[int | None] | None = None
    ) -> Sequence[Action]:
        """Return an action for each observation.

        Args:
            observations: observations, each of another episode.
            seeds: seeds of these episodes; ``None`` for draws that need not repeat.
        """
