"""From the results folder to the page: which runs go in, which sections they make, what is missing."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from eval.analysis.components import Labels, read_labels
from eval.report.page import COPIED, LINKED, Page, now
from eval.report.section import MakeSection, Missing, Section
from eval.report.study import Study, benchmark_name, studies
from eval.report.text import short_names
from eval.runs.labels import settings
from eval.runs.run import Run, read_runs
from instructedit.types import ConfigError

log = logging.getLogger(__name__)
SHOWN_IDS = 5
MAKE_RESULTS = "python -m scripts.run method=instructedit ratio=0.5,0.7,0.9 -m"


@dataclass(frozen=True)
class Request:
    """What is asked of a report, as ``conf/report.yaml`` sets it."""

    results: Path
    out: Path
    defaults: Mapping[str, Any]
    """Hyperparameters as ``conf/config.yaml`` sets them."""
    sections: Sequence[MakeSection]
    """What the page has of each benchmark, in this order."""
    runs: str | Sequence[str]
    """``all``, ``latest`` (the last finished of each configuration), or run ids or beginnings of them."""
    benchmark: str | None
    """Of which benchmark; None takes all, a part of the page each."""
    reference: str
    pictures: str | None
    """One of :data:`eval.report.page.PICTURES`; None links them inside the results folder and copies them elsewhere."""
    figure_samples: int
    more_samples: int
    samples: int | None
    """Samples of each benchmark that are listed with all their edits, at most; None lists all."""
    labels: Path | None
    """A table of people's verdicts, see :func:`eval.analysis.components.read_labels`."""
    interval: str
    """Of metrics and their differences: one of :data:`eval.analysis.stats.INTERVALS`."""


@dataclass(frozen=True)
class Report:
    """What was made."""

    path: Path
    studies: tuple[Study, ...]
    sections: tuple[Section, ...]
    missing: tuple[str, ...]
    """What could not be made and why, a line each."""


@dataclass(frozen=True)
class Part:
    """One benchmark's part of the page."""

    study: Study
    sections: tuple[Section, ...]
    missing: tuple[str, ...]


def report(request: Request) -> Report:
    """Write ``index.html`` with its tables and figures.

    Raises:
        ConfigError: nothing to show, a run or benchmark is asked for that is not there, or labels cannot be used.
    """
    labels = None if request.labels is None else Labels(request.labels.name, read_labels(request.labels))
    found = studies(_selected(request), request.defaults, request.reference, labels, request.interval)
    if not any(study.runs for study in found):
        reasons = "; ".join(note for study in found for note in study.notes)
        raise ConfigError(f"no run in {request.results / 'runs'} can be shown: {reasons}")
    unused = _unused(found, labels)
    is_inside = request.out.resolve().is_relative_to(request.results.resolve())
    pictures = request.pictures or (LINKED if is_inside else COPIED)
    names = short_names(request.results, [folder for study in found for folder in study.folders])
    page = Page(request.out, pictures, request.figure_samples, request.more_samples, request.samples, names)
    parts = [_part(study, page, request.sections) for study in found if study.runs]
    parts[0] = replace(parts[0], missing=(*unused, *parts[0].missing))
    sections = tuple(section for part in parts for section in part.sections)
    missing = tuple(line for part in parts for line in part.missing)
    head = {"parts": parts, "runs": [r for s in found for r in s.runs], "made": now()}
    path = page.write("InstructEdit: results", head, sections)
    return Report(path, tuple(found), sections, missing)


def _part(study: Study, page: Page, sections: Sequence[MakeSection]) -> Part:
    made, missing = [], [*study.notes, *study.mixed_cards]
    for section in sections:
        try:
            made.append(section(study, page))
        except Missing as reason:
            missing.append(str(reason))
    return Part(study, tuple(made), tuple(missing))


def _unused(found: Sequence[Study], labels: Labels | None) -> list[str]:
    """What labels are of nothing that is shown, in one line; refuses a table of no use at all."""
    if labels is None:
        return []
    shown = {(run.run_id, k) for study in found for run in study.runs for k in run.records}
    samples = {k for _, k in shown}
    table = labels.table
    own = [None] * len(table) if "run_id" not in table else table["run_id"]
    lost = [
        str(k) if pd.isna(i) else f"{k} of run {i}"
        for k, i in zip(table["id"], own, strict=True)
        if (k not in samples if pd.isna(i) else (str(i), k) not in shown)
    ]
    if len(lost) == len(table):
        ids = ", ".join(sorted(samples)[:SHOWN_IDS])
        raise ConfigError(
            f"labels: {labels.name} labels no sample of the runs shown, whose ids are {ids}, ...; its column id "
            f"has {', '.join(lost[:SHOWN_IDS])}"
        )
    if not lost:
        return []
    more = ", ..." if len(lost) > SHOWN_IDS else ""
    return [f"{len(lost)} labels in {labels.name} are of nothing shown: {', '.join(lost[:SHOWN_IDS])}{more}"]


def _selected(request: Request) -> list[Run]:
    """Runs on disk that the request takes, by the time that they finished."""
    on_disk = sorted(read_runs(request.results), key=lambda r: r.finished or "")
    if not on_disk:
        raise ConfigError(f"no runs in {request.results / 'runs'}; {MAKE_RESULTS} makes some")
    wanted = request.runs
    if not isinstance(wanted, str):
        on_disk = _by_id(on_disk, wanted)
    elif wanted not in ("all", "latest"):
        on_disk = _by_id(on_disk, [wanted])
    else:
        # One that still runs would give other numbers a minute later; asked for by its id, it is shown.
        on_disk = _finished(on_disk, request.results)
    if wanted == "latest":
        on_disk = list({(r.plain_label, *sorted(settings(r).items())): r for r in on_disk}.values())
    return _of_benchmark(on_disk, request.benchmark)


def _finished(runs: list[Run], results: Path) -> list[Run]:
    kept = [r for r in runs if r.finished]
    for run in runs:
        if not run.finished:
            log.warning(
                "%s (%s) is not finished and is left out; runs=[%s] shows it", run.label, run.run_id, run.run_id
            )
    if not kept:
        raise ConfigError(f"no run in {results / 'runs'} is finished; the command that began it goes on with it")
    return kept


def _by_id(runs: list[Run], wanted: Sequence[str]) -> list[Run]:
    for start in wanted:
        if not any(r.run_id.startswith(str(start)) for r in runs):
            known = ", ".join(sorted(r.run_id for r in runs))
            raise ConfigError(f"runs={start}: accepted are all, latest, or run ids: {known}")
    return [r for r in runs if r.run_id.startswith(tuple(map(str, wanted)))]


def _of_benchmark(runs: list[Run], name: str | None) -> list[Run]:
    if name is None:
        return runs
    kept = [r for r in runs if benchmark_name(r) == name]
    if not kept:
        accepted = ", ".join(sorted({benchmark_name(r) for r in runs}))
        raise ConfigError(f"benchmark={name}: accepted are those with finished runs: {accepted}")
    return kept
