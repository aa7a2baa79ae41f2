"""Dialogues that a reinforcement learning run plays: the measured ones, and its own settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

_T = TypeVar("_T")


def evenly_spread(items: Sequence[_T], most: int) -> list[_T]:
    """Choose at most so many items, evenly spread over all, the first and the last among them."""
    places = np.linspace(0, len(items) - 1, min(most, len(items)))
    return [items[round(place)] for place in places.tolist()]


def refuse_taken(env: Mapping[str, Any]) -> None:
    """Refuse arguments of an environment that the run itself sets.

    Raises:
        ValueError: there is such an argument.
    """
    taken = sorted(env.keys() & {"split", "reward", "max_episode_steps"})
    if taken:
        raise ValueError(
            f"env must not contain {', '.join(taken)}: set the reward beside it; the run "
            "itself chooses the splits, and plays dialogues or turns to their end"
        )
