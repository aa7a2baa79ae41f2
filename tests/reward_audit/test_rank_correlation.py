import numpy as np
import pytest

from agent_gym_env.reward_audit.agreement import rank_correlation, spearman


def correlated(first: list[float], second: list[float]) -> float | None:
    return spearman(np.array(first), np.array(second))


def test_ranks_alone_count() -> None:
    assert correlated([1, 2, 3], [10, 20, 1000]) == pytest.approx(1.0)
    assert correlated([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    # Ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4: 4.5 / sqrt(4.5 * 5).
    assert correlated([0, 1, 1, 2], [1, 2, 3, 4]) == pytest.approx(4.5 / 22.5**0.5)


@pytest.mark.parametrize("first", [[], [1.0], [1.0, 1.0]])
def test_one_value_has_no_correlation(first: list[float]) -> None:
    assert correlated(first, list(range(len(first)))) is None


def test_an_undefined_correlation_has_no_interval() -> None:
    nothing = np.zeros(3)
    found = rank_correlation(nothing, nothing, nothing, resamples=10, seed=0)
    assert (found.mean, found.low, found.count) == (None, None, 3)


def test_the_interval_holds_the_correlation_and_widens_with_few_clusters() -> None:
    rng = np.random.default_rng(0)
    first = rng.random(200)
    second = first + rng.random(200)
    widths = []
    for clusters in (5, 50):
        groups = np.arange(200.0) % clusters
        found = rank_correlation(first, second, groups, resamples=500, seed=1)
        assert found.low is not None
        assert found.mean is not None
        assert found.high is not None
        assert found.low < found.mean < found.high
        widths.append(found.high - found.low)
    assert widths[0] > widths[1]
