"""How far a judge agrees with ground truth, from its values on edits that are known to be right or wrong.

The runs of ``experiment=judge_audit`` are reference edits, unedited pictures, and edits of the same pictures that the
instruction does not ask for. A metric of any kind can be audited: the share of samples in which it prefers the
reference edit needs no threshold. A judge with a range is also compared with the truth at the middle of the range, by
accuracy and Cohen's kappa.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from eval.analysis.agreement import cohens_kappa
from eval.analysis.stats import Interval, mean_interval
from eval.runs.run import Run, direction_of

PREFIX = "audit_"
"""Prefix of the names of the runs."""
REFERENCE, UNEDITED, WRONG = f"{PREFIX}edited", f"{PREFIX}images", f"{PREFIX}wrong"
KINDS = {REFERENCE: "reference edits", UNEDITED: "unedited pictures", WRONG: "wrong edits"}
"""Titles by name; the first are right, the others wrong."""


def is_audited(run: Run) -> bool:
    """Return whether a run has edits whose truth is known."""
    return run.name in KINDS


@dataclass(frozen=True)
class Audit:
    """The agreement of one metric with ground truth."""

    metric: str
    card_id: str
    higher_is_better: bool
    means: Mapping[str, float]
    """Mean value by kind."""
    preferred: Mapping[str, Interval]
    """Share of the samples in which the reference edit has the better value, by the kind it is compared with; a tie
    counts one half."""
    undefined: int
    """Number of edits without a value."""
    threshold: float | None
    """Values from here on mean that the edit is right; None for a metric that is no judge."""
    accuracy: Interval | None
    """Share of the edits of all kinds that are judged as the truth has it; None without a threshold."""
    kappa: float | None
    """Cohen's kappa of judge and truth; None without a threshold, or if the judge says the same of all edits and the
    agreement by chance is complete."""


def audits(frame: pd.DataFrame, names: Mapping[str, str], cards: Mapping[str, Mapping[str, Any]]) -> list[Audit]:
    """Return the agreement of each metric with a direction, in the order of the frame.

    Args:
        frame: Long rows, see :mod:`eval.analysis.summary`; one run per kind.
        names: Name of each run by its id.
        cards: Metric cards by id.

    Returns:
        Metrics that have values on reference edits and on at least one other kind.
    """
    kinds = frame.assign(kind=frame["run_id"].map(names)).query("kind in @KINDS")
    found = []
    for metric, rows in kinds.groupby("metric", sort=False):
        card = cards.get(str(rows["card_id"].iloc[0]), {})
        if (higher := direction_of(card)) is not None and (audit := _audit(str(metric), rows, card, higher)):
            found.append(audit)
    return found


def _audit(metric: str, rows: pd.DataFrame, card: Mapping[str, Any], higher_is_better: bool) -> Audit | None:
    values = rows.assign(value=pd.to_numeric(rows["value"]).astype(float))
    scored = values.dropna(subset=["value"])
    wide = scored.pivot(index="sample_id", columns="kind", values="value")
    if REFERENCE not in wide or wide.shape[1] < 2:
        return None
    images = dict(zip(rows["sample_id"], rows["image_id"], strict=True))
    sign = 1 if higher_is_better else -1
    preferred = {}
    for kind in (UNEDITED, WRONG):
        if kind in wide and len(pairs := wide[[REFERENCE, kind]].dropna()):
            gain = sign * (pairs[REFERENCE] - pairs[kind])
            shares = (gain > 0).astype(float) + (gain == 0) / 2
            preferred[kind] = mean_interval(shares.tolist(), [images[k] for k in pairs.index])
    threshold = threshold_of(card)
    accuracy, kappa = None, None
    if threshold is not None:
        is_right = (scored["kind"] == REFERENCE).tolist()
        says_right = (scored["value"] >= threshold).tolist()
        agrees = [float(a == b) for a, b in zip(is_right, says_right, strict=True)]
        accuracy, kappa = mean_interval(agrees, scored["image_id"].tolist()), cohens_kappa(is_right, says_right)
    means = {str(kind): float(column.mean()) for kind, column in wide.items()}
    undefined, card_id = len(values) - len(scored), str(rows["card_id"].iloc[0])
    return Audit(metric, card_id, higher_is_better, means, preferred, undefined, threshold, accuracy, kappa)


def threshold_of(card: Mapping[str, Any]) -> float | None:
    """Return the middle of a judge's range; None if the metric is no judge, or its range has no end."""
    low, high = card.get("bounds", (None, None))
    is_judge = ("judge" in card or "vlm" in card) and card.get("direction") == "higher"
    return (low + high) / 2 if is_judge and low is not None and high is not None else None
