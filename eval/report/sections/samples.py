"""The samples with every run's mask, edit, decisions and metric values; a reader can filter them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from eval.display import style as words
from eval.report.figures import chosen
from eval.report.page import Page
from eval.report.section import Missing, Section
from eval.report.study import Study
from eval.runs.records import EditRecord, SampleRecord
from eval.runs.run import Run
from instructedit.types import Sample


@dataclass(frozen=True)
class Value:
    """A metric value of one sample."""

    title: str
    text: str
    card_id: str
    note: str


@dataclass(frozen=True)
class Cell:
    """The outcome of one sample in one run."""

    run: Run
    record: SampleRecord
    image: str | None
    """URL of the edited image; None if the sample failed or the file is missing."""
    mask: str | None
    values: tuple[Value, ...]

    @property
    def is_edited(self) -> bool:
        """Whether the sample was edited."""
        return isinstance(self.record, EditRecord)

    @property
    def decisions(self) -> Mapping[str, Any]:
        """The components' decisions from the record."""
        return asdict(self.record.decisions)


@dataclass(frozen=True)
class Shown:
    """A sample with its outcomes in all runs."""

    sample: Sample
    image: str | None
    truth: str | None
    cells: tuple[Cell, ...]


def samples(study: Study, page: Page) -> Section:
    """List the samples that any run tried, in the benchmark's order.

    If the page limits their number, the samples are chosen evenly from all categories.
    """
    tried = [s for s in study.benchmark.samples if any(s.id in run.records for run in study.runs)]
    if not tried:
        raise Missing(f"no run of {study.name} has samples")
    listed = {s.id for s in chosen(tried)[: page.samples]}
    values = {run.run_id: _values(study, run) for run in study.runs}
    shown = [_shown(study, page, sample, values) for sample in tried if sample.id in listed]
    categories = list(dict.fromkeys(s.sample.category for s in shown if s.sample.category))
    edits = list(dict.fromkeys(s.sample.edit for s in shown if s.sample.edit))
    html = page.render("samples.html", study=study, shown=shown, categories=categories, edits=edits)
    title = "All samples" if len(shown) == len(tried) else f"Samples: {len(shown)} of {len(tried)}"
    return Section(f"samples-{study.key}", title, html)


def _shown(study: Study, page: Page, sample: Sample, values: Mapping[str, Mapping[str, tuple[Value, ...]]]) -> Shown:
    cells = [
        _cell(page, run, sample, values[run.run_id].get(sample.id, ()))
        for run in study.runs
        if sample.id in run.records
    ]
    return Shown(sample, page.picture(sample.image), page.picture(sample.truth.edited), tuple(cells))


def _cell(page: Page, run: Run, sample: Sample, values: tuple[Value, ...]) -> Cell:
    record = run.records[sample.id]
    if not isinstance(record, EditRecord):
        return Cell(run, record, None, None, ())
    mask = None if record.mask_sha256 is None else page.picture(run.store.mask_path(sample.id))
    return Cell(run, record, page.picture(run.store.image_path(sample.id)), mask, values)


def _values(study: Study, run: Run) -> dict[str, tuple[Value, ...]]:
    """Return the metric values by sample; the note of an undefined value states the reason."""
    by_sample: dict[str, tuple[Value, ...]] = {}
    # Verdicts are 0 or 1 and have no mean in the summary; they get no decimals below.
    places = {str(m): words.decimals(means) for m, means in study.summary.groupby("metric")["mean"]}
    for row in study.frame[study.frame["run_id"] == run.run_id].itertuples():
        number = None if pd.isna(row.value) else float(row.value)
        text = words.number(number, places.get(str(row.metric), 0))
        value = Value(words.metric_title(str(row.metric)), text, str(row.card_id), str(row.note or ""))
        by_sample[str(row.sample_id)] = (*by_sample.get(str(row.sample_id), ()), value)
    return by_sample
