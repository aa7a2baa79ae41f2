import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_gym_env.evaluation.statistics import (
    Bootstrap,
    ClusterSums,
    Floats,
    interval,
    minimum_detectable,
    paired_difference,
    resample_ratios,
    standard_error,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def column(*values: float) -> Floats:
    return np.array(values, dtype=float)


def test_a_cluster_without_a_quantity_has_sums_of_zero() -> None:
    sums = ClusterSums()
    sums.add("a", "reward", 0.5)
    sums.add("b", "reward", 1.0)
    sums.add("b", "reward", 0.25)
    sums.add_ratio("b", "recall", 1.0, 2.0)
    sums.add("c", "reward", 1.0)
    numerators, denominators = sums.columns("recall")
    assert numerators.tolist() == [0.0, 1.0, 0.0]
    assert denominators.tolist() == [0.0, 2.0, 0.0]
    assert sums.columns("reward")[0].tolist() == [0.5, 1.25, 1.0]


def test_every_resample_of_equal_clusters_has_their_ratio() -> None:
    ratios = resample_ratios(np.full((20, 1), 3.0), np.full((20, 1), 4.0), resamples=50, rng=rng())
    assert ratios.shape == (50, 1)
    assert (ratios == 0.75).all()


def test_a_resample_without_values_has_no_ratio() -> None:
    ratios = resample_ratios(
        np.array([[1.0], [0.0]]), np.array([[1.0], [0.0]]), resamples=200, rng=rng()
    )
    drawn = ratios[~np.isnan(ratios)]
    assert (drawn == 1.0).all()
    assert 20 < np.isnan(ratios).sum() < 80  # a quarter of 200 on average


def test_resampling_does_not_depend_on_how_many_draws_fit_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values, ones = rng(1).random((7, 2)), np.ones((7, 2))
    whole = resample_ratios(values, ones, resamples=40, rng=rng())
    monkeypatch.setattr("agent_gym_env.evaluation.statistics._DRAWS_AT_ONCE", 20)
    assert np.allclose(resample_ratios(values, ones, resamples=40, rng=rng()), whole)


def test_one_dialogue_has_a_mean_and_no_interval() -> None:
    sums = ClusterSums()
    sums.add("a", "reward", 0.5)
    estimate = Bootstrap(sums, resamples=10, seed=0).estimate("reward")
    assert (estimate.mean, estimate.low, estimate.high) == (0.5, None, None)


def test_what_is_not_known_is_left_out_and_counted() -> None:
    sums = ClusterSums()
    for value in (0.5, None, 1.0, None, None):
        sums.add("a", "reward", value)
    estimate = Bootstrap(sums, resamples=10, seed=0).estimate("reward")
    assert (estimate.mean, estimate.count, estimate.left_out) == (0.75, 2, 3)


def test_a_mean_per_turn_weighs_dialogues_by_their_turns() -> None:
    sums = ClusterSums()
    for dialogue, rewards in {"long": [1.0, 1.0, 1.0], "short": [0.0]}.items():
        for reward in rewards:
            sums.add(dialogue, "reward", reward)
    estimate = Bootstrap(sums, resamples=100, seed=0).estimate("reward")
    assert estimate.mean == 0.75
    assert estimate.count == 4


def test_a_mean_of_two_ratios_weighs_them_equally() -> None:
    sums = ClusterSums()
    sums.add("a", "due", 0.2)
    sums.add("a", "not due", 0.6)
    sums.add_ratio("b", "not due", 1.8, 3.0)
    estimate = Bootstrap(sums, resamples=100, seed=0).estimate("due", "not due")
    assert estimate.mean == pytest.approx((0.2 + 0.6) / 2)


def test_a_mean_with_a_ratio_that_nothing_adds_to_is_not_known() -> None:
    sums = ClusterSums()
    sums.add("a", "due", 0.2)
    bootstrap = Bootstrap(sums, resamples=10, seed=0)
    assert bootstrap.estimate("due", "not due").mean is None
    assert bootstrap.estimate("not due").count == 0


def test_the_same_seed_gives_the_same_interval() -> None:
    sums = ClusterSums()
    for number, value in enumerate(rng(3).random(30)):
        sums.add(number, "reward", value)
    estimates = [Bootstrap(sums, resamples=200, seed=5).estimate("reward") for _ in range(2)]
    assert estimates[0] == estimates[1]


def test_few_clusters_widen_the_interval_beyond_the_plain_percentiles() -> None:
    resampled = rng().normal(size=20_000)
    # sqrt(5/4) times Student's t at 97.5 % with 4 degrees of freedom, 2.776, is 3.104.
    assert interval(resampled, 5) == pytest.approx((-3.104, 3.104), abs=0.25)
    assert interval(resampled, 10_000) == pytest.approx((-1.96, 1.96), abs=0.05)


def _dialogues(generator: np.random.Generator, count: int) -> tuple[Floats, Floats]:
    """Turn sums and counts of dialogues that differ in skill and in length; the mean is 0.4."""
    turns = generator.integers(4, 16, count)
    skill = generator.beta(2, 3, count)
    sums = [generator.normal(p, 0.2, n).sum() for p, n in zip(skill, turns, strict=True)]
    return np.array(sums), turns.astype(float)


@pytest.mark.parametrize("dialogues", [8, 40])
def test_intervals_cover_the_true_mean_nineteen_times_in_twenty(dialogues: int) -> None:
    generator = rng(11)
    covered = 0
    for _ in range(400):
        sums, turns = _dialogues(generator, dialogues)
        resampled = resample_ratios(sums[:, None], turns[:, None], resamples=400, rng=generator)
        low, high = interval(resampled[:, 0], dialogues)
        assert low is not None
        assert high is not None
        covered += low <= 0.4 <= high
    assert 0.92 <= covered / 400 <= 0.98


def test_resampling_turns_instead_of_dialogues_would_not_cover() -> None:
    """Why the bootstrap is of dialogues: turns of one dialogue are alike."""
    generator = rng(12)
    covered = 0
    for _ in range(200):
        turns = np.concatenate([np.full(10, skill) for skill in generator.beta(2, 3, 40)])
        resampled = resample_ratios(
            turns[:, None], np.ones((len(turns), 1)), resamples=200, rng=generator
        )
        low, high = interval(resampled[:, 0], len(turns))
        assert low is not None
        assert high is not None
        covered += low <= 0.4 <= high
    assert covered / 200 < 0.6


def test_the_standard_error_of_equally_long_dialogues_is_that_of_a_mean() -> None:
    # Means 0, 1, 2 over two turns each: standard deviation 1, so 1 / sqrt(3).
    assert standard_error(column(0, 2, 4), column(2, 2, 2)) == pytest.approx(1 / math.sqrt(3))


def test_the_standard_error_by_hand_for_dialogues_of_unequal_length() -> None:
    # Ratio 3/4; residuals 1 - 0.75 and 2 - 2.25; sqrt(2 * (0.0625 + 0.0625)) / 4.
    assert standard_error(column(1, 2), column(1, 3)) == pytest.approx(0.125)


def test_the_minimum_detectable_difference_is_two_point_eight_standard_errors() -> None:
    assert minimum_detectable(0.01) == pytest.approx(0.0280159, abs=1e-6)


def test_identical_policies_are_inconclusive() -> None:
    rewards = rng(1).random(50)
    found = paired_difference(rewards, rewards, np.ones(50), resamples=200, rng=rng())
    assert (found.difference, found.low, found.high) == (0.0, 0.0, 0.0)
    assert (found.p_value, found.minimum_detectable) == (1.0, 0.0)
    assert found.verdict == "inconclusive"


def test_a_policy_that_always_earns_more_is_better_and_the_other_worse() -> None:
    low, high = np.linspace(0.1, 0.5, 30), np.linspace(0.2, 0.7, 30)
    better = paired_difference(high, low, np.ones(30), resamples=500, rng=rng())
    worse = paired_difference(low, high, np.ones(30), resamples=500, rng=rng())
    assert (better.verdict, worse.verdict) == ("better", "worse")
    assert better.difference == pytest.approx(0.15)
    assert better.p_value == pytest.approx(1 / 501)


def test_three_wins_out_of_three_are_not_enough() -> None:
    """Two of the eight ways to call the policies first and second look like this one."""
    found = paired_difference(
        column(0.9, 0.8, 0.7), column(0.1, 0.2, 0.3), np.ones(3), resamples=4000, rng=rng()
    )
    assert found.p_value == pytest.approx(0.25, abs=0.03)
    assert found.verdict == "inconclusive"


def test_one_shared_dialogue_has_a_difference_and_no_verdict() -> None:
    found = paired_difference(
        column(3.0, 0.0), column(1.0, 0.0), column(4.0, 0.0), resamples=10, rng=rng()
    )
    assert (found.difference, found.dialogues, found.count) == (0.5, 1, 4)
    assert (found.low, found.p_value, found.verdict) == (None, None, "inconclusive")


def test_without_shared_dialogues_the_difference_is_unknown() -> None:
    found = paired_difference(column(0.0), column(0.0), column(0.0), resamples=10, rng=rng())
    assert (found.difference, found.count) == (None, 0)


def test_equal_policies_differ_in_at_most_one_sample_of_twenty() -> None:
    generator = rng(21)
    wrong = sum(
        paired_difference(
            generator.beta(2, 3, 30), generator.beta(2, 3, 30), np.ones(30),
            resamples=300, rng=generator,
        ).verdict
        != "inconclusive"
        for _ in range(400)
    )  # fmt: skip
    assert wrong / 400 <= 0.07


def test_the_minimum_detectable_difference_is_found_four_times_in_five() -> None:
    generator = rng(22)
    dialogues, spread = 60, 0.3
    gain = minimum_detectable(spread / math.sqrt(dialogues))
    found = sum(
        paired_difference(
            generator.normal(gain, spread, dialogues), np.zeros(dialogues), np.ones(dialogues),
            resamples=300, rng=generator,
        ).verdict
        == "better"
        for _ in range(300)
    )  # fmt: skip
    assert 0.7 <= found / 300 <= 0.88


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(1, 9)), min_size=2, max_size=12),
    st.integers(0, 3),
)
def test_an_interval_lies_between_the_lowest_and_the_highest_dialogue(
    dialogues: list[tuple[float, int]], seed: int
) -> None:
    sums = ClusterSums()
    for number, (mean, turns) in enumerate(dialogues):
        sums.add_ratio(number, "reward", mean * turns, turns)
    estimate = Bootstrap(sums, resamples=50, seed=seed).estimate("reward")
    lowest, highest = min(dialogues)[0], max(dialogues)[0]
    assert estimate.low is not None
    assert estimate.high is not None
    assert estimate.mean is not None
    assert lowest - 1e-9 <= estimate.low <= estimate.high <= highest + 1e-9
    assert lowest - 1e-9 <= estimate.mean <= highest + 1e-9
