"""Seconds by stage and method (paper §4.1), network evaluations and tokens, from the records of the runs."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from eval.analysis.evaluations import evaluations, total
from eval.analysis.usage import to_csv, usages
from eval.display import style as words
from eval.report.latex import latex_table
from eval.report.page import Page
from eval.report.section import Missing, Section
from eval.report.study import Study
from eval.runs.records import EditRecord
from instructedit.types import Stage, Tokens

PAPER: dict[str, float] = {Stage.CAPTIONER: 0.3, Stage.LANGUAGE: 2.0, Stage.SEGMENTER: 8.0, Stage.EDITOR: 10.0}
"""Seconds of an edit on one A100 (paper §4.1); the total of 20 excludes BLIP-2, which is optional."""
PAPER_TOTAL = 20.0
STAGES = (Stage.CAPTIONER, Stage.LANGUAGE, Stage.SEGMENTER, Stage.MASK, Stage.EDITOR)
"""The stages in the order of an edit."""


@dataclass(frozen=True)
class Timing:
    """Mean seconds of a stage."""

    mean: float | None
    """Mean over the samples that computed the stage; None if all read it from the cache."""
    n: int
    cached_mean: float | None
    """Mean over the samples that read some of it from the cache."""
    cached: int

    @property
    def text(self) -> str:
        """The mean over the samples that computed the stage, with unit."""
        return words.seconds(self.mean)

    @property
    def cached_text(self) -> str:
        """The mean over the samples that used the cache, with unit."""
        return words.seconds(self.cached_mean)


def timing(study: Study, page: Page) -> Section:
    """Make the table with one row per method and device, over all runs; cached stages are counted separately."""
    frame = pd.DataFrame(_rows(study), columns=["method", "device", "stage", "seconds", "cached"])
    if frame.empty:
        raise Missing(f"no edit of {study.name} has recorded seconds")
    found = frame["stage"].unique()
    stages = [s for s in (*STAGES, *sorted(set(found) - set(STAGES))) if s in found or s in PAPER]
    groups = {(str(m), str(d)): own for (m, d), own in frame.groupby(["method", "device"], sort=False)}
    cells = {key: {s: _timing(own[own["stage"] == s]) for s in stages} for key, own in groups.items()}
    tokens, counted = usages(study.runs), evaluations(study.runs)
    html = page.render(
        "timing.html", study=study, stages=stages, cells=cells, paper=PAPER, total=PAPER_TOTAL, tokens=tokens,
        evaluations=[*counted, total(counted)] if counted else [],
    )  # fmt: skip
    rows = [[words.method_title(m), d, *(_plain(row[s]) for s in stages)] for (m, d), row in cells.items()]
    rows.append(["paper", "A100", *(f"{PAPER[s]:g}" if s in PAPER else words.NONE for s in stages)])
    caption = f"Mean seconds of each stage on {study.name}, over the samples that computed it"
    tex = latex_table(["method", "device", *stages], rows, caption, "tab:timing", "(paper: section 4.1, other models).")
    long = [
        (m, d, s, t.mean, t.n, t.cached_mean, t.cached, PAPER.get(s))
        for (m, d), row in cells.items() for s, t in row.items() if t is not None
    ]  # fmt: skip
    columns = ["method", "device", "stage", "mean_seconds", "n", "mean_seconds_cached", "n_cached", "paper_seconds"]
    csv = pd.DataFrame(long, columns=columns).to_csv(index=False).encode()
    files = {f"{study.key}/tables/timing.csv": csv, f"{study.key}/tables/timing.tex": tex}
    if counted:
        values = [(e.label, e.requested, e.cached, e.computed) for e in counted]
        frame = pd.DataFrame(values, columns=["run", "nfe_requested", "nfe_cached", "nfe_computed"])
        files[f"{study.key}/tables/evaluations.csv"] = frame.to_csv(index=False).encode()
    if tokens:
        files[f"{study.key}/tables/tokens.csv"] = to_csv(tokens)
    return Section(f"timing-{study.key}", "Seconds by stage", html, files)


def _rows(study: Study) -> Iterator[tuple[str, str, str, float, bool]]:
    for run in study.runs:
        for record in run.records.values():
            if isinstance(record, EditRecord):
                for stage, spent in record.seconds.items():
                    yield run.name, run.device, stage, float(spent), was_cached(record, stage)


def was_cached(record: EditRecord, stage: str) -> bool:
    """Return whether a stage of an edit read its noise predictions or its reply from the cache.

    Of the evaluations, ``mask`` is a stage, and all others (inversion, reconstruction, edit) belong to the editor. The
    language processor records tokens. Other stages record neither.
    """
    if stage == Stage.LANGUAGE:
        return record.tokens == Tokens()
    if stage in record.evaluations:
        return not record.evaluations[stage]
    if stage != Stage.EDITOR:
        return False
    return any(not count for name, count in record.evaluations.items() if name not in record.seconds)


def _timing(rows: pd.DataFrame) -> Timing | None:
    if rows.empty:
        return None
    computed, cached = rows[~rows["cached"]]["seconds"], rows[rows["cached"]]["seconds"]
    return Timing(_mean(computed), len(computed), _mean(cached), len(cached))


def _mean(values: "pd.Series[float]") -> float | None:
    return float(values.mean()) if len(values) else None


def _plain(timing: Timing | None) -> str:
    if timing is None:
        return words.NONE
    return f"{timing.text} (n {timing.n})" if timing.n else f"all {timing.cached} cached"
