"""The contract of a policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from agent_gym_env.types import Action, Observation


class Policy(Protocol):
    """An agent. It acts on the bare environment's observation, whatever it makes of it inside.

    It never sees ``info``: what the corpus did is not for it.
    """

    name: str

    def reset(self, *, seed: int | None = None) -> None:
        """Begin an episode; with a seed, every draw that follows repeats."""

    def act(self, observation: Observation) -> Action:
        """Choose what to do now."""


@runtime_checkable
class BatchPolicy(Protocol):
    """A policy that is faster when asked about several conversations at once."""

    def act_batch(
        self, observations: Sequence[Observation], *, seeds: Sequence[int | None] | None = None
    ) -> Sequence[Action]:
        """Choose an action for each observation.

        Args:
            observations: each of an episode of its own.
            seeds: of these episodes; ``None`` for draws that nobody repeats.
        """
