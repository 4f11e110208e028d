"""Run a method over a benchmark, or sweep over methods and knobs.

    python -m scripts.run method=instructedit ratio=0.5,0.7,0.9 -m
"""

import sys

from omegaconf import DictConfig
from rich.console import Console

from eval.plan import plan
from eval.runner import RunReport, run
from eval.show import show
from instructedit.models import Context
from scripts.app import OK, SOME_FAILED, is_sweep, launch

REPORTS: list[RunReport] = []


def cell(config: DictConfig) -> int:
    """One run; a cell of a sweep."""
    made, context = plan(config)
    report = run(made, context)
    REPORTS.append(report)
    if not is_sweep():
        show(Console(), [report])
    return SOME_FAILED if report.failures else OK


def main() -> int:
    """Run, then print the table of everything that was run."""
    code = launch(cell, "config")
    if len(REPORTS) > 1 or "-m" in sys.argv or "--multirun" in sys.argv:
        show(Console(), REPORTS)
    return code


if __name__ == "__main__":
    sys.exit(main())
