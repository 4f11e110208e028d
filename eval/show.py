"""What a terminal shows of finished runs: a table with intervals, the failures, and where everything lies."""

from collections.abc import Sequence

import pandas as pd
from rich.console import Console
from rich.text import Text

from eval.compare import differences, render_differences, render_published
from eval.runner import RunReport
from eval.tables import ROWS, render, summary

SHOWN_FAILURES = 8


def show(console: Console, reports: Sequence[RunReport], reference: str = "instructedit") -> None:
    """Print one row a run; a run that two cells share is printed once.

    Where several methods ran, the others are compared with the first run of the method ``reference``, and all stand
    beside the paper's numbers.
    """
    runs = list({r.run_id: r for r in reports}.values())
    if not runs:
        return
    frames = [r.metrics for r in runs if len(r.metrics)]
    frame = pd.concat(frames) if frames else pd.DataFrame(columns=list(ROWS))
    counts = pd.DataFrame(
        [(r.run_id, r.label, r.edited, len(r.failures)) for r in runs], columns=["run_id", "label", "edited", "failed"]
    )
    directions = {name: higher for r in runs for name, higher in r.higher_is_better.items()}
    console.print()
    table = summary(frame, counts)
    render(console, table, counts, directions)
    names = {r.run_id: r.name for r in runs}
    if len(set(names.values())) > 1:
        if base := next((r for r in runs if r.name == reference), None):
            console.print()
            render_differences(console, differences(frame, counts, base.run_id), base.label)
        console.print()
        render_published(console, table, names)
    failures = [(r.label, f) for r in runs for f in r.failures]
    for label, failure in failures[:SHOWN_FAILURES]:
        console.print(Text(f"failed: {label}: {failure.id}: {failure.stage}: {failure.message}"))
    if len(failures) > SHOWN_FAILURES:
        console.print(Text(f"... and {len(failures) - SHOWN_FAILURES} more failures; all are in samples.jsonl"))
    for report in runs:
        state = "stopped by fail_on_error" if report.stopped else f"{report.new} new"
        console.print(Text(f"{report.label}: {state}, results/runs/{report.run_id}", style="dim"))
    if len(runs) < len(reports):
        console.print(Text(f"{len(reports) - len(runs)} cells share a run with another: they differ in no knob it has"))
