"""The paper's claims (§4.1 to §5), each compared with the stored runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import pandas as pd

from eval.analysis import published
from eval.analysis.components import COMPONENTS, conditional, rates, sensitivity
from eval.analysis.described import compared, share
from eval.analysis.preference import analysed, preferences
from eval.analysis.stats import Interval, paired_difference
from eval.display import style as words
from eval.report.page import Page
from eval.report.section import Missing, Section
from eval.report.study import Study
from instructedit.types import Stage

TABLE1, THETA, RATIO, ABLATION, VIDEO, NERF = (
    f"python -m scripts.run experiment={name}" for name in ("table1", "theta", "ratio", "ablation", "video", "nerf")
)
SAME = 5.0
"""Maximum difference in percentage points between rates that count as almost equal."""


@dataclass(frozen=True)
class Answer:
    """The result of the stored runs."""

    ours: str
    holds: bool


@dataclass(frozen=True)
class Claim:
    """A claim of the paper and how it is tested."""

    where: str
    says: str
    paper: str
    ask: Callable[[Study], Answer | None]
    """Tests the claim; returns None if the runs for it are not stored."""
    needs: str
    """The command that makes the runs, or the reason why the claim cannot be tested."""


def claims(study: Study, page: Page) -> Section:
    """Make a table with a row per claim: the paper's number, ours, and whether the claim holds on this benchmark."""
    answered = [(claim, claim.ask(study)) for claim in CLAIMS]
    if not any(answer for _, answer in answered):
        raise Missing(f"none of the paper's claims can be tested on {study.name}: {TABLE1} makes the runs")
    html = page.render("claims.html", study=study, answered=answered)
    rows = [
        (
            c.where,
            c.says,
            c.paper,
            a.ours if a else "",
            "" if a is None else "yes" if a.holds else "no",
            "" if a else c.needs,
        )
        for c, a in answered
    ]
    columns = ["where", "claim", "paper", "ours", "holds", "not measured because"]
    csv = pd.DataFrame(rows, columns=columns).to_csv(index=False).encode()
    return Section(f"claims-{study.key}", "What the paper says", html, {f"{study.key}/tables/claims.csv": csv})


def _means(study: Study, metric: str) -> dict[str, float]:
    """Return a metric's mean of each method's representative run."""
    means = {}
    for name in study.methods:
        run = study.representative(name)
        if run is not None and (mean := _mean(study, run.run_id, metric)) is not None:
            means[name] = mean
    return means


def _mean(study: Study, run_id: str, metric: str) -> float | None:
    rows = study.summary
    means = rows[(rows["run_id"] == run_id) & (rows["metric"] == metric)]["mean"].dropna()
    return float(means.iloc[0]) if len(means) else None


def _listed(values: dict[str, float]) -> str:
    places = words.decimals(values.values())
    return ", ".join(f"{words.method_title(k)} {words.number(v, places)}" for k, v in values.items())


def _best(metric: str, sign: int, place: int = 1) -> Callable[[Study], Answer | None]:
    """Test whether InstructEdit is among the best ``place`` methods of Table 1.

    Args:
        metric: Name of the metric.
        sign: 1 if higher is better, -1 if lower is.
        place: Worst rank with which the claim holds.
    """

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
    instructedit, diffedit = study.representative("instructedit"), study.representative("diffedit")
    if instructedit is None or diffedit is None:
        return None
    ours = _mean(study, instructedit.run_id, "mask_iou")
    theirs = {r.hyperparameter("theta"): _mean(study, r.run_id, "mask_iou") for r in study.family(diffedit, "theta")}
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
        means = {r.hyperparameter("ratio"): _mean(study, r.run_id, metric) for r in runs}
        known = {k: v for k, v in means.items() if v is not None}
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


def _rates(study: Study) -> Answer | None:
    found = rates(study.judged)
    if set(found) != set(COMPONENTS):
        return None
    text = ", ".join(f"{c} {100 * found[c].mean:.1f} %" for c in COMPONENTS)
    return Answer(text, found[Stage.LANGUAGE].mean > max(found[Stage.SEGMENTER].mean, found[Stage.EDITOR].mean))


def _paraphrases(study: Study) -> Answer | None:
    groups = [rates(verdicts) for _, verdicts in study.judged.groupby("variation")]
    if len(groups) < 2:
        return None
    spread = {c: 100 * (max(v) - min(v)) for c in COMPONENTS if (v := [g[c].mean for g in groups if c in g])}
    text = ", ".join(f"{c} {s:.1f}" for c, s in spread.items())
    return Answer(f"percentage points between paraphrases: {text}", max(spread.values()) <= SAME)


def _when_wrong(condition: str, others: Sequence[str], least: float, most: float) -> Callable[[Study], Answer | None]:
    """Test whether the others' accuracy is in [``least``, ``most``] if a component is wrong."""

    def ask(study: Study) -> Answer | None:
        if study.judged.empty:
            return None
        table = conditional(study.judged, given=False).set_index(["condition", "component"])
        wrong = table.loc[condition].loc[list(others)]
        if not wrong["n"].min():
            return None
        text = ", ".join(f"{c} right in {100 * r.rate:.0f} % of {int(r.n)}" for c, r in wrong.iterrows())
        return Answer(text, bool(wrong["rate"].between(least, most).all()))

    return ask


def _accumulates(study: Study) -> Answer | None:
    """Test whether the editor is right more often if the segmenter is right."""
    table = study.judged
    if table.empty:
        return None
    pair = (Stage.SEGMENTER, Stage.EDITOR)
    right, wrong = (conditional(table, given=g).set_index(["condition", "component"]).loc[pair] for g in (True, False))
    if not (right["n"] and wrong["n"]):
        return None
    text = f"editor right in {100 * right['rate']:.0f} % if the segmenter is, else in {100 * wrong['rate']:.0f} %"
    return Answer(text, bool(right["rate"] > wrong["rate"]))


def _sensitive(study: Study) -> Answer | None:
    table = study.judged
    if table.empty or table["ratio"].nunique() < 2:
        return None
    sensitive = sensitivity(table, ["sample_id", "variation", "described"])
    return Answer(f"{100 * sensitive.mean:.1f} % of {sensitive.n}", sensitive.mean > 0.5) if sensitive else None


def _helped(edits: Sequence[str] | None) -> Callable[[Study], Answer | None]:
    """Test whether a description helps more often than it hurts."""

    def ask(study: Study) -> Answer | None:
        is_described = study.judged["described"].astype(bool)
        table = compared(study.judged[~is_described], study.judged[is_described])
        helps, hurts = share(table, "helps", edits), share(table, "hurts", edits)
        if helps is None or hurts is None:
            return None
        text = f"helps in {100 * helps.mean:.1f} %, hurts in {100 * hurts.mean:.1f} % of {helps.n}"
        return Answer(text, helps.mean > hurts.mean)

    return ask


def _carried(study: Study) -> Answer | None:
    """Test whether the carried edit's warp error inside the mask is below per-frame editing's, beyond the interval."""
    frame = study.frame[study.frame["metric"] == "warp_error_inside"]
    values: dict[object, pd.Series] = {}
    for run in study.of(study.reference_run.name if study.reference_run else study.reference):
        rows = frame[frame["run_id"] == run.run_id].dropna(subset=["value"])
        values.setdefault(run.hyperparameter("propagation"), rows.set_index("sample_id")["value"].astype(float))
    if not {"field", "per_frame"} <= set(values):
        return None
    found = _paired(study, values["field"], values["per_frame"])
    if found is None:
        return None
    text = f"warp error inside the mask {found.told('each frame alone', 'clips')}"
    return Answer(text, found.difference.high is not None and found.difference.high < 0)


def _keeps_scene(study: Study) -> Answer | None:
    """Test whether InstructEdit's held-out views are nearer to the reference outside the edit, beyond the interval."""
    frame = study.frame[study.frame["metric"] == "reference_psnr_outside"].dropna(subset=["value"])
    values = {}
    for name in ("instructedit", "instruct_pix2pix"):
        run = study.representative(name)
        rows = frame[frame["run_id"] == run.run_id] if run is not None else frame[:0]
        values[name] = rows.set_index("sample_id")["value"].astype(float)
    found = _paired(study, values["instructedit"], values["instruct_pix2pix"])
    if found is None:
        return None
    text = f"PSNR outside {found.told('InstructPix2Pix', 'scenes')}"
    return Answer(text, found.difference.low is not None and found.difference.low > 0)


@dataclass(frozen=True)
class Paired:
    """Two means on the same samples, and the difference of the first from the second."""

    first: float
    second: float
    difference: Interval

    def told(self, other: str, what: str) -> str:
        """Return all as text, with the name of the second and the plural of a sample."""
        means = f"{words.number(self.first, 1)}, {other} {words.number(self.second, 1)}"
        d = self.difference
        return f"{means}; difference {words.number(d.mean, 1)} {words.interval(d.low, d.high, 1)} on {d.n} {what}"


def _paired(study: Study, first: pd.Series, second: pd.Series) -> Paired | None:
    """Compare values by sample; None if no sample has both."""
    pairs = pd.concat([first, second], axis=1, join="inner")
    if pairs.empty:
        return None
    ours, theirs = pairs.iloc[:, 0].tolist(), pairs.iloc[:, 1].tolist()
    return Paired(fmean(ours), fmean(theirs), paired_difference(ours, theirs, method=study.interval).interval)


def _preferred(study: Study) -> Answer | None:
    """Test whether people prefer InstructEdit to each baseline of the paper, beyond the interval by participant."""
    if study.answers is None or analysed(study.answers).empty:
        return None
    found = [p for p in preferences(study.answers) if p.baseline in published.PREFERENCES]
    if not found:
        return None
    text = ", ".join(f"{100 * p.rate:.1f} % over {words.method_title(p.baseline)}" for p in found)
    return Answer(text, all(p.by_participant.low is not None and p.by_participant.low > 0.5 for p in found))


CLAIMS = (
    Claim("Table 1", "keeps most of the input (lowest LPIPS)", _published("lpips"), _best("lpips", -1), TABLE1),
    Claim("Table 1", "highest CLIP score", _published("clip_score"), _best("clip_score", 1), TABLE1),
    Claim(
        "Table 1", "highest directional similarity", _published("clip_directional"),
        _best("clip_directional", 1), TABLE1,
    ),
    Claim("Table 1", "image quality second to MDP (BRISQUE)", _published("brisque"), _best("brisque", -1, 2), TABLE1),
    Claim("§4.2", "locates the object to edit better than the baselines", "shown", _locates, TABLE1),
    Claim("§4.2", "preferred by people", "72.7, 68.3, 66.2 % over three baselines", _preferred, "needs a user study"),
    Claim("§4.3", "better masks than DiffEdit's at every threshold", "shown, no number", _masks, THETA),
    Claim("§4.4", "BLIP-2 helps if the instruction is ambiguous", "shown, no number", _helped(None), ABLATION),
    Claim("§4.5", "a larger ratio changes more (LPIPS)", "shown, no number", _grows("lpips"), RATIO),
    Claim(
        "§4.5", "a larger ratio follows the instruction more (directional similarity)", "shown, no number",
        _grows("clip_directional"), RATIO,
    ),
    Claim("§4.5", "inpainting ignores the masked content (LPIPS)", "shown, no number", _inpainting, RATIO),
    Claim("§4.6", "InstructPix2Pix over-edits (LPIPS, outside the mask if known)", "shown", _overedits, TABLE1),
    Claim("§4.6", "restricts edits of NeRF scenes to the region", "shown", _keeps_scene, NERF),
    Claim("§4.7", "edits videos through their canonical image", "shown", _carried, VIDEO),
    Claim("§5", "the language processor is right most often", "97.3, 71.0, 69.4 %", _rates, ABLATION),
    Claim("§5", "accuracies are almost equal on all paraphrases", "no number", _paraphrases, ABLATION),
    Claim(
        "§5", "if the language processor fails, all components fail", "0 %",
        _when_wrong(Stage.LANGUAGE, (Stage.SEGMENTER, Stage.EDITOR), 0.0, 0.0), ABLATION,
    ),
    Claim("§5", "errors of a component propagate to the next one", "Fig. 10", _accumulates, ABLATION),
    Claim(
        "§5", "if the segmenter fails, the editor is often right", "35 %",
        _when_wrong(Stage.SEGMENTER, (Stage.EDITOR,), 0.2, 0.5), ABLATION,
    ),
    Claim("§5", "most correct edits fail at another ratio", "74.6 %", _sensitive, ABLATION),
    Claim("§5", "BLIP-2 helps if objects are added", "62.5 %", _helped(["add"]), ABLATION),
)  # fmt: skip
"""The claims in the paper's order."""
