"""What a terminal shows of finished runs: a table with intervals, the failures, and where everything lies."""

from collections.abc import Sequence

import pandas as pd
from rich.console import Console
from rich.text import Text

from eval.runner import RunReport
from eval.tables import ROWS, render, summary

SHOWN_FAILURES = 8


def show(console: Console, reports: Sequence[RunReport]) -> None:
    """Print one row a run; a run that two cells share is printed once."""
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
    render(console, summary(frame, counts), counts, directions)
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
