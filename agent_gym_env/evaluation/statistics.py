"""Bootstrap statistics of quantities that are measured many times within each dialogue.

Turns of one dialogue are correlated, so whole dialogues are resampled, never single turns. A mean
per turn is then a ratio of two sums, which are resampled together (Davison and Hinkley, *Bootstrap
Methods and their Application*, 1997, §3.8).
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from statistics import NormalDist
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
POWER = 0.8

Floats = npt.NDArray[np.float64]
Verdict = Literal["better", "worse", "inconclusive"]

_DRAWS_AT_ONCE = 1 << 20
"""Limit that keeps a resampling within some tens of megabytes for any number of dialogues."""


class Estimate(msgspec.Struct, frozen=True):
    """A mean with its 95 % confidence interval.

    Attributes:
        mean: mean of the values; ``None`` without values.
        low: lower end of the interval; ``None`` with fewer than two dialogues.
        high: upper end of the interval.
        count: number of values in the mean.
        left_out: number of values that are unknown or do not apply, and so are not in the mean.
    """

    mean: float | None = None
    low: float | None = None
    high: float | None = None
    count: int = 0
    left_out: int = 0


class Difference(msgspec.Struct, frozen=True):
    """Result of a paired comparison in one quantity: the first policy minus the second.

    Attributes:
        difference: difference of the means over the values that both policies have.
        low: lower end of the 95 % confidence interval; ``None`` with fewer than two dialogues.
        high: upper end of the interval.
        p_value: p-value of a two-sided sign-flip test: the probability of a difference at least as
            large if the two policies were swapped at random in each dialogue.
        minimum_detectable: smallest true difference that a sample with this spread would detect
            with 80 % probability.
        verdict: verdict on the first policy; ``inconclusive`` unless interval and test agree.
        dialogues: number of dialogues with a value from both.
        count: number of paired values.
    """

    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    minimum_detectable: float | None
    verdict: Verdict
    dialogues: int
    count: int


class ClusterSums:
    """Sums of numerators and denominators by quantity and cluster, as a bootstrap needs them.

    A cluster is a dialogue. Memory is two numbers per quantity and cluster.
    """

    def __init__(self) -> None:
        self._clusters: dict[Hashable, int] = {}
        self._sums: defaultdict[str, tuple[array[float], array[float]]]
        self._sums = defaultdict(lambda: (array("d"), array("d")))
        self._left_out: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._clusters)

    def add(self, cluster: Hashable, quantity: str, value: float | None) -> None:
        """Add a value to a mean; ``None`` is counted as left out."""
        if value is None:
            self._left_out[quantity] += 1
            self.add_ratio(cluster, quantity, 0.0, 0.0)
        else:
            self.add_ratio(cluster, quantity, value, 1.0)

    def add_ratio(
        self, cluster: Hashable, quantity: str, numerator: float, denominator: float
    ) -> None:
        """Add to the two sums of a ratio."""
        row = self._clusters.setdefault(cluster, len(self._clusters))
        above, below = self._sums[quantity]
        if len(above) <= row:
            missing = [0.0] * (row + 1 - len(above))
            above.extend(missing)
            below.extend(missing)
        above[row] += numerator
        below[row] += denominator

    def quantities(self) -> list[str]:
        """Return the names of the quantities, in the order in which they were first added."""
        return list(self._sums)

    def left_out(self, quantity: str) -> int:
        """Return the number of values of a quantity that were ``None``."""
        return self._left_out[quantity]

    def columns(self, quantity: str) -> tuple[Floats, Floats]:
        """Return a quantity's numerators and denominators, each of shape (clusters,)."""
        above, below = self._sums.get(quantity, ((), ()))
        return self._padded(above), self._padded(below)

    def _padded(self, column: Sequence[float]) -> Floats:
        padded = np.zeros(len(self))
        padded[: len(column)] = column
        return padded


class Bootstrap:
    """Estimates of the ratios in some `ClusterSums`, all from the same resampled clusters.

    Args:
        sums: sums of at least one cluster.
        resamples: number of resamples.
        seed: seed of the resampling.
    """

    def __init__(self, sums: ClusterSums, *, resamples: int, seed: int) -> None:
        self._sums = sums
        self._columns = {name: sums.columns(name) for name in sums.quantities()}
        sides = zip(*self._columns.values(), strict=True)
        numerators, denominators = (np.stack(side, axis=1) for side in sides)
        rng = np.random.default_rng(seed)
        ratios = resample_ratios(numerators, denominators, resamples=resamples, rng=rng)
        self._resampled = dict(zip(self._columns, ratios.T, strict=True))

    def estimates(self, prefix: str = "") -> dict[str, Estimate]:
        """Estimate every ratio whose name has a prefix; the keys are the names without it."""
        return {
            name.removeprefix(prefix): self.estimate(name)
            for name in self._columns
            if name.startswith(prefix)
        }

    def estimate(self, *quantities: str) -> Estimate:
        """Estimate a ratio, or the plain mean of several ratios, which needs all of them."""
        left_out = sum(map(self._sums.left_out, quantities))
        columns = [self._columns[name] for name in quantities if name in self._columns]
        if len(columns) < len(quantities) or not all(below.any() for _, below in columns):
            return Estimate(left_out=left_out)
        resampled = np.mean([self._resampled[name] for name in quantities], axis=0)
        low, high = interval(resampled, min(int((below > 0).sum()) for _, below in columns))
        return Estimate(
            mean=float(np.mean([above.sum() / below.sum() for above, below in columns])),
            low=low,
            high=high,
            count=int(sum(below.sum() for _, below in columns)),
            left_out=left_out,
        )


def resample_ratios(
    numerators: Floats, denominators: Floats, *, resamples: int, rng: np.random.Generator
) -> Floats:
    """Draw clusters with replacement and compute the ratio of sums of each draw.

    Args:
        numerators: array of shape (clusters, quantities).
        denominators: array of the same shape; 0 for a cluster without a value of a quantity.
        resamples: number of resamples.
        rng: generator of the draws, which all quantities share.

    Returns:
        Array of shape (resamples, quantities); NaN where no drawn cluster has a value.
    """
    weights = _draw_weights(len(numerators), resamples, rng)
    sums = [(drawn @ numerators, drawn @ denominators) for drawn in weights]
    above, below = (np.concatenate(parts) for parts in zip(*sums, strict=True))
    ratios = np.full_like(above, np.nan)
    np.divide(above, below, out=ratios, where=below > 0)
    return ratios


def _draw_weights(clusters: int, resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Yield the number of times that each cluster is drawn, for some resamples at a time."""
    at_once = max(1, _DRAWS_AT_ONCE // clusters)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = rng.integers(clusters, size=(rows, clusters))
        drawn += np.arange(rows)[:, np.newaxis] * clusters
        counts = np.bincount(drawn.ravel(), minlength=rows * clusters)
        yield counts.reshape(rows, clusters).astype(np.float64)


def interval(resampled: Floats, clusters: int) -> tuple[float | None, float | None]:
    """Compute the 95 % confidence interval from resampled values of a quantity.

    The percentiles are moved outwards, so that the interval has its coverage with few clusters,
    too: the *expanded percentile interval* (Hesterberg, "What Teachers Should Know about the
    Bootstrap", 2015).

    Args:
        resampled: array of shape (resamples,); NaN for a resample without a value.
        clusters: number of clusters with a value.

    Returns:
        Lower and upper end; both ``None`` with fewer than two clusters.
    """
    if clusters < 2:
        return None, None
    expansion = math.sqrt(clusters / (clusters - 1)) * _student_quantile(clusters - 1)
    tail = NormalDist().cdf(-expansion)
    low, high = np.nanquantile(resampled, [tail, 1 - tail])
    return float(low), float(high)


def _student_quantile(freedom: int) -> float:
    """Approximate Student's t at 97.5 % (Abramowitz and Stegun, 26.7.5); exact enough from 3 on."""
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, start=1))


def paired_difference(
    first: Floats,
    second: Floats,
    counts: Floats,
    *,
    resamples: int,
    rng: np.random.Generator,
) -> Difference:
    """Compare two policies on the values that both have.

    Args:
        first: sum of the first policy's values in each dialogue, shape (dialogues,).
        second: sum of the second policy's values, same shape.
        counts: number of values in both sums; 0 for a dialogue without values.
        resamples: number of resamples, for the interval and for the test.
        rng: generator of the draws.
    """
    paired = counts > 0
    gains, weights = (first - second)[paired], counts[paired]
    dialogues, count = len(gains), int(weights.sum())
    if dialogues < 2:
        only = float(gains.sum() / count) if count else None
        return Difference(only, None, None, None, None, "inconclusive", dialogues, count)
    resampled = resample_ratios(
        gains[:, np.newaxis], weights[:, np.newaxis], resamples=resamples, rng=rng
    )
    low, high = interval(resampled[:, 0], dialogues)
    p_value = _sign_flip_test(gains, resamples, rng)
    return Difference(
        difference=float(gains.sum() / count),
        low=low,
        high=high,
        p_value=p_value,
        minimum_detectable=minimum_detectable(standard_error(gains, weights)),
        verdict=_verdict(low, high, p_value),
        dialogues=dialogues,
        count=count,
    )


def standard_error(numerators: Floats, denominators: Floats) -> float:
    """Estimate the standard error of a ratio of sums over at least two clusters (linearised)."""
    clusters = len(numerators)
    residuals = numerators - numerators.sum() / denominators.sum() * denominators
    spread = math.sqrt(clusters / (clusters - 1) * float(residuals @ residuals))
    return spread / float(denominators.sum())


def minimum_detectable(error: float) -> float:
    """Return the smallest difference that is detected with 80 % probability at a standard error."""
    normal = NormalDist()
    return (normal.inv_cdf((1 + CONFIDENCE) / 2) + normal.inv_cdf(POWER)) * error


def _sign_flip_test(gains: Floats, resamples: int, rng: np.random.Generator) -> float:
    observed = abs(gains.sum())
    # Sums in another order differ in their last bits; such sums count as equal.
    slack = 1e-9 * np.abs(gains).sum()
    at_once = max(1, _DRAWS_AT_ONCE // len(gains))
    reached = 0
    for start in range(0, resamples, at_once):
        shape = (min(at_once, resamples - start), len(gains))
        signs = rng.integers(2, size=shape, dtype=np.int8) * 2.0 - 1.0
        reached += int((np.abs(signs @ gains) >= observed - slack).sum())
    return (reached + 1) / (resamples + 1)


def _verdict(low: float | None, high: float | None, p_value: float) -> Verdict:
    if low is None or high is None or p_value >= 1 - CONFIDENCE:
        return "inconclusive"
    if low > 0:
        return "better"
    return "worse" if high < 0 else "inconclusive"
