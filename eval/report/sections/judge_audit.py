"""Judges and metrics against edits that are known to be right or wrong."""

import pandas as pd

from eval.analysis.judge_audit import KINDS, REFERENCE, UNEDITED, WRONG, Audit, audits
from eval.analysis.stats import Interval
from eval.display import style as words
from eval.report.latex import latex_table
from eval.report.page import Page
from eval.report.section import Missing, Section
from eval.report.sections.accuracy import percent
from eval.report.study import Study

COMMAND = "python -m scripts.run experiment=judge_audit"
HEADS = ("metric", *KINDS.values(), "preferred to unedited (%)", "preferred to wrong (%)", "accuracy (%)", "kappa")


def judge_audit(study: Study, page: Page) -> Section:
    """Make the table of agreement with ground truth, one row per metric."""
    names = {run.run_id: run.name for run in study.audit_runs}
    if not names:
        raise Missing
    if len(set(names.values())) < len(names):
        raise Missing(f"several runs on {study.name} have the same kind of audited edits; runs=latest selects one each")
    rows = audits(study.audit_frame, names, study.cards)
    if not rows:
        raise Missing(f"{study.name} has no values on reference edits and on others; {COMMAND} computes them")
    table = [
        [
            words.metric_title(a.metric), *(_mean(a, kind) for kind in KINDS),
            *(_share(a.preferred.get(kind)) for kind in (UNEDITED, WRONG)), _share(a.accuracy),
            words.number(a.kappa, 2),
        ]
        for a in rows
    ]  # fmt: skip
    html = page.render(
        "judge_audit.html", study=study, rows=list(zip(rows, table, strict=True)), kinds=KINDS,
        command=COMMAND,
    )  # fmt: skip
    caption = f"Agreement of metrics and judges with ground truth on {study.name}"
    folder = f"{study.key}/tables"
    files = {
        f"{folder}/judge_audit.csv": _csv(rows),
        f"{folder}/judge_audit.tex": latex_table(list(HEADS), table, caption, "tab:judge-audit"),
    }
    return Section(f"judge-audit-{study.key}", "Judges against ground truth", html, files)


def _mean(audit: Audit, kind: str) -> str:
    return words.number(audit.means.get(kind), words.decimals(audit.means.values()))


def _share(interval: Interval | None) -> str:
    if interval is None:
        return words.NONE
    bounds = "" if interval.low is None else f" [{percent(interval.low)}, {percent(interval.high)}]"
    return f"{percent(interval.mean)}{bounds}"


def _csv(rows: list[Audit]) -> bytes:
    lines = []
    for a in rows:
        line = {"metric": a.metric, "undefined": a.undefined, "threshold": a.threshold, "kappa": a.kappa}
        line |= {f"mean_{kind}": a.means.get(kind) for kind in (REFERENCE, UNEDITED, WRONG)}
        parts = {**{f"preferred_to_{k}": a.preferred.get(k) for k in (UNEDITED, WRONG)}, "accuracy": a.accuracy}
        for name, interval in parts.items():
            line |= {f"{name}_{key}": getattr(interval, key, None) for key in ("mean", "low", "high", "n")}
        lines.append(line)
    return pd.DataFrame(lines).to_csv(index=False).encode()
