"""Terminal tables: means with intervals, differences to a reference, and comparison with the paper's numbers."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from eval.analysis.evaluations import Evaluations, total
from eval.analysis.published import TABLE_1
from eval.display.style import PUBLISHED_PLACES, arrow, decimals, difference_decimals, p_value, two_lines


def render_summary(
    console: Console,
    table: pd.DataFrame,
    counts: pd.DataFrame,
    higher_is_better: Mapping[str, bool],
    title: str | None = None,
) -> None:
    """Print one row per run: samples, failures, and each metric as ``0.132 [0.110, 0.155]``.

    On a narrow console, intervals are printed below the means, and on a narrower one the metrics are split into several
    tables. Without a terminal there are no colours; without Unicode, no arrows and boxes.

    Args:
        console: The console; its width determines the layout.
        table: From :func:`eval.analysis.summary.summary`.
        counts: Runs; each has a row, even if all its samples failed.
        higher_is_better: Direction of each metric; metrics without one have no arrow.
        title: Title above the table.
    """
    metrics = list(dict.fromkeys(table["metric"]))

    def build(metrics: Sequence[str], stacked: bool = True) -> Table:
        return _build(console, table, counts, metrics, higher_is_better, stacked)

    parts = [build(metrics, stacked=False)]
    if not _fits(console, parts[0]):
        parts = split(console, metrics, build)
    if title:
        console.print(Text(title, style="bold"))
    for part in parts:
        console.print(part)
        console.print()
    if legend := _legend(table, counts):
        console.print(Text(legend, style="dim"))


def split(console: Console, metrics: Sequence[str], build: Callable[[Sequence[str]], Table]) -> list[Table]:
    """Return tables with as many metrics as fit the console's width, at least one each."""
    parts: list[Table] = []
    while metrics:
        for size in range(len(metrics), 0, -1):
            part = build(metrics[:size])
            if size == 1 or _fits(console, part):
                parts.append(part)
                metrics = metrics[size:]
                break
    return parts


def _fits(console: Console, table: Table) -> bool:
    unbounded = console.options.update(width=10_000)
    return Measurement.get(console, unbounded, table).maximum <= console.width


def _build(
    console: Console,
    table: pd.DataFrame,
    counts: pd.DataFrame,
    metrics: Sequence[str],
    higher_is_better: Mapping[str, bool],
    stacked: bool,
) -> Table:
    unicode = _unicode(console)
    built = Table(
        box=box.SIMPLE_HEAD if unicode else box.ASCII2,
        show_edge=False,
        pad_edge=False,
        padding=(0, int(not unicode), 0, 1),
    )
    built.add_column("run", overflow="fold")
    built.add_column("n", justify="right", no_wrap=True)
    built.add_column("failed", justify="right", no_wrap=True)
    for metric in metrics:
        heading = metric.replace("_", "\n") if stacked else metric
        built.add_column(_heading(heading, higher_is_better.get(metric), unicode), justify="right", no_wrap=True)
    places = {metric: decimals(table.loc[table["metric"] == metric, "mean"]) for metric in metrics}
    for run in counts.itertuples(index=False):
        cells = [
            _cell(table[(table["run_id"] == run.run_id) & (table["metric"] == metric)], run, places[metric], stacked)
            for metric in metrics
        ]
        failed = Text(str(run.failed), style="bold red" if run.failed else "dim")
        label = two_lines(str(run.label)) if stacked else str(run.label)
        built.add_row(Text(label), str(run.edited), failed, *cells)
    return built


def _cell(rows: pd.DataFrame, run: object, places: int, stacked: bool) -> Text:
    """Return a mean with its interval, and the number of values if the metric is undefined for some edited samples."""
    if not len(rows) or pd.isna(rows["mean"].iloc[0]):
        return Text("-", style="dim")
    row = rows.iloc[0]
    cell = Text(f"{row['mean']:.{places}f}")
    if row["n"] != getattr(run, "edited", row["n"]):
        cell.append(f" ({row['n']})", style="yellow")
    if not pd.isna(row["low"]):
        cell.append("\n" if stacked else " ")
        cell.append(f"[{row['low']:.{places}f}, {row['high']:.{places}f}]", style="dim")
    return cell


def _legend(table: pd.DataFrame, counts: pd.DataFrame) -> str:
    lines = []
    if table["low"].notna().any():
        lines.append("[low, high]: 95 % bootstrap interval of the mean, resampled by whole images.")
    edited = dict(zip(counts["run_id"], counts["edited"], strict=True))
    if any(n != edited[run_id] for run_id, n in zip(table["run_id"], table["n"], strict=True)):
        lines.append("(n): number of values, if the metric is undefined for some edited samples.")
    return " ".join(lines)


def _heading(metric: str, higher: bool | None, unicode: bool) -> Text:
    if higher is None:
        return Text(metric)
    if unicode:
        return Text(f"{metric} {arrow(higher)}")
    return Text(f"{metric} ({'higher' if higher else 'lower'})")


def _unicode(console: Console) -> bool:
    return console.encoding.lower().startswith("utf")


def render_differences(console: Console, table: pd.DataFrame, reference: str) -> None:
    """Print the differences, one run per row: ``+0.013``, its interval, and the corrected p-value."""
    if not len(table):
        return
    console.print(Text(f"Difference to {reference}", style="bold"))

    def build(metrics: Sequence[str]) -> Table:
        built = _table(["run", *(m.replace("_", "\n") for m in metrics)])
        for label, rows in table.groupby("label", sort=False):
            by_metric = rows.set_index("metric")
            cells = [_difference(by_metric.loc[m], places[m]) if m in by_metric.index else Text("-") for m in metrics]
            built.add_row(Text(two_lines(str(label))), *cells)
        return built

    places = {m: difference_decimals(rows["difference"]) for m, rows in table.groupby("metric")}
    for part in split(console, list(dict.fromkeys(table["metric"])), build):
        console.print(part)
        console.print()
    few, many = table["n"].min(), table["n"].max()
    pairs = str(few) if few == many else f"{few} to {many}"
    legend = (
        f"Over the {pairs} samples for which both runs have a value (up to {table['left_out'].max()} left out): mean, "
        f"95 % bootstrap interval, and p-value of a paired permutation test, both by whole images, Holm-corrected over "
        f"{len(table)} tests."
    )
    console.print(Text(legend, style="dim"))


def _difference(row: pd.Series, places: int) -> Text:
    cell = Text(f"{row['difference']:+.{places}f}", style="bold" if row["p_adjusted"] < 0.05 else "")
    if not pd.isna(row["low"]):
        cell.append(f"\n[{row['low']:.{places}f}, {row['high']:.{places}f}]", style="dim")
    cell.append(f"\np {p_value(row['p_adjusted'])}", style="dim")
    return cell


def render_published(console: Console, summary: pd.DataFrame, names: Mapping[str, str]) -> None:
    """Print our means and those of the paper's Table 1, for the methods in it.

    Args:
        console: The console.
        summary: From :func:`eval.analysis.summary.summary`.
        names: Names of the methods by run_id.
    """
    metrics = [m for m in dict.fromkeys(summary["metric"]) if m in TABLE_1["instructedit"]]
    rows = [(run_id, name) for run_id, name in names.items() if name in TABLE_1]
    if not metrics or not rows:
        return
    console.print(Text("Comparison with the paper's Table 1", style="bold"))

    def build(metrics: Sequence[str]) -> Table:
        built = _table(["run", *("\n".join([*m.split("_"), "ours  paper"]) for m in metrics)])
        for run_id, name in rows:
            means = summary[summary["run_id"] == run_id].set_index("metric")["mean"].dropna()
            ours = [f"{means[m]:.{PUBLISHED_PLACES}f}" if m in means.index else "-" for m in metrics]
            pairs = [Text(f"{o}  {TABLE_1[name][m]:.{PUBLISHED_PLACES}f}") for o, m in zip(ours, metrics, strict=True)]
            built.add_row(Text(two_lines(labels[run_id])), *pairs)
        return built

    labels = dict(zip(summary["run_id"], summary["label"], strict=True))
    for part in split(console, metrics, build):
        console.print(part)
        console.print()
    console.print(
        Text(
            "Images and (except with models=sd15) models differ: compare the order of the methods, not the numbers.",
            style="dim",
        )
    )


def _table(columns: list[str]) -> Table:
    built = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for index, column in enumerate(columns):
        built.add_column(column, justify="right" if index else "left", no_wrap=True)
    return built


def render_evaluations(console: Console, rows: Sequence[Evaluations]) -> None:
    """Print the NFE of each run, and their sum; nothing if none is recorded."""
    if not rows:
        return
    table = Table(box=box.SIMPLE_HEAD if _unicode(console) else box.ASCII2, title_justify="left")
    table.add_column("NFE (number of function evaluations)", overflow="fold")
    for head in ("requested", "from the cache", "computed"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in [*rows, total(rows)] if len(rows) > 1 else rows:
        table.add_row(row.label, f"{row.requested:,}", f"{row.cached:,}", f"{row.computed:,}")
    console.print(table)
