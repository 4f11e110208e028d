"""Figures about instructions and components: descriptions, paraphrases, and failures by component."""

from collections.abc import Mapping

import pandas as pd

from eval.analysis.components import COMPONENTS
from eval.report import figures as pictures
from eval.report.figures import Row
from eval.report.page import Page
from eval.report.section import Missing, Section
from eval.report.sections.grids import grid_section
from eval.report.study import Study
from eval.runs.records import SampleRecord
from eval.runs.run import Run, is_captioners
from instructedit.checks import is_number
from instructedit.types import Sample

ABLATION = "python -m scripts.run experiment=ablation"
OWN = "instructedit"
FAILURES = 2
"""Number of cases of each component in Fig. 11."""


def descriptions(study: Study, page: Page) -> Section:
    """Make Fig. 4: prompts and edits with and without a description of the image."""
    pairs = matched_pairs(study)
    if not pairs:
        raise Missing(f"Fig. 4 needs runs with and without captioner=blip2 on {study.name}: {ABLATION} makes them")
    paraphrase = min(r.variation for r, _ in pairs)
    pairs = [pair for pair in pairs if pair[0].variation == paraphrase]
    alone, described = [p[0] for p in pairs], [p[1] for p in pairs]

    def rows(sample: Sample) -> list[Row]:
        first, second = alone[0].records[sample.id], described[0].records[sample.id]
        upper = f"{first.instruction}\nwithout a description: {_prompts(first)}"
        lower = f'"{second.decisions.description or "no description"}": {_prompts(second)}'
        return [
            Row(upper, (pictures.source(sample), *(pictures.edit(r, sample) for r in alone))),
            Row(lower, (pictures.truth(sample), *(pictures.edit(r, sample) for r in described))),
        ]

    caption = (
        "Upper rows: without a description of the image; lower rows: with BLIP-2's description. Above each row are the "
        "language processor's segmentation prompt, input caption and edited caption. The reference edit is below each "
        "input."
    )
    titles = ("Fig. 4: with and without BLIP-2", "With and without BLIP-2, the other samples")
    heads = ["input / reference", *(f"r = {r.hyperparameter('ratio')}" for r in alone)]
    return grid_section(study, page, "descriptions", titles, caption, heads, rows, [*alone, *described])


def paraphrases(study: Study, page: Page) -> Section:
    """Make Fig. 6: the same edit with paraphrased instructions."""
    families: dict[tuple[object, ...], list[Run]] = {}
    for run in study.of(OWN):
        family = families.setdefault(tuple(sorted((k, str(v)) for k, v in run.hyperparameters.items())), [])
        if run.variation not in [r.variation for r in family]:
            family.append(run)
    largest = max(families.values(), key=lambda family: (len(family), _nearness(study, family[0])), default=[])
    runs = sorted(largest, key=lambda r: r.variation)
    if len(runs) < 2:
        raise Missing(
            f"Fig. 6 needs runs of several paraphrases (variation=1,2,3) on {study.name}: {ABLATION} makes them"
        )

    def rows(sample: Sample) -> list[Row]:
        instructions = [f'"{r.records[sample.id].instruction}"' for r in runs]
        cells = (pictures.source(sample), *(pictures.edit(r, sample) for r in runs), pictures.truth(sample))
        return [Row("", cells, ("", *instructions, ""))]

    heads = ["input", *(f"paraphrase {r.variation}" if r.variation else "instruction" for r in runs), "reference edit"]
    caption = "The same edit with paraphrased instructions, shown below each edit; no model was trained on them."
    titles = ("Fig. 6: variations of the instruction", "Variations of the instruction, the other samples")
    return grid_section(study, page, "paraphrases", titles, caption, heads, rows, runs)


def failures(study: Study, page: Page) -> Section:
    """Make Fig. 11: cases in which a component is wrong and the earlier ones are right."""
    verdicts = study.judged
    if verdicts.empty:
        raise Missing(f"Fig. 11 needs component verdicts on {study.name}: {ABLATION} makes them")
    runs = {r.run_id: r for r in study.runs}
    samples = {s.id: s for s in pictures.chosen(study.benchmark.samples)}
    shown: dict[str, list[tuple[str, Run]]] = {}
    for component, cases in _first_failures(verdicts).items():
        # The cases are of different samples, in the order of all figures.
        first = cases.assign(place=cases["sample_id"].map(list(samples).index)).sort_values("place", kind="stable")
        for row in first.drop_duplicates("sample_id").head(FAILURES).itertuples():
            shown.setdefault(str(row.sample_id), []).append((component, runs[str(row.run_id)]))
    if not shown:
        raise Missing(f"Fig. 11 shows failures, and no component is wrong on {study.name}")

    def rows(sample: Sample) -> list[Row]:
        of_sample = []
        for component, run in shown[sample.id]:
            record = run.records[sample.id]
            cells = (*(f(run, sample) for f in (pictures.mask, pictures.edit)), pictures.truth(sample))
            description = record.decisions.description
            about = f' (described as "{description}")' if description else ""
            head = f"{component} wrong: {record.instruction}{about}\n{_prompts(record)}"
            of_sample.append(Row(head, (pictures.source(sample), *cells)))
        return of_sample

    used = list({run.run_id: run for cases in shown.values() for _, run in cases}.values())
    caption = (
        "The first samples in which one component is wrong and the earlier ones are right. Above each are the "
        "instruction and the language processor's segmentation prompt, input caption and edited caption."
    )
    return grid_section(
        study, page, "failures", ("Fig. 11: failures by component", "Failures by component, more"), caption,
        ["input", "mask", "edit", "reference edit"], rows, used, only=list(shown),
    )  # fmt: skip


def matched_pairs(study: Study) -> list[tuple[Run, Run]]:
    """Return the pairs of InstructEdit's runs that differ only in the description, without and with it, by ratio."""

    def rest(run: Run) -> tuple[object, ...]:
        hyperparameters = {k: v for k, v in run.hyperparameters.items() if not is_captioners(k)}
        return sorted(hyperparameters.items(), key=str), run.variation, run.config.get("seed")

    described = [r for r in study.of(OWN) if r.is_described]
    pairs = [(a, d) for a in study.of(OWN) if not a.is_described for d in described if rest(a) == rest(d)]
    return sorted(pairs, key=lambda pair: (pair[0].variation, _number(pair[0].hyperparameter("ratio"))))


def _first_failures(verdicts: pd.DataFrame) -> Mapping[str, pd.DataFrame]:
    """Return, for each component, the cases in which it is the first that is wrong."""
    right = verdicts[list(COMPONENTS)].astype("boolean").fillna(True)
    cases = {}
    for place, component in enumerate(COMPONENTS):
        earlier_right = right[list(COMPONENTS[:place])].all(axis=1)
        cases[component] = verdicts[earlier_right & ~right[component]]
    return cases


def _prompts(record: SampleRecord) -> str:
    captions = record.decisions.captions
    if captions is None:
        return "no prompts"
    return f"{record.decisions.segmentation_prompt} | {captions.input} | {captions.edited}"


def _nearness(study: Study, run: Run) -> tuple[bool, int]:
    return not run.is_described, sum(run.hyperparameter(k) == v for k, v in study.defaults.items())


def _number(value: object) -> float:
    return float(value) if is_number(value) else 0.0
