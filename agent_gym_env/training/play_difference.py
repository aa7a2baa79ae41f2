"""What a training has changed in the play from the same states."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from agent_gym_env.evaluation.statistics import Difference, paired_difference
from agent_gym_env.training.model_play import Played

_RESAMPLES = 2000


class PlayDifference(msgspec.Struct, frozen=True):
    """Rewards of turns, before and after.

    Attributes:
        before: mean reward of a turn.
        after: the same after the training.
        change: of what was scored both times.
    """

    before: float | None
    after: float | None
    change: Difference


def compare_plays(
    after: Sequence[Played], before: Sequence[Played], dialogues: Sequence[str]
) -> PlayDifference:
    """Compare plays from the same states.

    Args:
        after: of the model that was trained, one from each state.
        before: of the model that it was.
        dialogues: of the states: what is drawn anew for the interval are dialogues.
    """
    names = sorted(set(dialogues))
    places = {name: place for place, name in enumerate(names)}
    sums = np.zeros((3, len(names)))
    for now, was, name in zip(after, before, dialogues, strict=True):
        if now.reward is not None and was.reward is not None:
            sums[:, places[name]] += (now.reward, was.reward, 1)
    first, second, counts = sums
    change = paired_difference(
        first, second, counts, resamples=_RESAMPLES, rng=np.random.default_rng(0)
    )
    return PlayDifference(
        before=float(second.sum() / counts.sum()) if change.count else None,
        after=float(first.sum() / counts.sum()) if change.count else None,
        change=change,
    )
