"""What a terminal shows of finished runs: a table with intervals, the failures, and where everything lies."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from eval.analysis.components import verdicts
from eval.analysis.differences import differences
from eval.analysis.selection import Regret, Rule, regrets, tuned
from eval.analysis.summary import summary
from eval.benchmarks.base import Benchmark
from eval.display.component_tables import render_components
from eval.display.tables import render_differences, render_published, render_summary
from eval.runs.run import Run, counts_of, frame_of
from eval.runs.runner import Outcome

SHOWN_FAILURES = 8


def distinct(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Each run once, in order; of jobs that share a run the first, which did the work."""
    found: dict[str, Outcome] = {}
    for outcome in outcomes:
        found.setdefault(outcome.run.run_id, outcome)
    return list(found.values())


def show(
    console: Console,
    outcomes: Sequence[Outcome],
    benchmarks: Sequence[Benchmark],
    rule: Rule | None = None,
    reference: str = "instructedit",
) -> None:
    """Print one row a run; a run that two jobs share is printed once.

    Where several methods ran, the others are compared with the first run of the method ``reference``, and all stand
    beside the paper's numbers. With a ``rule``, what it chooses for each sample is a row more for each method, beside
    that method's first run, and these rows are what is compared.
    """
    runs = [o.run for o in distinct(outcomes)]
    if not runs:
        return
    chosen = tuned(runs, rule) if rule else []
    several = len({r.name for r in runs}) > 1
    fixed = [next(r for r in runs if r.name == c.name) for c in chosen] if several and chosen else runs
    _tables(console, [*fixed, *chosen], chosen or fixed, reference if several else None)
    for found in regrets(runs, rule) if rule else []:
        _regret(console, found)
    render_components(console, verdicts(runs, benchmarks))
    _endings(console, outcomes)


def _tables(console: Console, runs: Sequence[Run], compared: Sequence[Run], reference: str | None) -> None:
    """Means of ``runs``; of ``compared``, the differences to the reference and the paper's numbers."""
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


def _endings(console: Console, outcomes: Sequence[Outcome]) -> None:
    """Failures, and where everything lies."""
    once = distinct(outcomes)
    failures = [(o.run.label, f) for o in once for f in o.run.failures]
    for label, failure in failures[:SHOWN_FAILURES]:
        console.print(Text(f"failed: {label}: {failure.id}: {failure.stage}: {failure.message}"))
    if len(failures) > SHOWN_FAILURES:
        console.print(Text(f"... and {len(failures) - SHOWN_FAILURES} more failures; all are in samples.jsonl"))
    for outcome in once:
        state = "stopped by fail_on_error" if outcome.stopped else f"{outcome.new} new"
        console.print(Text(f"{outcome.run.label}: {state}, {outcome.run.store.folder}", style="dim"))
    if more := len(outcomes) - len(once):
        console.print(Text(f"{more} jobs share a run with another: they differ in no hyperparameter it has"))
