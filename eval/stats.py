"""Intervals and tests for the tables: scipy's, with the degenerate cases decided once.

Every function is deterministic in its arguments; none reads or moves a global generator.
"""

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

RESAMPLES = 9999
BATCH = 10_000_000
"""Numbers that a bootstrap holds at once, so that a large benchmark does not fill the memory."""


@dataclass(frozen=True)
class Interval:
    """A mean and where it may lie."""

    mean: float
    low: float | None
    """None where the data cannot tell: one value, or one cluster."""
    high: float | None
    n: int
    """Values that the mean is of."""


@dataclass(frozen=True)
class PairedDifference:
    """The mean of ``a - b`` and the chance of one as far from zero if a and b were exchangeable."""

    interval: Interval
    p_value: float
    """Two-sided, in (0, 1]."""


def mean_interval(
    values: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Mean with a BCa bootstrap interval (Efron 1987).

    One value or one cluster gives no interval (None); equal values give an interval of no width. Where BCa is
    undefined because the resampled means do not vary enough, the percentile interval of the same resamples stands in.

    Args:
        values: finite numbers, at least one.
        clusters: what each value belongs to (the image, where values are its instructions). Clusters are drawn whole,
            since values of one cluster are not independent.
        confidence: in (0, 1).
        seed: of the resampling.
    """
    sums, counts = _by_cluster(np.asarray(values, dtype=float), clusters)
    n, mean = int(counts.sum()), float(np.mean(values))
    if len(sums) < 2:
        return Interval(mean, None, None, n)
    if np.ptp(values) == 0:
        return Interval(mean, mean, mean, n)

    def ratio(sums: Float[np.ndarray, "..."], counts: Float[np.ndarray, "..."], axis: int = -1) -> Any:
        return sums.sum(axis=axis) / counts.sum(axis=axis)

    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        drawn = stats.bootstrap(
            (sums, counts), ratio, paired=True, vectorized=True, n_resamples=RESAMPLES, method="BCa",
            batch=max(1, BATCH // len(sums)), confidence_level=confidence, rng=np.random.default_rng(seed),
        )  # fmt: skip
    low, high = drawn.confidence_interval
    if not np.isfinite([low, high]).all():
        tail = (1 - confidence) / 2
        low, high = np.quantile(drawn.bootstrap_distribution, [tail, 1 - tail])
    return Interval(mean, float(low), float(high), n)


def paired_difference(
    a: Sequence[float],
    b: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> PairedDifference:
    """Compare two methods on the samples that both have a value for, in the same order.

    The interval is :func:`mean_interval` of the differences. The test swaps the two methods within a sample (within a
    whole cluster, if given); it is exact where the swaps are few enough to be counted out.
    """
    if len(a) != len(b):
        raise ValueError(f"paired values differ in number: {len(a)} and {len(b)}")
    differences = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    interval = mean_interval(differences.tolist(), clusters, confidence, seed)
    sums_a, _ = _by_cluster(np.asarray(a, dtype=float), clusters)
    sums_b, _ = _by_cluster(np.asarray(b, dtype=float), clusters)
    if len(sums_a) < 2:
        # Two arrangements, both as far from zero; scipy refuses the case.
        return PairedDifference(interval, 1.0)

    def difference(a: Float[np.ndarray, "..."], b: Float[np.ndarray, "..."], axis: int = -1) -> Any:
        return (a - b).sum(axis=axis) / interval.n

    test = stats.permutation_test(
        (sums_a, sums_b), difference, permutation_type="samples", vectorized=True, n_resamples=RESAMPLES,
        batch=max(1, BATCH // (2 * len(sums_a))), alternative="two-sided", rng=np.random.default_rng(seed),
    )  # fmt: skip
    return PairedDifference(interval, float(test.pvalue))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for having made several comparisons (Holm 1979), in the order given."""
    order = np.argsort(p_values, kind="stable")
    steps = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(np.asarray(p_values, dtype=float)[order] * steps))
    return [float(value) for value in adjusted]


def _by_cluster(
    values: Float[np.ndarray, " n"], clusters: Sequence[Hashable] | None
) -> tuple[Float[np.ndarray, " c"], Float[np.ndarray, " c"]]:
    """Sum and number of the values of each cluster, in order of first appearance; without clusters each is its own."""
    if not len(values) or not np.isfinite(values).all():
        raise ValueError("expected at least one value, all of them finite")
    if clusters is None:
        return values, np.ones(len(values))
    if len(clusters) != len(values):
        raise ValueError(f"{len(values)} values but {len(clusters)} clusters")
    places: dict[Hashable, int] = {}
    index = [places.setdefault(cluster, len(places)) for cluster in clusters]
    return np.bincount(index, weights=values), np.bincount(index).astype(float)
