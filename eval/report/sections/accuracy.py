"""Component accuracy (paper §5, Fig. 10): rates, conditional rates, and rates by paraphrase, edit type and ratio."""

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
GROUPS = {"variation": "paraphrase", "edit": "edit type", "ratio": "encoding ratio", "described": ""}


@dataclass(frozen=True)
class Group:
    """Component accuracy on a subset of the edits."""

    by: str
    value: str
    edits: int
    rates: Mapping[str, Interval]


def accuracy(study: Study, page: Page) -> Section:
    """Make the tables of component accuracy, name the judge, and show how accuracies depend on each other."""
    verdicts = study.judged
    if verdicts.empty:
        raise Missing(f"no run on {study.name} has component verdicts; {COMMAND} computes them")
    verdicts = verdicts.assign(described=verdicts["described"].map({True: "with BLIP-2", False: "without BLIP-2"}))
    groups = [Group("all", "all", len(verdicts), rates(verdicts)), *_groups(verdicts)]
    by = " and ".join(verdicts["judge"].unique())
    matrices = {given: conditional(verdicts, given) for given in (True, False)}
    helps = _helps(study.judged)
    html = page.render(
        "accuracy.html", study=study, by=by, is_by_truth=by == TRUTH, is_by_vlm=by.startswith(VLM),
        components=COMPONENTS, groups=groups, edits=len(verdicts), images=verdicts["image_id"].nunique(),
        cells=_cells(matrices), paper=published.COMPONENTS,
        given_segmenter=published.EDITOR_RIGHT_WHEN_SEGMENTER_WRONG, sensitive=_sensitive(verdicts),
        sensitive_paper=published.RATIO_SENSITIVE, titles=GROUPS, helps=helps,
        helps_paper=published.DESCRIPTION_HELPS_ADDITIONS, outcomes=OUTCOMES,
        agreements=study.labels.agreements(study.benchmark.images) if study.labels else {},
    )  # fmt: skip
    return Section(f"accuracy-{study.key}", "Component accuracy", html, _files(study, by, groups, matrices, helps))


@dataclass(frozen=True)
class Help:
    """The effect of image descriptions on one edit type."""

    edit: str
    n: int
    """Number of pairs of a sample and a paraphrase."""
    shares: Mapping[str, Interval]
    """Share of the pairs by outcome."""
    gains: Mapping[str, float]
    """Gain in accuracy with a description by component, in percentage points."""


def _helps(verdicts: pd.DataFrame) -> list[Help]:
    """Return the effect on all edits, then by edit type; empty unless edits with and without descriptions exist."""
    is_described = verdicts["described"].astype(bool)
    table = compared(verdicts[~is_described], verdicts[is_described])
    edit_types = ["all", *sorted(table["edit"].unique())] if len(table) else []
    effects = []
    for edit in edit_types:
        pairs = table if edit == "all" else table[table["edit"] == edit]
        shares = {o: i for o in OUTCOMES if (i := share(pairs, o))}
        gains = {c: 100 * float((pairs[f"{c}_described"] - pairs[f"{c}_alone"]).mean()) for c in COMPONENTS}
        effects.append(Help(edit, len(pairs), shares, gains))
    return effects


def _groups(verdicts: pd.DataFrame) -> list[Group]:
    groups = []
    for by in GROUPS:
        parts = list(verdicts.groupby(by, sort=True))
        if len(parts) > 1:
            groups += [Group(by, str(value), len(part), rates(part)) for value, part in parts]
    return groups


def _cells(matrices: Mapping[bool, pd.DataFrame]) -> dict[tuple[bool, str, str], tuple[str, int]]:
    return {
        (given, row.condition, row.component): (percent(row.rate), row.n)
        for given, matrix in matrices.items()
        for row in matrix.itertuples()
    }


def _sensitive(verdicts: pd.DataFrame) -> Interval | None:
    if verdicts["ratio"].nunique() < 2:
        return None
    return sensitivity(verdicts, ["sample_id", "variation", "described"])


def percent(rate: float | None) -> str:
    """Format a share in percent; a dash for None."""
    return words.NONE if rate is None or pd.isna(rate) else f"{100 * rate:.1f}"


def _files(
    study: Study, by: str, groups: list[Group], matrices: Mapping[bool, pd.DataFrame], helps: list[Help]
) -> dict[str, bytes]:
    rows = [
        (g.by, g.value, c, g.edits, i.mean, i.low, i.high, published.COMPONENTS[c] / 100 if g.by == "all" else None)
        for g in groups for c, i in g.rates.items()
    ]  # fmt: skip
    columns = ["by", "value", "component", "edits", "rate", "low", "high", "paper"]
    conditional_rates = pd.concat([m.assign(given="right" if g else "wrong") for g, m in matrices.items()])
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
    described = [
        {"edit": h.edit, "n": h.n}
        | {outcome: interval.mean for outcome, interval in h.shares.items()}
        | {f"{component}_gain": gain / 100 for component, gain in h.gains.items()}
        for h in helps
    ]
    made = {f"{stem}/descriptions.csv": pd.DataFrame(described).to_csv(index=False).encode()} if described else {}
    return made | {
        f"{stem}/components.csv": pd.DataFrame(rows, columns=columns).to_csv(index=False).encode(),
        f"{stem}/component_matrices.csv": conditional_rates.to_csv(index=False).encode(),
        f"{stem}/components.tex": tex,
    }


def _short(interval: Interval | None) -> str:
    return words.NONE if interval is None else percent(interval.mean)
