"""Methods of any kind beside each other: quality on the samples that all of them finished, and what an edit costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import pandas as pd

from eval.analysis.stats import DEFAULT, Interval, mean_interval
from eval.runs.records import EditRecord
from eval.runs.run import Run


@dataclass(frozen=True)
class Cost:
    """What an edit of a run takes; None where the run does not record it, as for edits made elsewhere."""

    evaluations: float | None
    """Mean NFE of an edit without a cache."""
    seconds: float | None
    """Mean wall-clock seconds of the edits that used no cached noise predictions."""
    timed: int
    """Number of edits in the mean of the seconds."""
    peak_gib: float | None
    """Peak memory of the session with the highest one."""


@dataclass(frozen=True)
class Standing:
    """One row: a run, its values on the shared samples, and its costs."""

    run: Run
    means: Mapping[str, Interval]
    """By metric, over the shared samples for which all runs have a value."""
    cost: Cost


@dataclass(frozen=True)
class Leaderboard:
    """Runs compared on the samples that all of them finished."""

    rows: tuple[Standing, ...]
    shared: tuple[str, ...]
    """Ids of the samples that all runs finished."""
    left_out: int
    """Number of samples that some run finished, but not all."""


def leaderboard(
    runs: Sequence[Run], frame: pd.DataFrame, metrics: Sequence[str], interval: str = DEFAULT
) -> Leaderboard:
    """Compare runs.

    Args:
        runs: One per method.
        frame: Their metric rows, see :mod:`eval.analysis.summary`.
        metrics: The metrics, in the order of the columns. A metric that some run lacks is compared among the others.
        interval: One of :data:`eval.analysis.stats.INTERVALS`.
    """
    finished = [{k for k, record in run.records.items() if isinstance(record, EditRecord)} for run in runs]
    common, some = set.intersection(*finished), set.union(*finished)
    shared = [k for k in runs[0].records if k in common]
    images = dict(zip(frame["sample_id"], frame["image_id"], strict=True))
    own = frame[frame["sample_id"].isin(shared) & frame["run_id"].isin([run.run_id for run in runs])]
    own = own.assign(value=pd.to_numeric(own["value"]).astype(float))
    means: dict[str, dict[str, Interval]] = {run.run_id: {} for run in runs}
    for metric in metrics:
        rows = own[own["metric"] == metric]
        # A run without any value, such as of mask IoU for a method without masks, takes no sample from the others.
        wide = rows.pivot(index="sample_id", columns="run_id", values="value").dropna(axis=1, how="all").dropna()
        wide = wide.reindex([k for k in shared if k in wide.index])
        for run_id, values in wide.items():
            if len(values):
                clusters = [images[k] for k in values.index]
                means[str(run_id)][metric] = mean_interval(values.tolist(), clusters, method=interval)
    standings = tuple(Standing(run, means[run.run_id], cost_of(run)) for run in runs)
    return Leaderboard(standings, tuple(shared), len(some) - len(shared))


def cost_of(run: Run) -> Cost:
    """Return what an edit of a run takes, over all its edits."""
    edits = [record for record in run.records.values() if isinstance(record, EditRecord)]
    counted = [sum(r.evaluations.values()) + sum(r.cached_evaluations.values()) for r in edits]
    timed = [sum(r.seconds.values()) for r in edits if r.seconds and not any(r.cached_evaluations.values())]
    peaks = [session.peak_gib for session in run.sessions if session.peak_gib is not None]
    is_measured = any(r.seconds for r in edits)
    return Cost(
        fmean(counted) if any(counted) else None,
        fmean(timed) if timed else None,
        len(timed),
        max(peaks) if peaks and is_measured else None,
    )
