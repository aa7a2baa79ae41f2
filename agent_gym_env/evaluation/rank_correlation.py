"""Spearman's rank correlation of two rewards, with an interval over dialogues."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from agent_gym_env.evaluation.statistics import Estimate, Floats, interval


def rank_correlation(
    first: Floats, second: Floats, clusters: Floats, *, resamples: int, seed: int
) -> Estimate:
    """Correlate the ranks of two rewards; whole clusters are resampled for the interval.

    Args:
        first: shape (answers,).
        second: the same shape.
        clusters: which cluster an answer is of, the same shape.
        resamples: how many times to draw.
        seed: of the draws.
    """
    whole = spearman(first, second)
    if whole is None:
        return Estimate(count=len(first))
    members = [np.flatnonzero(clusters == cluster) for cluster in np.unique(clusters)]

    def resampled() -> Iterator[float]:
        rng = np.random.default_rng(seed)
        for draw in rng.integers(len(members), size=(resamples, len(members))):
            rows = np.concatenate([members[cluster] for cluster in draw])
            drawn = spearman(first[rows], second[rows])
            yield np.nan if drawn is None else drawn

    low, high = interval(np.fromiter(resampled(), np.float64), len(members))
    return Estimate(whole, low, high, len(first))


def spearman(first: Floats, second: Floats) -> float | None:
    """Correlate ranks; equal values share the mean of theirs.

    Returns:
        In [-1, 1]; ``None`` where one side has no two values that differ.
    """
    if not len(first):
        return None
    centred = [ranks - ranks.mean() for ranks in (_ranks(first), _ranks(second))]
    spread = np.sqrt(np.prod([ranks @ ranks for ranks in centred]))
    return float(centred[0] @ centred[1] / spread) if spread else None


def _ranks(values: Floats) -> Floats:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle: Floats = counts.cumsum() - (counts - 1) / 2
    return middle[inverse]
