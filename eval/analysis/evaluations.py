"""NFE (number of function evaluations) of runs: requested, served from the stage cache, and computed."""

from collections.abc import Sequence
from dataclasses import dataclass

from eval.runs.records import EditRecord
from eval.runs.run import Run


@dataclass(frozen=True)
class Evaluations:
    """Number of function evaluations (NFE) of a run, counted when each of its edits was made."""

    label: str
    computed: int
    cached: int
    """Those that the cache saved: of inversions, masks and edits that were finished before."""

    @property
    def requested(self) -> int:
        """Those that the run takes without a cache."""
        return self.computed + self.cached


def evaluations(runs: Sequence[Run]) -> list[Evaluations]:
    """Return one row per run that has recorded evaluations."""
    rows = []
    for run in runs:
        records = [r for r in run.records.values() if isinstance(r, EditRecord)]
        computed = sum(sum(r.evaluations.values()) for r in records)
        cached = sum(sum(r.cached_evaluations.values()) for r in records)
        if computed or cached:
            rows.append(Evaluations(run.label, computed, cached))
    return rows


def total(rows: Sequence[Evaluations]) -> Evaluations:
    """Return the sum of all rows."""
    return Evaluations("all runs", sum(r.computed for r in rows), sum(r.cached for r in rows))
