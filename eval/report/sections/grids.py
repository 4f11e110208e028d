"""The paper's qualitative figures: masks by threshold, methods side by side, and the encoding ratio."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eval.display import style as words
from eval.report import figures as pictures
from eval.report.figures import Row
from eval.report.page import Page
from eval.report.section import Missing, Section
from eval.report.study import Study
from eval.runs.run import Run
from instructedit.types import Sample


@dataclass(frozen=True)
class Figure:
    """A drawn figure as its template needs it."""

    name: str
    title: str
    caption: str
    png: str
    """Address beside the page."""
    pdf: str
    width: int
    height: int
    runs: tuple[Run, ...]
    is_folded: bool = False
    """Shown on demand only: the appendix's."""


def masks(study: Study, page: Page) -> Section:
    """Fig. 3 and 18: DiffEdit's masks by theta beside InstructEdit's, the edit below each mask."""
    own = _need(study, "instructedit", "experiment=theta")
    diffedit = study.family(_need(study, "diffedit", "experiment=theta"), "theta")
    heads = [*(f"DiffEdit θ={r.hyperparameter('theta')}" for r in diffedit), "InstructEdit"]
    runs = (*diffedit, own)

    def rows(sample: Sample) -> list[Row]:
        return [
            Row(sample.instruction, (pictures.source(sample), *(pictures.mask(r, sample) for r in runs))),
            Row("", (pictures.truth(sample), *(pictures.edit(r, sample) for r in runs))),
        ]

    caption = (
        "Masks in red over the input, and the edit below each; IoU is against the true mask. DiffEdit is driven by two "
        "captions and a threshold θ, InstructEdit by the instruction alone. Below each input stands the true edit."
    )
    titles = ("Fig. 3: masks by threshold", "Fig. 18: masks, the other samples")
    return grid_section(study, page, "masks", titles, caption, ["input / truth", *heads], rows, runs)


def methods(study: Study, page: Page) -> Section:
    """Fig. 5, 16 and 17: one run of each method side by side."""
    order = sorted(study.methods, key=lambda name: name == "instructedit")
    runs = [r for name in order if (r := study.representative(name)) is not None]
    if len(runs) < 2:
        raise Missing(
            f"Fig. 5 compares methods, and there are runs of {order[0]} only: {command(study)} experiment=table1"
        )

    def rows(sample: Sample) -> list[Row]:
        edits = (pictures.edit(r, sample) for r in runs)
        return [Row(sample.instruction, (pictures.source(sample), *edits, pictures.truth(sample)))]

    heads = ["input", *(words.method_title(r.name) for r in runs), "true edit"]
    caption = "One run stands for each method: the one with most samples, its hyperparameters nearest to the defaults."
    titles = ("Fig. 5: methods side by side", "Figs. 16 and 17: methods, the other samples")
    return grid_section(study, page, "methods", titles, caption, heads, rows, runs)


def ratio(study: Study, page: Page) -> Section:
    """Fig. 7: the encoding ratio, beside the inpainting baseline where it was run."""
    runs = study.family(_need(study, "instructedit", "experiment=ratio"), "ratio")
    if len(runs) < 2:
        raise Missing(f"Fig. 7 needs InstructEdit at two ratios or more: {command(study)} experiment=ratio")
    inpainting = study.representative("sd_inpainting")
    heads = [f"r = {r.hyperparameter('ratio')}" for r in runs]
    caption = "A larger ratio starts from a noisier latent: it changes more and keeps less."
    if inpainting is None:
        caption += f" There is no run of the inpainting baseline: {command(study)} experiment=ratio makes it."
    else:
        runs, heads = [*runs, inpainting], [*heads, words.method_title("sd_inpainting")]

    def rows(sample: Sample) -> list[Row]:
        edits = (pictures.edit(r, sample) for r in runs)
        return [Row(sample.instruction, (pictures.source(sample), *edits, pictures.truth(sample)))]

    titles = ("Fig. 7: encoding ratio", "Encoding ratio, the other samples")
    return grid_section(study, page, "ratio", titles, caption, ["input", *heads, "true edit"], rows, runs)


def command(study: Study) -> str:
    """What makes runs on a study's benchmark."""
    return f"python -m scripts.run benchmark={study.name}"


def figure(
    study: Study, name: str, title: str, caption: str, drawn: pictures.Drawn, runs: Sequence[Run], folded: bool
) -> tuple[Figure, dict[str, bytes]]:
    """A drawn figure and the two files that it stands in."""
    stem = f"{study.key}/figures/{name}"
    made = Figure(name, title, caption, f"{stem}.png", f"{stem}.pdf", drawn.width, drawn.height, tuple(runs), folded)
    return made, {made.png: drawn.png, made.pdf: drawn.pdf}


def grid_section(
    study: Study,
    page: Page,
    name: str,
    titles: tuple[str, str],
    caption: str,
    heads: Sequence[str],
    rows: Callable[[Sample], list[Row]],
    runs: Sequence[Run],
    only: Sequence[str] | None = None,
) -> Section:
    """The first samples in one figure, the others in a second one, folded; ``only`` names those to take, in order."""
    if only is None:
        samples = pictures.chosen([s for s in study.benchmark.samples if all(s.id in r.records for r in runs)])
    else:
        by_id = {s.id: s for s in study.benchmark.samples}
        samples = [by_id[k] for k in only]
    if not samples:
        raise Missing(f"{titles[0]}: no sample was tried by all of {', '.join(r.label for r in runs)}")
    first, rest = samples[: page.figure_samples], samples[page.figure_samples :][: page.more_samples]
    figures: list[Figure] = []
    files: dict[str, bytes] = {}
    for title, part, suffix in ((titles[0], first, ""), (titles[1], rest, "_more")):
        if part:
            drawn = pictures.grid(heads, [row for sample in part for row in rows(sample)])
            of = "" if only else f" {len(part)} of the {len(samples)} samples that all of these runs tried."
            shown = f"{caption}{of}"
            made, data = figure(study, name + suffix, title, shown, drawn, runs, folded=bool(suffix))
            figures.append(made)
            files |= data
    html = page.render("figures.html", figures=figures)
    return Section(f"figure-{name}-{study.key}", titles[0], html, files)


def _need(study: Study, method: str, experiment: str) -> Run:
    run = study.representative(method)
    if run is None:
        raise Missing(f"no run of {words.method_title(method)} on {study.name}: {command(study)} {experiment} makes it")
    return run
