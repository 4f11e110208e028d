"""Differences to a reference run are computed from pairs, and samples without a pair are counted."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest

from eval.analysis.differences import differences
from eval.analysis.stats import holm, paired_difference
from eval.runs.records import ROWS


def frame(values: Mapping[str, Mapping[str, Sequence[float | None]]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows and counts from ``{run: {metric: value of each sample}}``."""
    rows = [
        (run, f"{run} label", f"s{i}", f"i{i}", metric, value, f"card of {metric}", "")
        for run, metrics in values.items()
        for metric, own in metrics.items()
        for i, value in enumerate(own)
    ]
    counts = pd.DataFrame(
        [(run, f"{run} label", 5, 0) for run in values], columns=["run_id", "label", "edited", "failed"]
    )
    return pd.DataFrame(rows, columns=list(ROWS)), counts


BASE = [0.1, 0.2, 0.3, 0.4, 0.5]
OTHER = [0.3, 0.3, 0.5, None, 0.9]


def test_differences_are_those_of_the_pairs() -> None:
    rows, counts = frame({"base": {"lpips": BASE, "iou": BASE}, "other": {"lpips": OTHER}, "same": {"lpips": BASE}})
    found = differences(rows, counts, "base").set_index("run_id")
    assert found.index.tolist() == ["other", "same"]  # never the reference, and only metrics that both have
    pairs = [(b, o) for b, o in zip(BASE, OTHER, strict=True) if o is not None]
    own = paired_difference([o for _, o in pairs], [b for b, _ in pairs])
    other = found.loc["other"]
    assert other["difference"] == pytest.approx(np.mean([0.2, 0.1, 0.2, 0.4]))
    assert (other["low"], other["high"], other["p_value"]) == (own.interval.low, own.interval.high, own.p_value)
    assert (other["n"], other["left_out"]) == (4, 1)
    assert found.loc["same", "difference"] == 0
    assert found.loc["same", "p_value"] == 1
    assert found["p_adjusted"].tolist() == holm(found["p_value"].tolist())


def test_no_pairs_no_rows() -> None:
    rows, counts = frame({"base": {"lpips": [1.0, None]}, "other": {"lpips": [None, 2.0]}})
    assert len(differences(rows, counts, "base")) == 0
