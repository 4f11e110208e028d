"""Component accuracy (paper §5, Fig. 10): rates, the two matrices, and rates by paraphrase, edit kind and ratio."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from eval.analysis import published
from eval.analysis.components import COMPONENTS, TRUTH, VLM, conditional, rates, sensitivity
from eval.analysis.described import OUTCOMES, compared, share
from eval.analysis.stats import Interval
from eval.display import style as words
from eval.report.latex import latex_table
from eval.report.page import Page
from eval.report.section import Missing, Section
from eval.report.study import Study

COMMAND = "python -m scripts.run experiment=ablation"
GROUPS = {"variation": "paraphrase", "edit": "kind of edit", "ratio": "encoding ratio", "described": ""}


@dataclass(frozen=True)
class Group:
    """Rates of a part of the edits."""

    by: str
    value: str
    edits: int
    rates: Mapping[str, Interval]


def accuracy(study: Study, page: Page) -> Section:
    """How often each component is right, who judged, and how one's failure reaches the others."""
    found = study.judged
    if found.empty:
        raise Missing(f"no run on {study.name} has component verdicts; {COMMAND} makes some")
    found = found.assign(described=found["described"].map({True: "with BLIP-2", False: "without BLIP-2"}))
    groups = [Group("all", "all", len(found), rates(found)), *_groups(found)]
    by = " and ".join(found["judge"].unique())
    matrices = {given: conditional(found, given) for given in (True, False)}
    html = page.render(
        "accuracy.html", study=study, by=by, is_by_truth=by == TRUTH, is_by_vlm=by.startswith(VLM),
        components=COMPONENTS, groups=groups, edits=len(found), images=found["image_id"].nunique(),
        cells=_cells(matrices), paper=published.COMPONENTS,
        given_segmenter=published.EDITOR_RIGHT_WHEN_SEGMENTER_WRONG, sensitive=_sensitive(found),
        sensitive_paper=published.RATIO_SENSITIVE, titles=GROUPS, helps=_helps(study.judged),
        helps_paper=published.DESCRIPTION_HELPS_ADDITIONS, outcomes=OUTCOMES,
    )  # fmt: skip
    return Section(f"accuracy-{study.key}", "Component accuracy", html, _files(study, by, groups, matrices))


@dataclass(frozen=True)
class Help:
    """What a description changes for one kind of edit."""

    edit: str
    n: int
    """Samples and paraphrases."""
    shares: Mapping[str, Interval]
    """By outcome."""
    gains: Mapping[str, float]
    """By component: percent points that more edits are right with a description."""


def _helps(found: pd.DataFrame) -> list[Help]:
    """Over all edits, then by kind; empty where not both were run."""
    table = compared(found[~found["described"].astype(bool)], found[found["described"].astype(bool)])
    kinds = ["all", *sorted(table["edit"].unique())] if len(table) else []
    made = []
    for kind in kinds:
        own = table if kind == "all" else table[table["edit"] == kind]
        shares = {o: i for o in OUTCOMES if (i := share(own, o))}
        gains = {c: 100 * float((own[f"{c}_described"] - own[f"{c}_alone"]).mean()) for c in COMPONENTS}
        made.append(Help(kind, len(own), shares, gains))
    return made


def _groups(found: pd.DataFrame) -> list[Group]:
    made = []
    for by in GROUPS:
        parts = list(found.groupby(by, sort=True))
        if len(parts) > 1:
            made += [Group(by, str(value), len(own), rates(own)) for value, own in parts]
    return made


def _cells(matrices: Mapping[bool, pd.DataFrame]) -> dict[tuple[bool, str, str], tuple[str, int]]:
    return {
        (given, row.condition, row.component): (percent(row.rate), row.n)
        for given, matrix in matrices.items()
        for row in matrix.itertuples()
    }


def _sensitive(found: pd.DataFrame) -> Interval | None:
    if found["ratio"].nunique() < 2:
        return None
    return sensitivity(found, ["sample_id", "variation", "described"])


def percent(rate: float | None) -> str:
    """Of a share; a dash where there is none."""
    return words.NONE if rate is None or pd.isna(rate) else f"{100 * rate:.1f}"


def _files(study: Study, by: str, groups: list[Group], matrices: Mapping[bool, pd.DataFrame]) -> dict[str, bytes]:
    rows = [
        (g.by, g.value, c, g.edits, i.mean, i.low, i.high, published.COMPONENTS[c] / 100 if g.by == "all" else None)
        for g in groups for c, i in g.rates.items()
    ]  # fmt: skip
    columns = ["by", "value", "component", "edits", "rate", "low", "high", "paper"]
    both = pd.concat([m.assign(given="right" if g else "wrong") for g, m in matrices.items()])
    lines = [
        [f"{GROUPS.get(g.by, '')} {g.value}".strip(), str(g.edits), *(_short(g.rates.get(c)) for c in COMPONENTS)]
        for g in groups
    ]
    lines.append(["paper", "", *(f"{published.COMPONENTS[c]:.1f}" for c in COMPONENTS)])
    caption = f"Percent of edits on {study.name} in which each component is right, judged by {by}"
    tex = latex_table(
        ["edits", "n", *COMPONENTS], lines, caption, "tab:components", "(paper: section 5, judged by people)."
    )
    stem = f"{study.key}/tables"
    return {
        f"{stem}/components.csv": pd.DataFrame(rows, columns=columns).to_csv(index=False).encode(),
        f"{stem}/component_matrices.csv": both.to_csv(index=False).encode(),
        f"{stem}/components.tex": tex,
    }


def _short(interval: Interval | None) -> str:
    return words.NONE if interval is None else percent(interval.mean)
