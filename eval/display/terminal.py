"""What a terminal shows of finished runs: a table with intervals, the failures, and where everything lies."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.text import Text

from eval.analysis.components import verdicts
from eval.analysis.differences import differences, render_differences, render_published
from eval.analysis.selection import Regret, Rule, regrets, tuned
from eval.analysis.summary import render, summary
from eval.benchmarks.base import Benchmark
from eval.display.component_tables import render_components
from eval.runs.records import ROWS
from eval.runs.runner import RunReport

SHOWN_FAILURES = 8


def distinct(reports: Sequence[RunReport]) -> list[RunReport]:
    """Each run once, in order; of cells that share a run the first, which did the work."""
    runs: dict[str, RunReport] = {}
    for report in reports:
        runs.setdefault(report.run_id, report)
    return list(runs.values())


def show(
    console: Console,
    reports: Sequence[RunReport],
    benchmarks: Sequence[Benchmark],
    results: Path,
    rule: Rule | None = None,
    reference: str = "instructedit",
) -> None:
    """Print one row a run; a run that two cells share is printed once.

    Where several methods ran, the others are compared with the first run of the method ``reference``, and all stand
    beside the paper's numbers. With a ``rule``, what it chooses for each sample is a row more for each method, beside
    that method's first run, and these rows are what is compared.
    """
    runs = distinct(reports)
    if not runs:
        return
    chosen = tuned(runs, rule) if rule else []
    several = len({r.name for r in runs}) > 1
    fixed = [next(r for r in runs if r.name == c.name) for c in chosen] if several and chosen else runs
    _tables(console, [*fixed, *chosen], chosen or fixed, reference if several else None)
    for found in regrets(runs, rule) if rule else []:
        _regret(console, found)
    render_components(console, verdicts(runs, benchmarks))
    _endings(console, runs, len(reports), results)


def _tables(console: Console, runs: Sequence[RunReport], compared: Sequence[RunReport], reference: str | None) -> None:
    """Means of ``runs``; of ``compared``, the differences to the reference and the paper's numbers."""
    frames = [r.metrics for r in runs if len(r.metrics)]
    frame = pd.concat(frames) if frames else pd.DataFrame(columns=list(ROWS))
    counts = pd.DataFrame(
        [(r.run_id, r.label, r.edited, len(r.failures)) for r in runs], columns=["run_id", "label", "edited", "failed"]
    )
    directions = {name: higher for r in runs for name, higher in r.higher_is_better.items()}
    console.print()
    table = summary(frame, counts)
    render(console, table, counts, directions)
    if reference is None:
        return
    ids = [r.run_id for r in compared]
    if base := next((r for r in compared if r.name == reference), None):
        console.print()
        own, of = frame[frame["run_id"].isin(ids)], counts[counts["run_id"].isin(ids)]
        render_differences(console, differences(own, of, base.run_id), base.label)
    console.print()
    render_published(console, table, {r.run_id: r.name for r in compared})


def _regret(console: Console, found: Regret) -> None:
    line = (
        f"{found.name}: editor right in {found.chosen:.1%} of {found.n} samples with the try chosen without truth, "
        f"{found.fixed:.1%} with the best single setting, {found.oracle:.1%} if the verdicts chose: "
        f"regret {found.regret:.1%}"
    )
    console.print(Text(line))


def _endings(console: Console, runs: Sequence[RunReport], cells: int, results: Path) -> None:
    """Failures, and where everything lies."""
    failures = [(r.label, f) for r in runs for f in r.failures]
    for label, failure in failures[:SHOWN_FAILURES]:
        console.print(Text(f"failed: {label}: {failure.id}: {failure.stage}: {failure.message}"))
    if len(failures) > SHOWN_FAILURES:
        console.print(Text(f"... and {len(failures) - SHOWN_FAILURES} more failures; all are in samples.jsonl"))
    for report in runs:
        state = "stopped by fail_on_error" if report.stopped else f"{report.new} new"
        console.print(Text(f"{report.label}: {state}, {results / 'runs' / report.run_id}", style="dim"))
    if len(runs) < cells:
        console.print(Text(f"{cells - len(runs)} cells share a run with another: they differ in no knob it has"))
