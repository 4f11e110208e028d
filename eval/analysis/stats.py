"""Bootstrap intervals and permutation tests for the tables, based on scipy, with degenerate cases handled.

Every function is deterministic; none uses a global random generator.
"""

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

RESAMPLES = 9999
INTERVALS = {"bca": "BCa", "studentised": "studentised"}
"""Bootstrap intervals and their titles: bias-corrected and accelerated (Efron 1987), and bootstrap-t."""
DEFAULT = "bca"
"""Default of :data:`INTERVALS`."""
BATCH = 10_000_000
"""Number of values that a bootstrap holds in memory at once."""


@dataclass(frozen=True)
class Interval:
    """A mean with its interval."""

    mean: float
    low: float | None
    """Lower bound; None if no interval exists, as for one value or one cluster."""
    high: float | None
    """Upper bound; None if ``low`` is."""
    n: int
    """Number of values."""


@dataclass(frozen=True)
class PairedDifference:
    """The mean of ``a - b`` with its interval and the p-value of a paired permutation test."""

    interval: Interval
    p_value: float
    """Two-sided, in (0, 1]."""


def mean_interval(
    values: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    method: str = DEFAULT,
) -> Interval:
    """Return the mean with a bootstrap interval.

    One value or one cluster gives no interval (None); equal values give an interval of width 0. If BCa is undefined
    because the resampled means vary too little, the percentile interval of the same resamples is used. The studentised
    interval is None if too many resamples have a standard error of 0, as with three clusters or fewer.
    :mod:`eval.analysis.coverage` estimates the coverage of both.

    Args:
        values: Finite numbers, at least one.
        clusters: The cluster of each value, such as its image. Whole clusters are resampled, since the values of a
            cluster are not independent.
        confidence: In (0, 1).
        seed: Seed of the resampling.
        method: One of :data:`INTERVALS`.

    Raises:
        ValueError: There is no value, one is not finite, or the number of clusters differs.
    """
    sums, counts = _by_cluster(np.asarray(values, dtype=float), clusters)
    n, mean = int(counts.sum()), float(np.mean(values))
    if len(sums) < 2:
        return Interval(mean, None, None, n)
    if np.ptp(values) == 0:
        return Interval(mean, mean, mean, n)
    if method == "studentised":
        low, high = _studentised(sums, counts, confidence, seed)
        return Interval(mean, low, high, n)

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
    method: str = DEFAULT,
) -> PairedDifference:
    """Compare two methods on samples for which both have a value, in the same order.

    The interval is :func:`mean_interval` of the differences. The test swaps the two methods within samples (or whole
    clusters); it is exact if all permutations can be enumerated.

    Raises:
        ValueError: The numbers of values differ; see also :func:`mean_interval`.
    """
    if len(a) != len(b):
        raise ValueError(f"paired values differ in number: {len(a)} and {len(b)}")
    differences = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    interval = mean_interval(differences.tolist(), clusters, confidence, seed, method)
    sums_a, _ = _by_cluster(np.asarray(a, dtype=float), clusters)
    sums_b, _ = _by_cluster(np.asarray(b, dtype=float), clusters)
    if len(sums_a) < 2:
        # Both permutations are equally far from zero; scipy refuses this case.
        return PairedDifference(interval, 1.0)

    def difference(a: Float[np.ndarray, "..."], b: Float[np.ndarray, "..."], axis: int = -1) -> Any:
        return (a - b).sum(axis=axis) / interval.n

    test = stats.permutation_test(
        (sums_a, sums_b), difference, permutation_type="samples", vectorized=True, n_resamples=RESAMPLES,
        batch=max(1, BATCH // (2 * len(sums_a))), alternative="two-sided", rng=np.random.default_rng(seed),
    )  # fmt: skip
    return PairedDifference(interval, float(test.pvalue))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for multiple comparisons (Holm 1979), in the given order."""
    order = np.argsort(p_values, kind="stable")
    steps = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(np.asarray(p_values, dtype=float)[order] * steps))
    return [float(value) for value in adjusted]


def _studentised(
    sums: Float[np.ndarray, " c"], counts: Float[np.ndarray, " c"], confidence: float, seed: int
) -> tuple[float, float] | tuple[None, None]:
    """Return the bootstrap-t interval of a ratio of sums (Efron 1982, section 10.10; Hall 1988), by whole clusters."""
    mean, error = _mean_and_error(sums, counts)
    if error == 0:
        return float(mean), float(mean)
    random, size, scores = np.random.default_rng(seed), max(1, BATCH // len(sums)), []
    for start in range(0, RESAMPLES, size):
        drawn = random.integers(len(sums), size=(min(size, RESAMPLES - start), len(sums)))
        means, errors = _mean_and_error(sums[drawn], counts[drawn])
        with np.errstate(divide="ignore", invalid="ignore"):
            scores.append(np.where(means == mean, 0.0, (means - mean) / errors))
    tail = (1 - confidence) / 2
    # Quantiles are not interpolated, because scores may be infinite.
    upper, lower = np.quantile(np.concatenate(scores), [1 - tail, tail], method="closest_observation")
    low, high = mean - upper * error, mean - lower * error
    return (float(low), float(high)) if np.isfinite([low, high]).all() else (None, None)


def _mean_and_error(
    sums: Float[np.ndarray, "*draws c"], counts: Float[np.ndarray, "*draws c"]
) -> tuple[Float[np.ndarray, "*draws"], Float[np.ndarray, "*draws"]]:
    """Return the ratio of the sums and its standard error by linearisation; for means, this is ``s / sqrt(n)``."""
    total, clusters = counts.sum(axis=-1), sums.shape[-1]
    mean = sums.sum(axis=-1) / total
    residuals = sums - mean[..., None] * counts
    return mean, np.sqrt(clusters / (clusters - 1) * (residuals**2).sum(axis=-1)) / total


def _by_cluster(
    values: Float[np.ndarray, " n"], clusters: Sequence[Hashable] | None
) -> tuple[Float[np.ndarray, " c"], Float[np.ndarray, " c"]]:
    """Return sum and number of values of each cluster, in order of first appearance; by default, one value each."""
    if not len(values) or not np.isfinite(values).all():
        raise ValueError("expected at least one value, all of them finite")
    if clusters is None:
        return values, np.ones(len(values))
    if len(clusters) != len(values):
        raise ValueError(f"{len(values)} values but {len(clusters)} clusters")
    places: dict[Hashable, int] = {}
    index = [places.setdefault(cluster, len(places)) for cluster in clusters]
    return np.bincount(index, weights=values), np.bincount(index).astype(float)
