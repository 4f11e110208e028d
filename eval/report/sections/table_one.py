"""Table 1: all runs and metrics beside the paper's numbers, and paired differences to the reference run."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from eval.analysis.differences import differences
from eval.analysis.published import TABLE_1
from eval.display import style as words
from eval.report.latex import latex_table
from eval.report.page import Page
from eval.report.section import Missing, Section
from eval.report.study import Study
from eval.runs.run import Run

NOT_COMPARABLE = (
    "The images differ from the paper's, and so do the models unless a run's checkpoints say otherwise: compare the "
    "order of the methods, not the values."
)


@dataclass(frozen=True)
class Number:
    """A number in a table cell, its run and card, and its place between the extremes of its column."""

    text: str
    interval: str
    run_id: str
    card_id: str
    place: tuple[float, float, float] | None = None
    """Low, mean and high in percent of the column's range; None without an interval."""
    note: str = ""
    verdict: str = ""
    """``better`` or ``worse`` if a difference is significant, else empty."""


def table_one(study: Study, page: Page) -> Section:
    """Make the table of means with 95 % intervals, n and failures."""
    if study.summary.empty:
        raise Missing(f"no run of {study.name} has metrics; scripts.run without metric=none computes them")
    cells = {(r.run_id, m): _number(study, r, m) for r in study.runs for m in study.metrics}
    html = page.render("table_one.html", study=study, cells=cells, paper=TABLE_1, not_comparable=NOT_COMPARABLE)
    folder = f"{study.key}/tables"
    files = {
        f"{folder}/table_1.csv": _csv(_long(study)),
        f"{folder}/table_1.tex": _latex(study, cells),
    }
    return Section(f"table-1-{study.key}", "Table 1: methods and metrics", html, files)


def table_differences(study: Study, page: Page) -> Section:
    """Make the table of paired differences to the reference run, see :func:`eval.analysis.differences.differences`."""
    base = study.reference_run
    if base is None:
        accepted = ", ".join(study.methods) or "no method"
        raise Missing(f"there is no run of reference={study.reference} to compare with; there are runs of {accepted}")
    table = differences(study.numbers, study.counts, base.run_id, interval=study.interval)
    if table.empty:
        raise Missing(f"no other run shares a scored sample with {base.label}")
    places = {m: words.decimals(own["difference"].abs()) for m, own in table.groupby("metric")}
    cells = {(r.run_id, r.metric): _difference(study, r, places[r.metric]) for r in table.itertuples()}
    runs = [r for r in study.runs if any(r.run_id == key[0] for key in cells)]
    pairs = {r.run_id: _pairs(table[table["run_id"] == r.run_id]) for r in runs}
    html = page.render(
        "differences.html", study=study, base=base, cells=cells, runs=runs, pairs=pairs, tests=len(table)
    )
    rows = [
        [r.label, pairs[r.run_id], *(_plain(cells.get((r.run_id, m)), with_note=True) for m in study.metrics)]
        for r in runs
    ]
    caption = (
        f"Difference to {base.label} on {study.name}: mean, 95 % {study.interval_title} interval, "
        "p of a paired permutation test"
    )
    heads = ["run", "pairs", *(metric_head(study, m) for m in study.metrics)]
    note = f"(Holm's correction over {len(table)} tests)."
    folder = f"{study.key}/tables"
    files = {
        f"{folder}/differences.csv": _csv(table.assign(reference=base.run_id)),
        f"{folder}/differences.tex": latex_table(heads, rows, caption, "tab:differences", note),
    }
    return Section(f"differences-{study.key}", "Paired differences", html, files)


def _number(study: Study, run: Run, metric: str) -> Number | None:
    own = study.summary[study.summary["metric"] == metric]
    found = own[own["run_id"] == run.run_id]
    if not len(found) or pd.isna(found["mean"].iloc[0]):
        return None
    row, places = found.iloc[0], words.decimals(own["mean"])
    left = min(own["mean"].min(), own["low"].min())
    span = max(own["mean"].max(), own["high"].max()) - left
    place = None
    if span > 0 and not pd.isna(row["low"]):
        low, mean, high = (round(100 * float((row[k] - left) / span), 1) for k in ("low", "mean", "high"))
        place = (low, mean, high)
    few = f"n {row['n']}" if row["n"] != run.edited else ""
    return Number(
        words.number(row["mean"], places), words.interval(row["low"], row["high"], places),
        run.run_id, str(row["card_id"]), place, few,
    )  # fmt: skip


def _difference(study: Study, row: object, places: int) -> Number:
    value, adjusted, metric = float(row.difference), float(row.p_adjusted), str(row.metric)  # type: ignore[attr-defined]
    higher, verdict = study.higher_is_better(metric), ""
    if adjusted < 0.05 and higher is not None:
        verdict = "better" if (value > 0) == higher else "worse"
    return Number(
        words.number(value, places, sign=True),
        words.interval(row.low, row.high, places),  # type: ignore[attr-defined]
        str(row.run_id),  # type: ignore[attr-defined]
        study.card_id(metric),
        note=f"p {words.p_value(adjusted)}",
        verdict=verdict,
    )


def _pairs(rows: pd.DataFrame) -> str:
    few, many = int(rows["n"].min()), int(rows["n"].max())
    return str(few) if few == many else f"{few}–{many}"


def _long(study: Study) -> pd.DataFrame:
    """Return the table with one row per run and metric, in full precision."""
    names = {r.run_id: r.name for r in study.runs}
    failed = {r.run_id: r.failed for r in study.runs}
    methods = study.summary["run_id"].map(names)
    paper = [TABLE_1.get(n, {}).get(m) for n, m in zip(methods, study.summary["metric"], strict=True)]
    found = study.summary.assign(
        method=methods, failed=study.summary["run_id"].map(failed), samples=study.whole, paper=paper
    )
    columns = ["run_id", "method", "label", "metric", "mean", "low", "high", "n", "undefined", "failed", "samples"]
    return found[[*columns, "card_id", "paper"]]


def _latex(study: Study, cells: dict[tuple[str, str], Number | None]) -> bytes:
    heads = ["run", "n", "failed", *(metric_head(study, m) for m in study.metrics)]
    rows: list[Sequence[str]] = []
    for method in study.methods:
        for run in study.of(method):
            own = [_plain(cells[run.run_id, m]) for m in study.metrics]
            rows.append([run.label, str(run.edited), str(run.failed), *own])
        if method in TABLE_1:
            published = [TABLE_1[method].get(m) for m in study.metrics]
            title = f"{words.method_title(method)}, paper"
            rows.append([title, "30", words.NONE, *(words.number(v, 3) for v in published)])
    caption = (
        f"Means with 95 % {study.interval_title} bootstrap intervals on {study.name} ({study.whole} samples), "
        "and the paper's means."
    )
    return latex_table(heads, rows, caption, "tab:table-1", NOT_COMPARABLE)


def metric_head(study: Study, metric: str) -> str:
    """Return a metric's title with an arrow in the direction of better values."""
    return f"{words.metric_title(metric)} {words.arrow(study.higher_is_better(metric))}".strip()


def _plain(number: Number | None, with_note: bool = False) -> str:
    if number is None:
        return words.NONE
    return " ".join(filter(None, (number.text, number.interval, f"({number.note})" if with_note else "")))


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False).encode()
