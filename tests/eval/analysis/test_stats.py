"""Intervals and tests compared with values computed by hand or published."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from eval.analysis.stats import Interval, holm, mean_interval, paired_difference


def bounds(interval: Interval) -> tuple[float, float]:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low, interval.high


VALUES = [0.11, 0.35, 0.2, 0.64, 0.31, 0.18, 0.9, 0.42, 0.27, 0.15]


def test_mean_interval_is_scipys_bca() -> None:
    interval = mean_interval(VALUES, seed=3)
    rng = np.random.default_rng(3)
    expected = bootstrap((VALUES,), np.mean, n_resamples=9999, method="BCa", rng=rng).confidence_interval
    assert (interval.mean, interval.n) == (pytest.approx(0.353, abs=1e-12), 10)
    assert (interval.low, interval.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert expected.low < 0.353 < expected.high


def test_mean_interval_of_a_large_normal_sample_is_the_textbook_one() -> None:
    values = np.random.default_rng(0).normal(size=500)
    half = 1.96 * values.std(ddof=1) / 500**0.5
    interval = mean_interval(values.tolist())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.006)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.006)


def test_mean_interval_covers_the_truth_as_often_as_it_says() -> None:
    """A skewed distribution of 40 values: BCa should come near 95 of 100."""
    random = np.random.default_rng(1)
    intervals = [mean_interval(random.exponential(size=40).tolist(), seed=seed) for seed in range(100)]
    covered = [low <= 1 <= high for low, high in map(bounds, intervals)]
    assert 88 <= sum(covered) <= 100


def test_the_seed_decides_and_nothing_else() -> None:
    np.random.seed(0)
    first = mean_interval(VALUES)
    np.random.seed(1)
    assert mean_interval(VALUES) == first
    assert mean_interval(VALUES, seed=1) != first


def test_a_lower_confidence_gives_a_narrower_interval() -> None:
    wide, narrow = bounds(mean_interval(VALUES)), bounds(mean_interval(VALUES, confidence=0.5))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("values", "clusters", "expected"),
    [
        ([3.0], None, Interval(3.0, None, None, 1)),
        ([2.0, 2.0, 2.0], None, Interval(2.0, 2.0, 2.0, 3)),
        ([1.0, 2.0, 6.0], ["a", "a", "a"], Interval(3.0, None, None, 3)),
        # Every cluster has the same mean, so resampled means are equal.
        ([1.0, 2.0, 1.0, 2.0], ["a", "a", "b", "b"], Interval(1.5, 1.5, 1.5, 4)),
        ([1.0, 2.0], None, Interval(1.5, 1.0, 2.0, 2)),
    ],
)
def test_degenerate_intervals(values: list[float], clusters: list[str] | None, expected: Interval) -> None:
    assert mean_interval(values, clusters) == expected


def test_clusters_are_drawn_whole() -> None:
    """Ten copies of each value in a cluster give the same interval as the values, not that of ten times n."""
    copies = [value for value in VALUES for _ in range(10)]
    names = [index for index in range(len(VALUES)) for _ in range(10)]
    single, independent = bounds(mean_interval(VALUES)), bounds(mean_interval(copies))
    clustered = mean_interval(copies, names)
    assert clustered.n == 100
    assert bounds(clustered) == pytest.approx(single)
    assert independent[1] - independent[0] < 0.5 * (single[1] - single[0])


def test_clusters_of_unequal_size_keep_the_mean_of_the_values() -> None:
    interval = mean_interval([1.0, 1.0, 1.0, 5.0], ["a", "a", "a", "b"])
    assert (interval.mean, interval.low, interval.high) == (2.0, 1.0, 5.0)


def test_the_studentised_interval_is_that_of_its_definition() -> None:
    values, random, scores = np.array(VALUES), np.random.default_rng(3), []
    error = values.std(ddof=1) / 10**0.5
    for drawn in values[random.integers(10, size=(9999, 10))]:
        scores.append((drawn.mean() - values.mean()) / (drawn.std(ddof=1) / 10**0.5))
    upper, lower = np.quantile(scores, [0.975, 0.025], method="closest_observation")
    found = mean_interval(VALUES, seed=3, method="studentised")
    assert bounds(found) == (pytest.approx(0.353 - upper * error), pytest.approx(0.353 - lower * error))
    low, high = bounds(mean_interval(VALUES, seed=3))
    assert bounds(found)[1] - bounds(found)[0] > high - low


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("values", "clusters", "expected"),
    [
        ([3.0], None, Interval(3.0, None, None, 1)),
        ([2.0, 2.0, 2.0], None, Interval(2.0, 2.0, 2.0, 3)),
        ([1.0, 2.0, 1.0, 2.0], ["a", "a", "b", "b"], Interval(1.5, 1.5, 1.5, 4)),
        # One in nine resamples of three values has equal values, so its standard error is 0.
        ([1.0, 2.0, 4.5], None, Interval(2.5, None, None, 3)),
        # The same holds for a third of the resamples of ten verdicts of which one differs.
        ([1.0] * 9 + [0.0], None, Interval(0.9, None, None, 10)),
    ],
)
def test_degenerate_studentised_intervals(values: list[float], clusters: list[str] | None, expected: Interval) -> None:
    assert mean_interval(values, clusters, method="studentised") == expected


def test_studentised_clusters_are_drawn_whole() -> None:
    copies, names = [v for v in VALUES for _ in range(4)], [i for i in range(len(VALUES)) for _ in range(4)]
    single = bounds(mean_interval(VALUES, method="studentised"))
    assert bounds(mean_interval(copies, names, method="studentised")) == pytest.approx(single)


@pytest.mark.parametrize(("values", "clusters"), [([], None), ([1.0, float("nan")], None), ([1.0, 2.0], ["a"])])
def test_values_that_have_no_mean_are_refused(values: list[float], clusters: list[str] | None) -> None:
    with pytest.raises(ValueError, match="expected at least one value|2 values but 1 clusters"):
        mean_interval(values, clusters)


def test_paired_difference_counts_out_small_samples() -> None:
    # Five differences of one sign: 2 of the 32 assignments of signs are as far from zero.
    found = paired_difference([1.0, 2.0, 3.0, 4.0, 5.0], [0.0] * 5)
    assert found.p_value == pytest.approx(2 / 32)
    assert (found.interval.mean, found.interval.n) == (3.0, 5)
    # Darwin's 15 pairs of maize plants: Fisher counted 1726 of 32768 (The Design of Experiments, section 21).
    eighths = [49.0, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    darwin = paired_difference([float(value) for value in eighths], [0.0] * 15)
    assert darwin.interval.mean == pytest.approx(314 / 15)
    assert darwin.p_value == pytest.approx(1726 / 32768, abs=0.007)


def test_paired_difference_sees_what_an_unpaired_look_would_miss() -> None:
    random = np.random.default_rng(0)
    level = random.normal(0, 10, 40)
    found = paired_difference((level + 1).tolist(), (level + random.normal(0, 0.5, 40)).tolist())
    assert found.p_value < 0.001
    low, high = bounds(found.interval)
    assert 0.6 < low < 1 < high < 1.4


def test_paired_difference_swaps_whole_clusters() -> None:
    a = [1.0 + index / 100 for index in range(12)]
    clusters = [index // 4 for index in range(12)]
    assert paired_difference(a, [0.0] * 12).p_value < 0.001
    # Three clusters: 2 of 8 swaps.
    assert paired_difference(a, [0.0] * 12, clusters).p_value == pytest.approx(0.25)


@pytest.mark.parametrize(("a", "b"), [([1.0, 2.0], [1.0, 2.0]), ([1.0], [2.0])])
def test_no_evidence_is_a_p_value_of_one(a: list[float], b: list[float]) -> None:
    assert paired_difference(a, b).p_value == 1.0


def test_paired_difference_needs_pairs() -> None:
    with pytest.raises(ValueError, match="differ in number: 2 and 1"):
        paired_difference([1.0, 2.0], [1.0])


def test_holm() -> None:
    # 4 * 0.005, 3 * 0.01, 2 * 0.03, then 0.04 is lifted to the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []
