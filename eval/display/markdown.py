"""Tables of runs in Markdown, for the README and the pages of docs."""

from collections.abc import Mapping, Sequence

import pandas as pd

from eval.display.style import decimals, metric_title

_DIRECTIONS = {True: " (higher)", False: " (lower)", None: ""}


def markdown_table(
    table: pd.DataFrame, counts: pd.DataFrame, higher_is_better: Mapping[str, bool], metrics: Sequence[str]
) -> list[str]:
    """Return the lines of a table with one row per run: n, failures, and each metric as ``0.132 [0.110, 0.155]``.

    Args:
        table: From :func:`eval.analysis.summary.summary`.
        counts: Runs, one row each.
        higher_is_better: Direction of each metric; metrics without one have no mark.
        metrics: Metrics in the order of the columns.
    """
    heads = ["run", "n", "failed", *(metric_title(m) + _DIRECTIONS[higher_is_better.get(m)] for m in metrics)]
    places = {m: decimals(table.loc[table["metric"] == m, "mean"]) for m in metrics}
    numbers = table.set_index(["run_id", "metric"])
    rows = [
        [str(run.label), str(run.edited), str(run.failed)]
        + [_cell(numbers.loc[key], places[m]) if (key := (run.run_id, m)) in numbers.index else "" for m in metrics]
        for run in counts.itertuples(index=False)
    ]
    return [line(heads), line(["---"] * len(heads)), *map(line, rows)]


def line(cells: Sequence[str]) -> str:
    """Return a table's line."""
    # An empty cell has one space, as in tables that are written by hand.
    return "".join(f"| {cell} " if cell else "| " for cell in (c.replace("|", r"\|") for c in cells)) + "|"


def _cell(row: pd.Series, places: int) -> str:
    if pd.isna(row["mean"]):
        return ""
    interval = "" if pd.isna(row["low"]) else f" [{row['low']:.{places}f}, {row['high']:.{places}f}]"
    return f"{row['mean']:.{places}f}{interval}"
