"""From rows of metric values to the table that a terminal shows.

The long frame has one row per run, sample and metric: ``run_id, label, sample_id, image_id, metric, value, card_id,
note``, the ``value`` null where the metric is undefined. Samples of one ``image_id`` are not independent. The counts
have one row per run: ``run_id, label, edited, failed``.
"""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from eval.analysis.stats import DEFAULT, mean_interval
from eval.runs.records import COUNTS, ROWS
from instructedit.types import ConfigError

SUMMARY = ("run_id", "label", "metric", "mean", "low", "high", "n", "undefined", "card_id")


def summary(frame: pd.DataFrame, counts: pd.DataFrame, seed: int = 0, interval: str = DEFAULT) -> pd.DataFrame:
    """Mean and 95 % interval of each metric in each run, in the order of ``counts`` and of first appearance.

    The bootstrap draws whole images, with all samples of each.

    Args:
        frame: long rows, see the module.
        counts: runs; those without a row in ``frame`` have none here either.
        seed: of the bootstrap.
        interval: one of :data:`eval.analysis.stats.INTERVALS`.

    Returns:
        Columns ``run_id, label, metric, mean, low, high, n, undefined, card_id``: ``n`` values, ``undefined`` rows
        without one. A bound is null where one value gives none; the mean too, where there is no value.

    Raises:
        ConfigError: rows of one metric were made by different cards, a sample is counted twice, or a run is unknown.
    """
    _require(frame, ROWS, "metric rows")
    _require(counts, COUNTS, "counts")
    check(frame, counts)
    metrics = list(dict.fromkeys(frame["metric"]))
    rows = []
    for run_id, label in zip(counts["run_id"], counts["label"], strict=True):
        for metric in metrics:
            own = frame[(frame["run_id"] == run_id) & (frame["metric"] == metric)]
            scored = own.dropna(subset=["value"])
            values = pd.to_numeric(scored["value"]).astype(float).tolist()
            if len(own):
                found: tuple[float | None, ...] = (None, None, None)
                if values:
                    of = mean_interval(values, scored["image_id"].tolist(), seed=seed, method=interval)
                    found = (of.mean, of.low, of.high)
                card_id = own["card_id"].iloc[0]
                rows.append((run_id, label, metric, *found, len(values), len(own) - len(values), card_id))
    table = pd.DataFrame(rows, columns=list(SUMMARY))
    return table.astype({"mean": float, "low": float, "high": float})


def on_images(frame: pd.DataFrame, images: Mapping[str, str]) -> pd.DataFrame:
    """Long rows with the ``image_id`` of a benchmark as it is now, where it has the sample."""
    found = [images.get(k, own) for k, own in zip(frame["sample_id"], frame["image_id"], strict=True)]
    return frame.assign(image_id=found)


def check(frame: pd.DataFrame, counts: pd.DataFrame) -> None:
    """Refuse rows whose mean would mean nothing."""
    for metric, cards in frame.groupby("metric", sort=False)["card_id"]:
        if len(ids := list(dict.fromkeys(cards.dropna()))) > 1:
            raise ConfigError(f"metric {metric}: rows of {len(ids)} cards ({', '.join(ids)}) do not share one scale")
    twice = frame[frame.duplicated(["run_id", "sample_id", "metric"])]
    if len(twice):
        run_id, sample_id, metric = twice[["run_id", "sample_id", "metric"]].iloc[0]
        raise ConfigError(f"metric {metric}: sample {sample_id} of run {run_id} has more than one row")
    if unknown := sorted(set(frame["run_id"]) - set(counts["run_id"])):
        raise ConfigError(f"metric rows of runs without counts: {', '.join(unknown)}")


def render(
    console: Console,
    table: pd.DataFrame,
    counts: pd.DataFrame,
    higher_is_better: Mapping[str, bool],
    title: str | None = None,
) -> None:
    """Print one row a run: samples, failures, then each metric as ``0.132 [0.110, 0.155]``.

    The interval moves under its mean where the console is narrow, and the metrics go to several tables where it is
    narrower still. Without a terminal there is no colour; without Unicode no arrow and no box.

    Args:
        console: where to; its width decides the layout.
        table: from :func:`summary`.
        counts: runs, each a row even if all its samples failed.
        higher_is_better: direction of each metric; one that is missing has no arrow.
        title: printed above.
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
    """Tables of as many metrics each as the console is wide for, at least one."""
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
    decimals = {metric: _decimals(table.loc[table["metric"] == metric, "mean"]) for metric in metrics}
    for run in counts.itertuples(index=False):
        cells = [
            _cell(table[(table["run_id"] == run.run_id) & (table["metric"] == metric)], run, decimals[metric], stacked)
            for metric in metrics
        ]
        failed = Text(str(run.failed), style="bold red" if run.failed else "dim")
        label = two_lines(str(run.label)) if stacked else str(run.label)
        built.add_row(Text(label), str(run.edited), failed, *cells)
    return built


def _cell(found: pd.DataFrame, run: object, decimals: int, stacked: bool) -> Text:
    """A mean and its interval; the number of values too, where the metric is undefined for some edited samples."""
    if not len(found) or pd.isna(found["mean"].iloc[0]):
        return Text("-", style="dim")
    row = found.iloc[0]
    cell = Text(f"{row['mean']:.{decimals}f}")
    if row["n"] != getattr(run, "edited", row["n"]):
        cell.append(f" ({row['n']})", style="yellow")
    if not pd.isna(row["low"]):
        cell.append("\n" if stacked else " ")
        cell.append(f"[{row['low']:.{decimals}f}, {row['high']:.{decimals}f}]", style="dim")
    return cell


def _legend(table: pd.DataFrame, counts: pd.DataFrame) -> str:
    lines = []
    if table["low"].notna().any():
        lines.append("[low, high]: 95 % bootstrap interval of the mean, which draws whole images.")
    edited = dict(zip(counts["run_id"], counts["edited"], strict=True))
    if any(n != edited[run_id] for run_id, n in zip(table["run_id"], table["n"], strict=True)):
        lines.append("(n): values, where the metric is undefined for some edited samples.")
    return " ".join(lines)


def two_lines(label: str) -> str:
    """Break a label between words so that it is as narrow as two lines allow."""
    words = label.split()
    breaks = [(" ".join(words[:at]), " ".join(words[at:])) for at in range(1, len(words))]
    return "\n".join(min(breaks, key=lambda lines: max(map(len, lines)), default=(label,)))


def _heading(metric: str, higher: bool | None, unicode: bool) -> Text:
    if higher is None:
        return Text(metric)
    if unicode:
        return Text(f"{metric} {'↑' if higher else '↓'}")
    return Text(f"{metric} ({'higher' if higher else 'lower'})")


def _decimals(means: "pd.Series[float]") -> int:
    """Three decimals under 10, as the paper prints them, fewer above: more would be noise."""
    largest = means.abs().max()
    return 3 if pd.isna(largest) or largest < 10 else 2 if largest < 100 else 1


def _unicode(console: Console) -> bool:
    return console.encoding.lower().startswith("utf")


def _require(frame: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    if missing := [column for column in columns if column not in frame.columns]:
        raise ConfigError(f"{what} lack the columns {', '.join(missing)}")
