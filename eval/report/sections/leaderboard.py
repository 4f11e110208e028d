"""The leaderboard: one run per method, on the samples that all methods finished, with what an edit costs."""

from typing import Any

import pandas as pd

from eval.analysis.leaderboard import Cost, Leaderboard, leaderboard
from eval.analysis.stats import Interval
from eval.display import style as words
from eval.report.latex import latex_table
from eval.report.page import Page
from eval.report.section import Missing, Section
from eval.report.sections.table_one import Number, metric_head
from eval.report.study import Study

COSTS = ("NFE", "seconds", "peak GiB")


def table(study: Study, page: Page) -> Section:
    """Make the table of the run that represents each method; the best mean of a column is marked."""
    runs = [run for name in study.methods if (run := study.representative(name))]
    if len(runs) < 2:
        raise Missing
    board = leaderboard(runs, study.numbers, study.metrics, study.interval)
    if not board.shared:
        raise Missing(f"no sample of {study.name} was finished by all of {', '.join(run.label for run in runs)}")
    metrics = [m for m in study.metrics if any(m in row.means for row in board.rows)]
    cells = {(row.run.run_id, m): _number(study, board, row.run.run_id, m) for row in board.rows for m in metrics}
    costs = {row.run.run_id: _cost(row.cost) for row in board.rows}
    html = page.render(
        "leaderboard.html", study=study, board=board, metrics=metrics, cells=cells, costs=costs, heads=COSTS
    )
    heads = ["run", *(metric_head(study, m) for m in metrics), *COSTS]
    ids = {row.run.run_id: row.run.label for row in board.rows}
    lines = [[label, *(_plain(cells[k, m]) for m in metrics), *costs[k]] for k, label in ids.items()]
    caption = f"Methods on the {len(board.shared)} samples of {study.name} that all of them finished"
    folder = f"{study.key}/tables"
    files = {
        f"{folder}/leaderboard.csv": _csv(board, metrics),
        f"{folder}/leaderboard.tex": latex_table(heads, lines, caption, "tab:leaderboard"),
    }
    return Section(f"leaderboard-{study.key}", "Leaderboard", html, files)


def _number(study: Study, board: Leaderboard, run_id: str, metric: str) -> Number | None:
    by_run = {row.run.run_id: row.means[metric] for row in board.rows if metric in row.means}
    if run_id not in by_run:
        return None
    own, means = by_run[run_id], [interval.mean for interval in by_run.values()]
    higher, places = study.higher_is_better(metric), words.decimals(means)
    is_best = higher is not None and len(means) > 1 and own.mean == (max(means) if higher else min(means))
    few = f"n {own.n}" if own.n != len(board.shared) else ""
    note = ", ".join(filter(None, ("best" if is_best else "", few)))
    texts = words.number(own.mean, places), words.interval(own.low, own.high, places)
    return Number(*texts, run_id, study.card_id(metric), note=note)


def _cost(cost: Cost) -> tuple[str, str, str]:
    nfe = words.NONE if cost.evaluations is None else f"{cost.evaluations:.0f}"
    return nfe, words.seconds(cost.seconds), words.number(cost.peak_gib, 1)


def _plain(number: Number | None) -> str:
    if number is None:
        return words.NONE
    return " ".join(filter(None, (number.text, number.interval, f"({number.note})" if number.note else "")))


def _csv(board: Leaderboard, metrics: list[str]) -> bytes:
    lines = []
    for row in board.rows:
        line: dict[str, Any] = {"run_id": row.run.run_id, "method": row.run.name, "label": row.run.label}
        line |= {"shared": len(board.shared), "failed": row.run.failed, **vars(row.cost)}
        for metric in metrics:
            interval: Interval | None = row.means.get(metric)
            line |= {f"{metric}_{key}": getattr(interval, key, None) for key in ("mean", "low", "high", "n")}
        lines.append(line)
    return pd.DataFrame(lines).to_csv(index=False).encode()
