"""The trade-off between edit and preservation over each swept hyperparameter."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.display import style as words
from eval.report.figures import Drawn
from eval.report.page import Page
from eval.report.section import Missing, Section
from eval.report.sections import grids
from eval.report.study import Study
from eval.runs.run import Run, is_captioners
from instructedit.checks import is_number

PRESERVE, EDIT = "lpips", "clip_directional"
FIRST = ("ratio", "theta")
"""The paper's hyperparameters, which come before the others."""
OTHERS = " Single points are other methods, for comparison."
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
    "axes.edgecolor": "#8b929b", "axes.labelcolor": "#222831", "xtick.color": "#5f6873", "ytick.color": "#5f6873",
    "pdf.fonttype": 42, "legend.frameon": False,
}  # fmt: skip


@dataclass(frozen=True)
class _Point:
    x: float
    y: float
    x_error: tuple[float, float]
    """Distances to the lower and upper end of the interval; zero if a single value gives no interval."""
    y_error: tuple[float, float]
    text: str


def curves(study: Study, page: Page) -> Section:
    """Make a figure per hyperparameter: CLIP directional similarity over LPIPS, with one point per run."""
    if absent := [m for m in (PRESERVE, EDIT) if m not in study.metrics]:
        raise Missing(
            f"edit against preservation needs the metrics {' and '.join(absent)}: {grids.command(study)} metric=paper"
        )
    figures: list[grids.Figure] = []
    files: dict[str, bytes] = {}
    for key in swept(study):
        series = _series(study, key)
        shown = [r for runs in series for r in runs]
        others = [r for n in study.methods if n not in {r.name for r in shown} and (r := study.representative(n))]
        drawn = _draw(study, key, series, others)
        ns = sorted({r.edited for r in (*shown, *others)})
        caption = (
            f"Mean over each run's edits with 95 % {study.interval_title} intervals; points are labelled with "
            f"{words.hyperparameter_title(key)}; up and to the left is better.{OTHERS if others else ''} {_n(ns)}"
        )
        title = f"Edit against preservation over {words.hyperparameter_title(key)}"
        made, data = grids.figure(study, page, f"curve_{key}", title, caption, drawn, [*shown, *others], folded=False)
        figures.append(made)
        files |= data
    if not figures:
        raise Missing(f"no hyperparameter of any method was swept: {grids.command(study)} ratio=0.5,0.7,0.9 -m does")
    html = page.render("figures.html", figures=figures)
    return Section(f"curves-{study.key}", "Edit against preservation", html, files)


def swept(study: Study) -> list[str]:
    """Return the hyperparameters with at least two values in runs that are otherwise equal; the paper's come first."""
    shorts = {path.rpartition(".")[2] for r in study.runs for path, v in r.hyperparameters.items() if is_number(v)}
    keys = {k for k in shorts if _series(study, k)}
    return [*(k for k in FIRST if k in keys), *sorted(keys - set(FIRST))]


def _series(study: Study, key: str) -> list[list[Run]]:
    """Return the groups of at least two runs that differ only in the hyperparameter."""
    groups: list[list[Run]] = []
    for run in study.runs:
        if is_number(run.hyperparameter(key)) and not any(run in runs for runs in groups):
            runs = [r for r in study.family(run, key) if _point(study, r, "") is not None]
            if len(runs) > 1:
                groups.append(runs)
    return groups


def _draw(study: Study, key: str, series: Sequence[Sequence[Run]], others: Sequence[Run]) -> Drawn:
    with matplotlib.rc_context(STYLE):
        # pyplot would keep each figure in memory and select a display backend.
        made = Figure(figsize=(6.4, 4.2 + 0.1 * (len(series) + len(others))), layout="constrained")
        axes = made.add_subplot()
        for place, runs in enumerate(series):
            is_first = place == 0 or runs[0].name != series[place - 1][0].name
            _line(axes, study, key, runs, ":" if runs[0].is_described else "-" if is_first else "--")
        for run in others:
            if point := _point(study, run, ""):
                axes.plot(
                    point.x, point.y, "D", color=words.method_colour(run.name), ms=5, label=words.method_title(run.name)
                )
        axes.set_xlabel("LPIPS to the input, lower keeps more")
        axes.set_ylabel("CLIP directional similarity, higher edits more")
        axes.grid(color="#e7e9ec", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.margins(0.12)
        # The legend is below the axes, so that it covers no point.
        made.legend(loc="outside lower center", ncols=2, fontsize=8)
        png, pdf = io.BytesIO(), io.BytesIO()
        made.savefig(png, format="png", dpi=200)
        made.savefig(pdf, format="pdf", metadata={"CreationDate": None, "ModDate": None})
    width, height = (round(side * 200) for side in made.get_size_inches())
    return Drawn(png.getvalue(), pdf.getvalue(), width, height)


def _line(axes: Axes, study: Study, key: str, runs: Sequence[Run], style: str) -> None:
    points = [p for r in runs if (p := _point(study, r, f"{r.hyperparameter(key)}"))]
    colour, fixed = words.method_colour(runs[0].name), _fixed(study, runs, key)
    x, y = [p.x for p in points], [p.y for p in points]
    x_errors, y_errors = zip(*(p.x_error for p in points), strict=True), zip(*(p.y_error for p in points), strict=True)
    axes.errorbar(
        x, y, xerr=list(x_errors), yerr=list(y_errors), fmt="none", ecolor=colour, elinewidth=1, alpha=0.28
    )  # fmt: skip
    axes.plot(x, y, style, marker="o", color=colour, lw=1.6, ms=5, label=words.method_title(runs[0].name) + fixed)
    for point in points:
        axes.annotate(
            point.text, (point.x, point.y), (6, 6), textcoords="offset points", color=colour, fontsize=9,
            parse_math=False,
        )  # fmt: skip


def _fixed(study: Study, runs: Sequence[Run], key: str) -> str:
    """Return the text that distinguishes a series from the method's other series, such as ``, ratio 0.7``."""
    run = runs[0]
    alike = [r for r in study.of(run.name) if is_number(r.hyperparameter(key))]
    # The captioner's parameters are replaced by the words "with BLIP-2".
    paths = [p for p in run.hyperparameters if p.rpartition(".")[2] != key and not is_captioners(p)]
    apart = [p for p in paths if len({str(r.hyperparameters.get(p)) for r in alike}) > 1]
    parts = [f"{words.hyperparameter_title(p.rpartition('.')[2])} {run.hyperparameters[p]}" for p in apart]
    parts += [f"paraphrase {run.variation}"] if len({r.variation for r in alike}) > 1 and run.variation else []
    parts += ["with BLIP-2"] if run.is_described else []
    return "".join(f", {part}" for part in parts)


def _point(study: Study, run: Run, text: str) -> _Point | None:
    own = study.summary[study.summary["run_id"] == run.run_id].set_index("metric")
    if not {PRESERVE, EDIT} <= set(own["mean"].dropna().index):
        return None
    x, y = own.loc[PRESERVE], own.loc[EDIT]
    return _Point(float(x["mean"]), float(y["mean"]), _error(x), _error(y), text)


def _error(row: "pd.Series[float]") -> tuple[float, float]:
    if pd.isna(row["low"]):
        return 0.0, 0.0
    # Rounding can put the mean slightly outside the interval of a skewed bootstrap distribution.
    return max(0.0, float(row["mean"] - row["low"])), max(0.0, float(row["high"] - row["mean"]))


def _n(ns: Sequence[int]) -> str:
    if len(ns) == 1:
        return f"n = {ns[0]} each."
    return f"n is {ns[0]} to {ns[-1]}: points with different n are means over different samples."
