"""Runs against a reference: the differences are those of the pairs, and what has no pair is counted."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from eval.analysis.differences import differences, render_differences, render_published
from eval.analysis.published import TABLE_1
from eval.analysis.stats import holm, paired_difference
from eval.analysis.summary import summary
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


@pytest.mark.parametrize("width", [60, 200])
def test_the_tables_fit_the_terminal_and_hold_the_numbers(width: int) -> None:
    values = {
        name: {metric: [x + k for x in BASE] for k, metric in enumerate(TABLE_1["mdp"])}
        for name in ("instructedit", "mdp")
    }
    rows, counts = frame(values)
    out = io.StringIO()
    console = Console(file=out, width=width)
    render_differences(console, differences(rows, counts, "instructedit"), "instructedit label")
    render_published(console, summary(rows, counts), {"instructedit": "instructedit", "mdp": "mdp", "x": "own"})
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "Difference to instructedit label" in text
    for number in TABLE_1["mdp"].values():
        assert f"{number:.3f}" in text
    assert "0.300" in text  # our mean


def test_the_papers_numbers_need_a_method_of_the_paper() -> None:
    rows, counts = frame({"own": {"lpips": BASE}})
    out = io.StringIO()
    render_published(Console(file=out), summary(rows, counts), {"own": "mine"})
    assert out.getvalue() == ""
