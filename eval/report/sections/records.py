"""The provenance of the numbers: metric cards and runs, to which the tables link."""

import pandas as pd

from eval.display import style as words
from eval.report.page import Page
from eval.report.section import Section
from eval.report.study import Study

SPREAD = "viescore_spread"
"""The metric of a judge's noise, which the cards of its scores state too."""


def cards(study: Study, page: Page) -> Section:
    """List the metric cards: implementation, weights, resize and text of each metric, and the noise of a judge."""
    html = page.render("cards.html", study=study, judged=SPREAD.partition("_")[0], spread=_spread(study))
    return Section(f"cards-{study.key}", "Metric cards", html)


def _spread(study: Study) -> str:
    """Return the mean standard deviation among the judgements of one edit; empty if edits were judged once."""
    frame = pd.concat([study.frame, study.audit_frame])
    values = pd.to_numeric(frame.loc[frame["metric"] == SPREAD, "value"]).dropna()
    return f"{words.number(float(values.mean()), 2)}, mean over {len(values)} edits of all runs" if len(values) else ""


def runs(study: Study, page: Page) -> Section:
    """List the runs: configuration, checkpoints, device, commit, versions and times."""
    return Section(f"runs-{study.key}", "Runs", page.render("runs.html", study=study))
