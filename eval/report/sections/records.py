"""The provenance of the numbers: metric cards and runs, to which the tables link."""

from eval.report.page import Page
from eval.report.section import Section
from eval.report.study import Study


def cards(study: Study, page: Page) -> Section:
    """List the metric cards: implementation, weights, resize and text of each metric."""
    return Section(f"cards-{study.key}", "Metric cards", page.render("cards.html", study=study))


def runs(study: Study, page: Page) -> Section:
    """List the runs: configuration, checkpoints, device, commit, versions and times."""
    return Section(f"runs-{study.key}", "Runs", page.render("runs.html", study=study))
