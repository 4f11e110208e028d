"""The user study (paper §4.2 and appendix E.4): how often people preferred the reference to each baseline."""

import pandas as pd

from eval.analysis import published
from eval.analysis.preference import ALL, Preference, analysed, left_share
from eval.analysis.preference import preferences as preferred
from eval.display import people
from eval.display import style as words
from eval.report.latex import latex_table
from eval.report.page import Page
from eval.report.section import Missing, Section
from eval.report.study import Study


def preferences(study: Study, page: Page) -> Section:
    """Make the table of preferences, with the paper's beside it."""
    if study.answers is None:
        raise Missing("")
    if analysed(study.answers).empty:
        raise Missing(f"the user study on {study.name}: all its participants failed the attention checks")
    found = preferred(study.answers)
    html = page.render(
        "preferences.html", study=study, people=people, found=found, published=published.PREFERENCES, all=ALL,
        left=left_share(study.answers),
    )  # fmt: skip
    return Section(f"preferences-{study.key}", "User study", html, _files(study, found))


def _files(study: Study, found: list[Preference]) -> dict[str, bytes]:
    rows = [
        {
            "baseline": p.baseline, "n": p.n, "preferred": p.preferred, "rate": p.rate,
            "low_by_participant": p.by_participant.low, "high_by_participant": p.by_participant.high,
            "low_by_image": p.by_image.low, "high_by_image": p.by_image.high, "p": p.p_value,
            "alpha": p.agreement and p.agreement.alpha, "fleiss_or_cohen_kappa": p.agreement and p.agreement.kappa,
            "paper": published.PREFERENCES.get(p.baseline, float("nan")) / 100,
        }
        for p in found
    ]  # fmt: skip
    lines = [
        [words.method_title(p.baseline), str(p.n), people.percent(p.rate), people.ends(p.by_participant),
         people.ends(p.by_image), words.p_value(p.p_value), people.alpha(p.agreement)]
        for p in found
    ]  # fmt: skip
    heads = ["baseline", "n", "preferred, %", "by participant", "by image", "p", "alpha"]
    caption = f"{people.head(study.answers)} ({study.name})" if study.answers is not None else study.name
    stem = f"{study.key}/tables/preferences"
    tex = latex_table(heads, lines, caption, "tab:preferences", people.NOTE)
    return {f"{stem}.csv": pd.DataFrame(rows).to_csv(index=False).encode(), f"{stem}.tex": tex}
