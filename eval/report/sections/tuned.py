"""Fixed and tuned hyperparameters (paper D.2): the choices of sweeps with ``tuning``, made without ground truth."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import pandas as pd

from eval.analysis.differences import differences
from eval.analysis.selection import Choice, Regret, regrets, remembered, tuned
from eval.analysis.summary import summary
from eval.display import style as words
from eval.report.latex import latex_table
from eval.report.page import Page
from eval.report.section import Missing, Section
from eval.report.study import Study
from eval.runs.run import VALUES, Run, counts_of, frame_of

TUNED = "python -m scripts.run experiment=table1_tuned"
AUTO = "python -m scripts.run experiment=ratio_auto"


@dataclass(frozen=True)
class Line:
    """A table row: one setting for all samples, or the setting that the rule selected for each sample."""

    method: str
    setting: str
    run: Run | None
    """None for the selected settings, which come from several runs."""
    n: int
    failed: int
    cells: dict[str, tuple[str, str, str]]
    """By metric: mean, interval, and p-value of the difference to InstructEdit's row of the same kind."""


@dataclass(frozen=True)
class Block:
    """The choice of one sweep."""

    choice: Choice
    tries: int
    """Minimum number of settings of a method."""
    lines: tuple[Line, ...]
    regrets: tuple[Regret, ...]


def tuning(study: Study, page: Page) -> Section:
    """Make a table for each sweep with ``tuning`` on this benchmark."""
    runs = {r.run_id: r for r in study.runs}
    results = {r.store.root for r in study.runs}
    choices = [c for root in sorted(results) for c in remembered(root) if c.runs and set(c.runs) <= set(runs)]
    if not choices:
        raise Missing(f"no sweep on {study.name} had tuning: {TUNED} and {AUTO} have it")
    blocks = [_block(study, choice, [runs[k] for k in choice.runs]) for choice in choices]
    html = page.render("tuned.html", study=study, blocks=blocks)
    files: dict[str, bytes] = {}
    for number, block in enumerate(blocks, 1):
        stem = f"{study.key}/tables/tuned" + (f"_{number}" if number > 1 else "")
        files |= {f"{stem}.csv": _csv(study, block), f"{stem}.tex": _latex(study, block)}
        if block.regrets:
            files[f"{stem}_regret.csv"] = pd.DataFrame([asdict(r) for r in block.regrets]).to_csv(index=False).encode()
    return Section(f"tuned-{study.key}", "Fixed and tuned", html, files)


def _block(study: Study, choice: Choice, runs: Sequence[Run]) -> Block:
    tries = [_comparable(study, run) for run in runs]
    chosen = tuned(tries, choice.rule)
    fixed = [next(r for r in tries if r.name == c.name) for c in chosen]
    lines: list[Line] = []
    for pair in zip(_lines(study, fixed), _lines(study, chosen), strict=True):
        lines += pair
    fewest = min(sum(r.name == c.name for r in tries) for c in chosen) if chosen else 0
    return Block(choice, fewest, tuple(lines), tuple(regrets(tries, choice.rule)))


def _comparable(study: Study, run: Run) -> Run:
    """Return a run with the values that the study shows, which have one card per metric."""
    return replace(run, values=study.frame[study.frame["run_id"] == run.run_id][list(VALUES)])


def _lines(study: Study, runs: Sequence[Run]) -> list[Line]:
    frame, counts = frame_of(runs), counts_of(runs)
    frame = frame[frame["metric"].isin(study.metrics)]
    means = summary(frame, counts, interval=study.interval).set_index(["run_id", "metric"])
    reference = next((r for r in runs if r.name == study.reference), None)
    against = pd.DataFrame()
    if reference and len(runs) > 1:
        against = differences(frame, counts, reference.run_id, interval=study.interval)
    adjusted = against.set_index(["run_id", "metric"])["p_adjusted"].to_dict() if len(against) else {}
    lines = []
    for run in runs:
        cells = {}
        for metric in study.metrics:
            if (run.run_id, metric) not in means.index or pd.isna(means.loc[(run.run_id, metric), "mean"]):
                continue
            row = means.loc[(run.run_id, metric)]
            places = words.decimals(means.xs(metric, level="metric")["mean"])
            p = adjusted.get((run.run_id, metric))
            cells[metric] = (
                words.number(row["mean"], places),
                words.interval(row["low"], row["high"], places),
                "" if p is None else f"p {words.p_value(p)}",
            )
        setting = run.label.replace(f"{run.name} ", "", 1)
        lines.append(Line(run.name, setting, None if run.stored_in is None else run, run.edited, run.failed, cells))
    return lines


def _csv(study: Study, block: Block) -> bytes:
    rows = [
        (line.method, line.setting, "fixed" if line.run else "tuned", line.n, line.failed, metric, *cell)
        for line in block.lines for metric, cell in line.cells.items()
    ]  # fmt: skip
    columns = ["method", "setting", "kind", "n", "failed", "metric", "mean", "interval", "p"]
    return pd.DataFrame(rows, columns=columns).to_csv(index=False).encode()


def _latex(study: Study, block: Block) -> bytes:
    heads = ["method", "setting", "n", *(words.metric_title(m) for m in study.metrics)]
    rows = [
        [words.method_title(x.method), x.setting, str(x.n),
         *(" ".join(filter(None, x.cells.get(m, (words.NONE, "", "")))) for m in study.metrics)]
        for x in block.lines
    ]  # fmt: skip
    caption = f"One setting for all samples, and the best of {block.tries} settings by one rule, on {study.name}"
    return latex_table(heads, rows, caption, "tab:tuned", f"(rule: {block.choice.rule.text}).")
