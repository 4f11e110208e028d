"""Runs against a reference run, sample by sample, and beside the paper's numbers."""

from collections.abc import Mapping, Sequence

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from eval.analysis.published import TABLE_1
from eval.analysis.stats import DEFAULT, holm, paired_difference
from eval.analysis.summary import split, two_lines

DIFFERENCES = ("run_id", "label", "metric", "difference", "low", "high", "n", "left_out", "p_value", "p_adjusted")


def differences(
    frame: pd.DataFrame, counts: pd.DataFrame, reference: str, seed: int = 0, interval: str = DEFAULT
) -> pd.DataFrame:
    """Mean difference of every other run to the reference, on the samples for which both have a value.

    The bootstrap draws, and the permutation swaps, whole images with all samples of each.

    Args:
        frame: long rows, see :mod:`eval.analysis.summary`.
        counts: runs, in the order of the result.
        reference: run_id of the run that the others are compared with.
        seed: of the bootstrap and of the permutations.
        interval: one of :data:`eval.analysis.stats.INTERVALS`.

    Returns:
        Columns ``run_id, label, metric, difference, low, high, n, left_out, p_value, p_adjusted``: the other run minus
        the reference with its 95 % interval, ``n`` pairs, samples left out because one of the two has no value,
        the two-sided p-value of a paired permutation test, and Holm's adjustment over all rows of the result.
    """
    values = frame.assign(value=pd.to_numeric(frame["value"])).dropna(subset=["value"])
    wide = values.pivot(index="sample_id", columns=["run_id", "metric"], values="value")
    images = dict(zip(frame["sample_id"], frame["image_id"], strict=True))
    rows = []
    for run_id, label in zip(counts["run_id"], counts["label"], strict=True):
        for metric in dict.fromkeys(frame["metric"]):
            if run_id == reference or not {(run_id, metric), (reference, metric)} <= set(wide.columns):
                continue
            either = wide[[(run_id, metric), (reference, metric)]].dropna(how="all").astype(float)
            pairs = either.dropna()
            if len(pairs):
                own, other = pairs[run_id, metric].tolist(), pairs[reference, metric].tolist()
                found = paired_difference(own, other, [images[k] for k in pairs.index], seed=seed, method=interval)
                mean = found.interval
                rows.append(
                    (run_id, label, metric, mean.mean, mean.low, mean.high, mean.n,
                     len(either) - len(pairs), found.p_value)
                )  # fmt: skip
    table = pd.DataFrame(rows, columns=list(DIFFERENCES[:-1]))
    return table.assign(p_adjusted=holm(table["p_value"].tolist()) if len(table) else [])


def render_differences(console: Console, table: pd.DataFrame, reference: str) -> None:
    """Print the differences, a run a row: ``+0.013``, its interval, and the adjusted p-value."""
    if not len(table):
        return
    console.print(Text(f"Difference to {reference}", style="bold"))

    def build(metrics: Sequence[str]) -> Table:
        built = _table(["run", *(m.replace("_", "\n") for m in metrics)])
        for label, own in table.groupby("label", sort=False):
            cells = own.set_index("metric")
            shown = [_difference(cells.loc[m], decimals[m]) if m in cells.index else Text("-") for m in metrics]
            built.add_row(Text(two_lines(str(label))), *shown)
        return built

    decimals = {m: 3 if own["difference"].abs().max() < 1 else 2 for m, own in table.groupby("metric")}
    for part in split(console, list(dict.fromkeys(table["metric"])), build):
        console.print(part)
        console.print()
    few, many = table["n"].min(), table["n"].max()
    pairs = str(few) if few == many else f"{few} to {many}"
    legend = (
        f"Over the {pairs} samples that both runs have a value for (up to {table['left_out'].max()} left out): "
        f"mean, 95 % bootstrap interval, p of a paired permutation test, both by whole images, Holm's correction over "
        f"{len(table)} tests."
    )
    console.print(Text(legend, style="dim"))


def _difference(row: pd.Series, decimals: int) -> Text:
    cell = Text(f"{row['difference']:+.{decimals}f}", style="bold" if row["p_adjusted"] < 0.05 else "")
    if not pd.isna(row["low"]):
        cell.append(f"\n[{row['low']:.{decimals}f}, {row['high']:.{decimals}f}]", style="dim")
    cell.append(f"\np {row['p_adjusted']:.3f}" if row["p_adjusted"] >= 0.001 else "\np <0.001", style="dim")
    return cell


def render_published(console: Console, summary: pd.DataFrame, names: Mapping[str, str]) -> None:
    """Print our means beside the paper's Table 1, for the methods that are in it.

    Args:
        console: where to.
        summary: from :func:`eval.analysis.summary.summary`.
        names: the method's name by run_id.
    """
    metrics = [m for m in dict.fromkeys(summary["metric"]) if m in TABLE_1["instructedit"]]
    rows = [(run_id, name) for run_id, name in names.items() if name in TABLE_1]
    if not metrics or not rows:
        return
    console.print(Text("Beside the paper's Table 1", style="bold"))

    def build(metrics: Sequence[str]) -> Table:
        built = _table(["run", *("\n".join([*m.split("_"), "ours  paper"]) for m in metrics)])
        for run_id, name in rows:
            own = summary[summary["run_id"] == run_id].set_index("metric")["mean"].dropna()
            ours = [f"{own[m]:.3f}" if m in own.index else "-" for m in metrics]
            pairs = [Text(f"{o}  {TABLE_1[name][m]:.3f}") for o, m in zip(ours, metrics, strict=True)]
            built.add_row(Text(two_lines(labels[run_id])), *pairs)
        return built

    labels = dict(zip(summary["run_id"], summary["label"], strict=True))
    for part in split(console, metrics, build):
        console.print(part)
        console.print()
    console.print(
        Text(
            "Other images and, unless models=sd15, other models: compare the order of the methods, never the digits.",
            style="dim",
        )
    )


def _table(columns: list[str]) -> Table:
    built = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for index, column in enumerate(columns):
        built.add_column(column, justify="right" if index else "left", no_wrap=True)
    return built
