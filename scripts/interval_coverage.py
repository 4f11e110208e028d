"""Estimate the coverage of the tables' 95 % intervals, for 30 values of a normal and of a skewed distribution.

python -m scripts.interval_coverage
"""

import sys

from rich.console import Console
from rich.table import Table

from eval.analysis.coverage import DISTRIBUTIONS, coverage
from eval.analysis.stats import INTERVALS
from scripts.app import OK

VALUES, EXPERIMENTS = 30, 10_000


def main(experiments: int = EXPERIMENTS) -> int:
    """Print a row for each distribution and interval."""
    table = Table("distribution", "interval", "covers", "below", "above", "median width")
    for distribution in DISTRIBUTIONS:
        for method, title in INTERVALS.items():
            result = coverage(distribution, method, VALUES, experiments)
            cells = (f"{value:.3f}" for value in (result.covered, result.below, result.above, result.width))
            table.add_row(distribution, title, *cells)
    console = Console()
    console.print(table)
    console.print(f"{experiments} experiments of {VALUES} values each; nominal coverage 0.95")
    return OK


if __name__ == "__main__":
    sys.exit(main())
