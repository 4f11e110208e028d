"""Build the report page from the results folder: select the runs, make the sections, list what is missing."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from eval.analysis.components import Labels, read_labels
from eval.analysis.preference import read_answers
from eval.analysis.provenance import marks
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
    """The settings of a report, from ``conf/report.yaml``."""

    results: Path
    out: Path
    defaults: Mapping[str, Any]
    """Default hyperparameters from ``conf/config.yaml``."""
    sections: Sequence[MakeSection]
    """The sections for each benchmark, in the page's order."""
    runs: str | Sequence[str]
    """``all``, ``latest`` (the last finished of each configuration), or run ids or beginnings of them."""
    benchmark: str | None
    """Name of the benchmark. None selects all; each has its own part of the page."""
    reference: str
    pictures: str | None
    """One of :data:`eval.report.page.PICTURES`. None means linked if ``out`` is in the results folder, else copied."""
    figure_samples: int
    more_samples: int
    samples: int | None
    """Maximum number of samples of each benchmark that are listed with all their edits; None lists all."""
    labels: Path | None
    """A table of human verdicts, see :func:`eval.analysis.components.read_labels`."""
    answers: Path | None
    """A table of a user study's answers, see :func:`eval.analysis.preference.read_answers`."""
    interval: str
    """Interval method for metrics and their differences: one of :data:`eval.analysis.stats.INTERVALS`."""


@dataclass(frozen=True)
class Report:
    """A written report."""

    path: Path
    studies: tuple[Study, ...]
    sections: tuple[Section, ...]
    missing: tuple[str, ...]
    """One line for each part that could not be made, with the reason."""
    marks: tuple[str, ...]
    """One line for each difference in the provenance of the runs, see :func:`eval.analysis.provenance.marks`."""


@dataclass(frozen=True)
class Part:
    """One benchmark's part of the page."""

    study: Study
    sections: tuple[Section, ...]
    missing: tuple[str, ...]
    marks: tuple[str, ...]


def report(request: Request) -> Report:
    """Write ``index.html`` with its tables and figures.

    Raises:
        ConfigError: There are no runs to show, a requested run or benchmark does not exist, or the labels or
            answers are not usable.
    """
    labels = None if request.labels is None else Labels(request.labels.name, read_labels(request.labels))
    answers = None if request.answers is None else read_answers(request.answers)
    runs = selected(request.results, request.runs, request.benchmark)
    all_studies = studies(runs, request.defaults, request.reference, labels, request.interval, answers)
    if not any(study.all_runs for study in all_studies):
        reasons = "; ".join(note for study in all_studies for note in study.notes)
        raise ConfigError(f"no run in {request.results / 'runs'} can be shown: {reasons}")
    unused = _unused_labels(all_studies, labels)
    if answers is not None and all(study.answers is None for study in all_studies):
        raise ConfigError(
            f"answers={request.answers}: no benchmark of the runs shown has all its samples, such as "
            f"{answers['sample_id'].iloc[0]}"
        )
    is_inside = request.out.resolve().is_relative_to(request.results.resolve())
    pictures = request.pictures or (LINKED if is_inside else COPIED)
    names = short_names(request.results, [folder for study in all_studies for folder in study.folders])
    page = Page(request.out, pictures, request.figure_samples, request.more_samples, request.samples, names)
    parts = [_part(study, page, request.sections) for study in all_studies if study.all_runs]
    parts[0] = replace(parts[0], missing=(*unused, *parts[0].missing))
    sections = tuple(section for part in parts for section in part.sections)
    missing = tuple(line for part in parts for line in part.missing)
    head = {"parts": parts, "runs": [r for s in all_studies for r in s.all_runs], "made": now()}
    path = page.write("InstructEdit: results", head, sections)
    return Report(path, tuple(all_studies), sections, missing, tuple(line for part in parts for line in part.marks))


def _part(study: Study, page: Page, sections: Sequence[MakeSection]) -> Part:
    made, missing = [], [*study.notes, *study.mixed_cards]
    for section in sections:
        try:
            made.append(section(study, page))
        except Missing as reason:
            missing.extend(filter(None, [str(reason)]))
    return Part(study, tuple(made), tuple(missing), tuple(marks(study.all_runs)))


def _unused_labels(all_studies: Sequence[Study], labels: Labels | None) -> list[str]:
    """Return one line about the labels that match no sample of the page, or nothing.

    Raises:
        ConfigError: No label matches.
    """
    if labels is None:
        return []
    shown = {(run.run_id, k) for study in all_studies for run in study.runs for k in run.records}
    samples = {k for _, k in shown}
    table = labels.table
    run_ids = [None] * len(table) if "run_id" not in table else table["run_id"]
    unused = [
        str(k) if pd.isna(i) else f"{k} of run {i}"
        for k, i in zip(table["id"], run_ids, strict=True)
        if (k not in samples if pd.isna(i) else (str(i), k) not in shown)
    ]
    if len(unused) == len(table):
        ids = ", ".join(sorted(samples)[:SHOWN_IDS])
        raise ConfigError(
            f"labels: {labels.name} labels no sample of the runs shown, whose ids are {ids}, ...; its column id "
            f"has {', '.join(unused[:SHOWN_IDS])}"
        )
    if not unused:
        return []
    more = ", ..." if len(unused) > SHOWN_IDS else ""
    return [f"{len(unused)} labels in {labels.name} match no sample shown: {', '.join(unused[:SHOWN_IDS])}{more}"]


def selected(results: Path, wanted: str | Sequence[str], benchmark: str | None) -> list[Run]:
    """Return the runs on disk that a request selects, in the order in which they finished.

    Args:
        results: The results folder.
        wanted: See :class:`Request`, ``runs``.
        benchmark: Name of the benchmark; None selects all.

    Raises:
        ConfigError: There are none.
    """
    on_disk = sorted(read_runs(results), key=lambda r: r.finished or "")
    if not on_disk:
        raise ConfigError(f"no runs in {results / 'runs'}; {MAKE_RESULTS} makes some")
    if not isinstance(wanted, str):
        on_disk = _by_id(on_disk, wanted)
    elif wanted not in ("all", "latest"):
        on_disk = _by_id(on_disk, [wanted])
    else:
        # The numbers of an unfinished run still change, so it is shown only if it is requested by its id.
        on_disk = _finished(on_disk, results)
    if wanted == "latest":
        on_disk = list({(r.plain_label, *sorted(settings(r).items())): r for r in on_disk}.values())
    return _of_benchmark(on_disk, benchmark)


def _finished(runs: list[Run], results: Path) -> list[Run]:
    kept = [r for r in runs if r.finished]
    for run in runs:
        if not run.finished:
            log.warning(
                "%s (%s) is not finished and is left out; runs=[%s] shows it", run.label, run.run_id, run.run_id
            )
    if not kept:
        raise ConfigError(f"no run in {results / 'runs'} is finished; repeat the command of a run to continue it")
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
