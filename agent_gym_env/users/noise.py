"""A noisy channel between the user and the agent: acts are lost, values are misheard."""

from __future__ import annotations

import random
from collections.abc import Sequence

from agent_gym_env.corpus.corpus import Split
from agent_gym_env.corpus.goals import UserAct
from agent_gym_env.users.options import Noise
from agent_gym_env.values.equality import DONTCARE, canonical


class NoisyChannel:
    """Distorts the user's acts as a speech recogniser might.

    Args:
        noise: shares of lost acts and of misheard values.
        split: split that is played; its schema and rows have the values that a slot is misheard as.
    """

    def __init__(self, noise: Noise, split: Split) -> None:
        self._noise = noise
        self._split = split
        self._values: dict[tuple[str, str], list[str]] = {}

    def distort(
        self, acts: Sequence[UserAct], today: str | None, draws: random.Random
    ) -> tuple[UserAct, ...]:
        """Return the acts that reach the agent.

        Args:
            acts: acts of the user.
            today: the day of the dialogue, ISO.
            draws: generator of this turn.
        """
        reached = (act for act in acts if draws.random() >= self._noise.acts)
        return tuple([self._misheard(act, today, draws) for act in reached])

    def _misheard(self, act: UserAct, today: str | None, draws: random.Random) -> UserAct:
        if act.act != "INFORM" or act.value == DONTCARE or draws.random() >= self._noise.values:
            return act
        key = canonical(act.value, today)
        values = self._values_of(act.service, act.slot)
        others = [value for value in values if canonical(value, today) != key]
        if not others:
            return act
        return UserAct(act.service, act.act, act.slot, draws.choice(others))

    def _values_of(self, service: str, slot: str) -> list[str]:
        """Return the values of a slot in the schema and in the rows of its service's tools."""
        known = self._values.get((service, slot))
        if known is None:
            known = self._values[service, slot] = list(self._find_values(service, slot))
        return known

    def _find_values(self, service: str, slot: str) -> dict[str, None]:
        values: dict[str, None] = {}
        for name, spec in sorted(self._split.tools.items()):
            if spec.service != service:
                continue
            if slot in spec.arguments:
                values.update(dict.fromkeys(spec.arguments[slot].possible_values))
            if slot in spec.result_slots:
                values.update(dict.fromkeys(self._split.entities.values(name, slot)))
        values.pop(DONTCARE, None)
        return values
