"""Where every number comes from: the metric cards and the runs, each under the anchor that the tables link."""

from eval.report.page import Page
from eval.report.section import Section
from eval.report.study import Study


def cards(study: Study, page: Page) -> Section:
    """What each metric's values mean: implementation, weights, resize, text."""
    return Section(f"cards-{study.key}", "Metric cards", page.render("cards.html", study=study))


def runs(study: Study, page: Page) -> Section:
    """What each run ran: configuration, checkpoints, device, commit, versions, times."""
    return Section(f"runs-{study.key}", "Runs", page.render("runs.html", study=study))
