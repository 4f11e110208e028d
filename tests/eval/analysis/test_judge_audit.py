"""The agreement of metrics and judges with ground truth, on values whose result is known."""

from typing import Any

import pandas as pd
import pytest

from eval.analysis.agreement import cohens_kappa
from eval.analysis.judge_audit import REFERENCE, UNEDITED, WRONG, audits, threshold_of
from eval.runs.records import ROWS

NAMES = {"r": REFERENCE, "u": UNEDITED, "w": WRONG, "x": "diffedit"}
JUDGE = {"vlm": {"model": "m"}, "direction": "higher", "bounds": [0.0, 10.0]}
LPIPS = {"direction": "lower", "bounds": [0.0, None]}
CARDS: dict[str, dict[str, Any]] = {"viescore": JUDGE, "lpips": LPIPS, "clip": {"direction": "higher"}, "mine": {}}


def frame(metric: str, **values: list[float | None]) -> pd.DataFrame:
    """Return rows of runs; a sample is numbered, and two samples share an image."""
    rows = [
        (run, NAMES[run], f"s{i}", f"i{i // 2}", metric, value, metric, "")
        for run, own in values.items() for i, value in enumerate(own)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(ROWS)).astype({"value": "Float64"})


def test_a_judge_is_compared_with_the_truth_at_the_middle_of_its_range() -> None:
    rows = frame("viescore", r=[9, 8, 4, 6], u=[1, 8, 2, 5], w=[0, 0, 6, None], x=[5, 5, 5, 5])
    (audit,) = audits(rows, NAMES, CARDS)
    assert audit.means == {REFERENCE: 6.75, UNEDITED: 4.0, WRONG: 2.0}
    # Against the unedited pictures: better, equal, better, better. Against the wrong edits: better, better, worse.
    assert audit.preferred[UNEDITED].mean == pytest.approx(3.5 / 4)
    assert audit.preferred[WRONG].mean == pytest.approx(2 / 3)
    assert (audit.preferred[WRONG].n, audit.undefined, audit.threshold) == (3, 1, 5.0)
    # Right: r 9, 8, 6 (4 is missed); u 1, 2 (8 and 5 are called right); w 0, 0 (6 is called right).
    assert audit.accuracy is not None
    assert audit.accuracy.mean == pytest.approx(7 / 11)
    assert audit.kappa == pytest.approx((7 / 11 - (4 * 6 + 7 * 5) / 121) / (1 - (4 * 6 + 7 * 5) / 121))


def test_a_metric_in_the_other_direction_needs_no_threshold() -> None:
    (audit,) = audits(frame("lpips", r=[0.2, 0.1], u=[0.0, 0.0], w=[0.3, 0.4]), NAMES, CARDS)
    assert (audit.preferred[UNEDITED].mean, audit.preferred[WRONG].mean) == (0.0, 1.0)
    assert (audit.threshold, audit.accuracy, audit.kappa) == (None, None, None)


def test_what_cannot_be_audited_is_left_out() -> None:
    assert audits(frame("mine", r=[1], u=[0], w=[0]), NAMES, CARDS) == []  # no direction
    assert audits(frame("clip", r=[1, 2]), NAMES, CARDS) == []  # nothing to compare with
    assert audits(frame("clip", u=[1, 2], w=[1, 2]), NAMES, CARDS) == []
    assert audits(frame("clip", r=[None, None], u=[1, 2], w=[1, 2]), NAMES, CARDS) == []
    both = pd.concat([frame("clip", r=[1], u=[0]), frame("lpips", r=[1], u=[0], w=[1])])
    assert [a.metric for a in audits(both, NAMES, CARDS)] == ["clip", "lpips"]


@pytest.mark.parametrize(
    ("card", "threshold"),
    [
        (JUDGE, 5.0),
        ({"judge": "truth", "direction": "higher", "bounds": [0.0, 1.0]}, 0.5),
        ({"direction": "higher", "bounds": [0.0, 1.0]}, None),
        (JUDGE | {"direction": "lower"}, None),
        (JUDGE | {"bounds": [0.0, None]}, None),
    ],
)
def test_only_a_judge_with_a_range_has_a_threshold(card: dict[str, Any], threshold: float | None) -> None:
    assert threshold_of(card) == threshold


def test_cohens_kappa_on_a_textbook_table() -> None:
    """20 both yes, 5 yes and no, 10 no and yes, 15 both no: observed 0.7, by chance 0.5, so 0.4."""
    first = [True] * 25 + [False] * 25
    second = [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15
    assert cohens_kappa(first, second) == pytest.approx(0.4)
    assert cohens_kappa(first, first) == pytest.approx(1.0)
    assert cohens_kappa(first, [not v for v in first]) == pytest.approx(-1.0)
    assert cohens_kappa(first, [False] * 50) == pytest.approx(0.0)
    assert cohens_kappa([True] * 3, [True] * 3) is None
