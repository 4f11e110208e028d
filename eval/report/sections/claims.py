"""What the paper says in words or numbers (§4.1 to §5), each beside what the runs on disk say."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from eval.analysis import published
from eval.analysis.components import COMPONENTS, conditional, rates, sensitivity
from eval.analysis.described import compared, share
from eval.display import style as words
from eval.report.page import Page
from eval.report.section import Missing, Section
from eval.report.study import Study
from instructedit.types import Stage

TABLE1, THETA, RATIO, ABLATION = (
    f"python -m scripts.run experiment={name}" for name in ("table1", "theta", "ratio", "ablation")
)
SAME = 5.0
"""Percent points up to which rates are called almost the same."""


@dataclass(frozen=True)
class Answer:
    """What the runs say."""

    ours: str
    holds: bool


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper and how it is looked up."""

    where: str
    says: str
    paper: str
    ask: Callable[[Study], Answer | None]
    """None where what it needs is not on disk."""
    needs: str
    """A command, or why it cannot be measured here."""


def claims(study: Study, page: Page) -> Section:
    """A row a claim: the paper's number, ours, and whether it holds on this benchmark."""
    answered = [(claim, claim.ask(study)) for claim in CLAIMS]
    if not any(answer for _, answer in answered):
        raise Missing(f"none of the paper's claims can be looked up on {study.name}: {TABLE1} makes the runs")
    html = page.render("claims.html", study=study, answered=answered)
    rows = [
        (c.where, c.says, c.paper, a.ours if a else "", "" if a is None else a.holds, "" if a else c.needs)
        for c, a in answered
    ]
    columns = ["where", "claim", "paper", "ours", "holds", "not measured because"]
    csv = pd.DataFrame(rows, columns=columns).to_csv(index=False).encode()
    return Section(f"claims-{study.key}", "What the paper says", html, {f"{study.key}/tables/claims.csv": csv})


def _means(study: Study, metric: str) -> dict[str, float]:
    """By method, of the run that stands for it."""
    found = {}
    for name in study.methods:
        run = study.representative(name)
        if run is not None and (value := _mean(study, run.run_id, metric)) is not None:
            found[name] = value
    return found


def _mean(study: Study, run_id: str, metric: str) -> float | None:
    rows = study.summary
    own = rows[(rows["run_id"] == run_id) & (rows["metric"] == metric)]["mean"].dropna()
    return float(own.iloc[0]) if len(own) else None


def _listed(values: dict[str, float]) -> str:
    places = words.decimals(values.values())
    return ", ".join(f"{words.method_title(k)} {words.number(v, places)}" for k, v in values.items())


def _best(metric: str, sign: int, place: int = 1) -> Callable[[Study], Answer | None]:
    """Whether InstructEdit stands at a place among the methods of Table 1; ``sign`` is 1 where higher is better."""

    def ask(study: Study) -> Answer | None:
        means = {k: v for k, v in _means(study, metric).items() if k in published.TABLE_1}
        if "instructedit" not in means or len(means) < 2:
            return None
        order = sorted(means, key=lambda name: -sign * means[name])
        return Answer(_listed(means), order.index("instructedit") < place)

    return ask


def _published(metric: str) -> str:
    return _listed({name: row[metric] for name, row in published.TABLE_1.items()})


def _masks(study: Study) -> Answer | None:
    own, other = study.representative("instructedit"), study.representative("diffedit")
    if own is None or other is None:
        return None
    ours = _mean(study, own.run_id, "mask_iou")
    theirs = {r.hyperparameter("theta"): _mean(study, r.run_id, "mask_iou") for r in study.family(other, "theta")}
    known = {k: v for k, v in theirs.items() if v is not None}
    if ours is None or len(known) < 2:
        return None
    by_theta = ", ".join(f"{v:.2f} at θ {k}" for k, v in known.items())
    return Answer(f"mean IoU {ours:.2f}; DiffEdit {by_theta}", ours > max(known.values()))


def _locates(study: Study) -> Answer | None:
    means = _means(study, "mask_iou")
    if not {"instructedit", "diffedit"} <= set(means):
        return None
    text = f"mean IoU {means['instructedit']:.2f}, DiffEdit {means['diffedit']:.2f}; the others have no mask"
    return Answer(text, means["instructedit"] > means["diffedit"])


def _overedits(study: Study) -> Answer | None:
    means = _means(study, "lpips_outside") or _means(study, "lpips")
    if not {"instructedit", "instruct_pix2pix"} <= set(means):
        return None
    return Answer(f"{_listed({k: means[k] for k in ('instruct_pix2pix', 'instructedit')})}",
                  means["instruct_pix2pix"] > means["instructedit"])  # fmt: skip


def _grows(metric: str) -> Callable[[Study], Answer | None]:
    def ask(study: Study) -> Answer | None:
        run = study.representative("instructedit")
        runs = study.family(run, "ratio") if run else []
        found = {r.hyperparameter("ratio"): _mean(study, r.run_id, metric) for r in runs}
        known = {k: v for k, v in found.items() if v is not None}
        if len(known) < 2:
            return None
        values = list(known.values())
        text = ", ".join(f"{words.number(v, 3)} at {k}" for k, v in known.items())
        return Answer(text, all(a < b for a, b in zip(values, values[1:], strict=False)))

    return ask


def _inpainting(study: Study) -> Answer | None:
    run = study.representative("instructedit")
    means = _means(study, "lpips")
    known = [v for r in (study.family(run, "ratio") if run else []) if (v := _mean(study, r.run_id, "lpips"))]
    if "sd_inpainting" not in means or not known:
        return None
    text = f"LPIPS {means['sd_inpainting']:.3f}; InstructEdit at most {max(known):.3f} at any ratio"
    return Answer(text, means["sd_inpainting"] > max(known))


def _verdicts(study: Study) -> pd.DataFrame:
    return study.judged


def _rates(study: Study) -> Answer | None:
    found = rates(_verdicts(study))
    if set(found) != set(COMPONENTS):
        return None
    text = ", ".join(f"{c} {100 * found[c].mean:.1f} %" for c in COMPONENTS)
    return Answer(text, found[Stage.LANGUAGE].mean > max(found[Stage.SEGMENTER].mean, found[Stage.EDITOR].mean))


def _paraphrases(study: Study) -> Answer | None:
    table = _verdicts(study)
    groups = [rates(own) for _, own in table.groupby("variation")]
    if len(groups) < 2:
        return None
    spread = {c: 100 * (max(v) - min(v)) for c in COMPONENTS if (v := [g[c].mean for g in groups if c in g])}
    text = ", ".join(f"{c} {s:.1f}" for c, s in spread.items())
    return Answer(f"percent points between paraphrases: {text}", max(spread.values()) <= SAME)


def _when_wrong(condition: str, others: Sequence[str], least: float, most: float) -> Callable[[Study], Answer | None]:
    """Whether the others are right in ``least`` to ``most`` of the cases in which a component is wrong."""

    def ask(study: Study) -> Answer | None:
        table = _verdicts(study)
        if table.empty:
            return None
        found = conditional(table, given=False).set_index(["condition", "component"]).loc[condition].loc[list(others)]
        if not found["n"].min():
            return None
        text = ", ".join(f"{c} right in {100 * r.rate:.0f} % of {int(r.n)}" for c, r in found.iterrows())
        return Answer(text, bool(found["rate"].between(least, most).all()))

    return ask


def _accumulates(study: Study) -> Answer | None:
    """Whether the editor is right more often where the segmenter is."""
    table = _verdicts(study)
    if table.empty:
        return None
    pair = (Stage.SEGMENTER, Stage.EDITOR)
    right, wrong = (conditional(table, given=g).set_index(["condition", "component"]).loc[pair] for g in (True, False))
    if not (right["n"] and wrong["n"]):
        return None
    text = f"editor right in {100 * right['rate']:.0f} % where the segmenter is, in {100 * wrong['rate']:.0f} % else"
    return Answer(text, bool(right["rate"] > wrong["rate"]))


def _sensitive(study: Study) -> Answer | None:
    table = _verdicts(study)
    if table.empty or table["ratio"].nunique() < 2:
        return None
    found = sensitivity(table, ["sample_id", "variation", "described"])
    return Answer(f"{100 * found.mean:.1f} % of {found.n}", found.mean > 0.5) if found else None


def _helped(edits: Sequence[str] | None) -> Callable[[Study], Answer | None]:
    """Whether a description helps more often than it hurts."""

    def ask(study: Study) -> Answer | None:
        found = _verdicts(study)
        is_described = found["described"].astype(bool)
        table = compared(found[~is_described], found[is_described])
        helps, hurts = share(table, "helps", edits), share(table, "hurts", edits)
        if helps is None or hurts is None:
            return None
        text = f"helps in {100 * helps.mean:.1f} %, hurts in {100 * hurts.mean:.1f} % of {helps.n}"
        return Answer(text, helps.mean > hurts.mean)

    return ask


def _never(study: Study) -> None:
    return None


CLAIMS = (
    Claim("Table 1", "keeps most of the input (lowest LPIPS)", _published("lpips"), _best("lpips", -1), TABLE1),
    Claim("Table 1", "highest CLIP score", _published("clip_score"), _best("clip_score", 1), TABLE1),
    Claim(
        "Table 1", "highest directional similarity", _published("clip_directional"),
        _best("clip_directional", 1), TABLE1,
    ),
    Claim("Table 1", "image quality second to MDP (BRISQUE)", _published("brisque"), _best("brisque", -1, 2), TABLE1),
    Claim("§4.2", "finds what is to be edited better than the baselines", "shown", _locates, TABLE1),
    Claim("§4.2", "preferred by people", "72.7, 68.3, 66.2 % over the three baselines", _never, "needs people"),
    Claim("§4.3", "better masks than DiffEdit's at every threshold", "shown, no number", _masks, THETA),
    Claim("§4.4", "BLIP-2 helps where the instruction says little", "shown, no number", _helped(None), ABLATION),
    Claim("§4.5", "a larger ratio changes more (LPIPS)", "shown, no number", _grows("lpips"), RATIO),
    Claim("§4.5", "a larger ratio follows more (directional)", "shown, no number", _grows("clip_directional"), RATIO),
    Claim("§4.5", "inpainting ignores what the mask hides (LPIPS)", "shown, no number", _inpainting, RATIO),
    Claim("§4.6", "InstructPix2Pix over-edits (LPIPS, outside the mask where known)", "shown", _overedits, TABLE1),
    Claim("§4.6", "edits within the region in NeRF scenes too", "shown", _never, "no NeRF pipeline here"),
    Claim("§4.7", "edits videos by their canonical image", "shown", _never, "no video pipeline here"),
    Claim("§5", "the language processor is right most often", "97.3, 71.0, 69.4 %", _rates, ABLATION),
    Claim("§5", "paraphrases change almost nothing", "no number", _paraphrases, ABLATION),
    Claim(
        "§5", "where the language processor fails, all fail", "0 %",
        _when_wrong(Stage.LANGUAGE, (Stage.SEGMENTER, Stage.EDITOR), 0.0, 0.0), ABLATION,
    ),
    Claim("§5", "a component's failure reaches the next one", "Fig. 10", _accumulates, ABLATION),
    Claim(
        "§5", "where the segmenter fails, the editor is often right", "35 %",
        _when_wrong(Stage.SEGMENTER, (Stage.EDITOR,), 0.2, 0.5), ABLATION,
    ),
    Claim("§5", "most right edits need the right ratio", "74.6 %", _sensitive, ABLATION),
    Claim("§5", "BLIP-2 helps when objects are added", "62.5 %", _helped(["add"]), ABLATION),
)  # fmt: skip
"""In the paper's order."""
