"""How often a 95 % interval of :mod:`eval.analysis.stats` covers the mean that the values were drawn around."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from eval.analysis.stats import mean_interval

Draw = Callable[[np.random.Generator, int], Float[np.ndarray, " n"]]
DISTRIBUTIONS: Mapping[str, tuple[Draw, float]] = {
    "normal": (lambda random, n: random.normal(size=n), 0.0),
    "lognormal": (lambda random, n: random.lognormal(size=n), float(np.exp(0.5))),
}
"""How values are drawn, and their mean. Metrics such as LPIPS are skewed as the lognormal is, though less."""


@dataclass(frozen=True)
class Coverage:
    """What came of many experiments; shares in [0, 1]."""

    covered: float
    """Intervals that hold the mean."""
    below: float
    """Intervals that lie below it."""
    above: float
    """Intervals that lie above it."""
    width: float
    """Of the intervals, the median."""


def coverage(distribution: str, method: str, n: int, experiments: int, seed: int = 0) -> Coverage:
    """Draw ``n`` values again and again, and look where their interval lies.

    Args:
        distribution: One of :data:`DISTRIBUTIONS`.
        method: One of :data:`eval.analysis.stats.INTERVALS`.
        n: Values of an experiment, enough for an interval.
        experiments: At least one. The standard error of a coverage of 0.95 is 0.002 with 10,000 of them.
        seed: Of the values; the same values are drawn for each method.
    """
    draw, mean = DISTRIBUTIONS[distribution]
    random = np.random.default_rng(seed)
    found = [mean_interval(draw(random, n).tolist(), seed=k, method=method) for k in range(experiments)]
    bounds = np.array([(i.low, i.high) for i in found], dtype=float)
    below, above = float((bounds[:, 1] < mean).mean()), float((bounds[:, 0] > mean).mean())
    return Coverage(1 - below - above, below, above, float(np.median(bounds[:, 1] - bounds[:, 0])))
