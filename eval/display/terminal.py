"""Terminal output for finished runs: tables with intervals, failures, and the runs' folders."""

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from eval.analysis.components import verdicts
from eval.analysis.differences import differences
from eval.analysis.evaluations import evaluations
from eval.analysis.provenance import marks
from eval.analysis.selection import Regret, Rule, regrets, tuned
from eval.analysis.summary import summary
from eval.benchmarks.base import Benchmark
from eval.display.component_tables import render_components
from eval.display.tables import render_differences, render_evaluations, render_published, render_summary
from eval.runs.labels import distinguished
from eval.runs.run import Run, counts_of, frame_of
from eval.runs.runner import Outcome

SHOWN_FAILURES = 8


def distinct(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return each run once, in order; for jobs that share a run, the first one, which computed it."""
    by_id: dict[str, Outcome] = {}
    for outcome in outcomes:
        by_id.setdefault(outcome.run.run_id, outcome)
    return list(by_id.values())


def show(
    console: Console,
    outcomes: Sequence[Outcome],
    benchmarks: Sequence[Benchmark],
    rule: Rule | None = None,
    reference: str = "instructedit",
) -> None:
    """Print one row per run; a run that several jobs share is printed once.

    With several methods, the runs are compared with the first run of the method ``reference`` and with the paper's
    numbers. With a ``rule``, each method has another row with the edits that the rule selects, only the first run of
    each method is printed, and the rows of the rule are compared.
    """
    runs = [o.run for o in distinct(outcomes)]
    if not runs:
        return
    tuned_runs = tuned(runs, rule) if rule else []
    several = len({r.name for r in runs}) > 1
    fixed = [next(r for r in runs if r.name == t.name) for t in tuned_runs] if several and tuned_runs else runs
    _tables(console, [*fixed, *tuned_runs], tuned_runs or fixed, reference if several else None)
    for line in (*marks(runs), *undefined(runs), *without_masks(benchmarks)):
        console.print(Text(line))
    for regret in regrets(runs, rule) if rule else []:
        _print_regret(console, regret)
    render_components(console, verdicts(runs, benchmarks))
    render_evaluations(console, evaluations(runs))
    _endings(console, outcomes)


def _tables(console: Console, runs: Sequence[Run], compared: Sequence[Run], reference: str | None) -> None:
    """Print means of ``runs``, and differences to the reference and the paper's numbers for ``compared``."""
    directions = {name: higher for run in runs for name, higher in run.higher_is_better.items()}
    frame, counts = frame_of(runs), counts_of(runs)
    table = summary(frame, counts)
    console.print()
    render_summary(console, table, counts, directions)
    if reference is None:
        return
    ids = [r.run_id for r in compared]
    if base := next((r for r in compared if r.name == reference), None):
        console.print()
        rows, run_counts = frame[frame["run_id"].isin(ids)], counts[counts["run_id"].isin(ids)]
        render_differences(console, differences(rows, run_counts, base.run_id), base.label)
    console.print()
    render_published(console, table, {r.run_id: r.name for r in compared})


def show_status(console: Console, runs: Sequence[Run]) -> None:
    """Print how many samples of each run are done, running, failed and missing, and their sums."""
    table = Table(box=SIMPLE)
    for name in ("run", "done", "running", "failed", "missing", "last session"):
        table.add_column(name, justify="left" if name in ("run", "last session") else "right", overflow="fold")
    sums = [0, 0, 0, 0]
    for run in distinguished(runs):
        missing = run.missing
        numbers = [run.edited, len(run.running), run.failed, missing or 0]
        sums = [a + b for a, b in zip(sums, numbers, strict=True)]
        shown = [str(n or "-") for n in numbers[:3]] + ["unknown" if missing is None else str(missing or "-")]
        table.add_row(Text(f"{run.label}\n{run.run_id}"), *shown, Text(_last_session(run)))
    table.add_section()
    table.add_row(f"{len(runs)} runs", *map(str, sums))
    console.print(table)


def _last_session(run: Run) -> str:
    if not run.sessions:
        return "none"
    last = run.sessions[-1]
    if last.finished:
        return f"ended {_minute(last.finished)}"
    began = _minute(last.started or "")
    return f"{last.process or 'a process'} since {began}" if run.running else f"interrupted, began {began}"


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")


def undefined(runs: Sequence[Run]) -> Iterator[str]:
    """Yield a line for each metric that is undefined for some edits, with their number and the first reason."""
    frame = frame_of(runs)
    for metric, rows in frame.groupby("metric", sort=False):
        missing = rows[rows["value"].isna()]
        if len(missing):
            first = missing.iloc[0]
            reason = f"{first['label']}, sample {first['sample_id']}: {first['note']}"
            yield f"{metric} is undefined for {len(missing)} of {len(rows)} edits, the first of {reason}"


def without_masks(benchmarks: Sequence[Benchmark]) -> Iterator[str]:
    """Yield a line for each benchmark that has ground-truth masks of some samples only."""
    for benchmark in benchmarks:
        missing = [sample.id for sample in benchmark.samples if sample.truth.mask is None]
        if 0 < len(missing) < len(benchmark.samples):
            yield (
                f"{benchmark.name}: {len(missing)} of {len(benchmark.samples)} samples have no ground-truth mask, such "
                f"as {missing[0]}; metrics of masks and regions leave them out"
            )


def _print_regret(console: Console, regret: Regret) -> None:
    line = (
        f"{regret.name}: editor right in {regret.chosen:.1%} of {regret.n} samples if the rule selects without ground "
        f"truth, {regret.validated:.1%} if its weight is cross-validated, {regret.fixed:.1%} with the best single "
        f"setting, {regret.oracle:.1%} if the verdicts select: "
        f"regret {regret.regret:.1%}"
    )
    console.print(Text(line))


def _endings(console: Console, outcomes: Sequence[Outcome]) -> None:
    """Print failures and the runs' folders."""
    once = distinct(outcomes)
    failures = [(o.run.label, f) for o in once for f in o.run.failures]
    for label, failure in failures[:SHOWN_FAILURES]:
        console.print(Text(f"failed: {label}: {failure.id}: {failure.stage}: {failure.message}"))
    if len(failures) > SHOWN_FAILURES:
        console.print(Text(f"... and {len(failures) - SHOWN_FAILURES} more failures; all are in samples.jsonl"))
    for outcome in once:
        state = _state(outcome)
        console.print(Text(f"{outcome.run.label}: {state}, {outcome.run.store.folder}", style="dim"))
    if more := len(outcomes) - len(once):
        console.print(Text(f"{more} jobs share a run with another: no hyperparameter of the run differs"))


def _state(outcome: Outcome) -> str:
    if outcome.stopped:
        return "stopped by fail_on_error"
    new = "" if outcome.new is None else f"{outcome.new} new"
    if outcome.missing:
        return f"{new + ', ' if new else ''}{outcome.missing} samples missing, which the same command does"
    unscored = "" if outcome.is_scored else "not all edits scored, which the same command does"
    return ", ".join(filter(None, (new, unscored))) or "complete"
