"""The paper's qualitative figures: masks by threshold, comparison of methods, and the encoding ratio."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eval.display import style as words
from eval.report import figures as pictures
from eval.report.figures import Row
from eval.report.page import Page, embedded, webp
from eval.report.section import Missing, Section
from eval.report.study import Study
from eval.runs.run import Run
from instructedit.types import Sample


@dataclass(frozen=True)
class Figure:
    """A figure for the template."""

    name: str
    title: str
    caption: str
    source: str
    """URL of the picture, relative to the page, or of a picture inside it."""
    files: tuple[str, ...]
    """URLs relative to the page; none for a picture inside it."""
    width: int
    height: int
    runs: tuple[Run, ...]
    is_folded: bool = False
    """Whether the figure is hidden until it is opened, as those of the appendix."""


def masks(study: Study, page: Page) -> Section:
    """Make Fig. 3 and 18: masks of DiffEdit by theta and of InstructEdit, with the edit below each mask."""
    instructedit = _need(study, "instructedit", "experiment=theta")
    diffedit = study.family(_need(study, "diffedit", "experiment=theta"), "theta")
    heads = [*(f"DiffEdit θ={r.hyperparameter('theta')}" for r in diffedit), "InstructEdit"]
    runs = (*diffedit, instructedit)

    def rows(sample: Sample) -> list[Row]:
        return [
            Row(sample.instruction, (pictures.source(sample), *(pictures.mask(r, sample) for r in runs))),
            Row("", (pictures.truth(sample), *(pictures.edit(r, sample) for r in runs))),
        ]

    caption = (
        "Masks in red over the input, with the edit below each; IoU with the ground-truth mask. DiffEdit is "
        "caption-conditioned and has a threshold θ; InstructEdit has the instruction only. The reference edit is below "
        "each input."
    )
    titles = ("Fig. 3: masks by threshold", "Fig. 18: masks, the other samples")
    return grid_section(study, page, "masks", titles, caption, ["input / reference", *heads], rows, runs)


def methods(study: Study, page: Page) -> Section:
    """Make Fig. 5, 16 and 17: one run of each method."""
    order = sorted(study.methods, key=lambda name: name == "instructedit")
    runs = [r for name in order if (r := study.representative(name)) is not None]
    if len(runs) < 2:
        found = f"there are runs of {order[0]} only" if order else "there are none"
        raise Missing(f"Fig. 5 needs two methods, and {found}: {command(study)} experiment=table1")

    def rows(sample: Sample) -> list[Row]:
        edits = (pictures.edit(r, sample) for r in runs)
        return [Row(sample.instruction, (pictures.source(sample), *edits, pictures.truth(sample)))]

    heads = ["input", *(words.method_title(r.name) for r in runs), "reference edit"]
    caption = "Each method is represented by its run with the most samples and the most default hyperparameters."
    titles = ("Fig. 5: methods side by side", "Figs. 16 and 17: methods, the other samples")
    return grid_section(study, page, "methods", titles, caption, heads, rows, runs)


def ratio(study: Study, page: Page) -> Section:
    """Make Fig. 7: the encoding ratio, and the inpainting baseline if it was run."""
    runs = study.family(_need(study, "instructedit", "experiment=ratio"), "ratio")
    if len(runs) < 2:
        raise Missing(f"Fig. 7 needs InstructEdit at two ratios or more: {command(study)} experiment=ratio")
    inpainting = study.representative("sd_inpainting")
    heads = [f"r = {r.hyperparameter('ratio')}" for r in runs]
    caption = "With a larger ratio, the edit starts from a noisier latent and changes more of the input."
    if inpainting is None:
        caption += f" There is no run of the inpainting baseline: {command(study)} experiment=ratio makes it."
    else:
        runs, heads = [*runs, inpainting], [*heads, words.method_title("sd_inpainting")]

    def rows(sample: Sample) -> list[Row]:
        edits = (pictures.edit(r, sample) for r in runs)
        return [Row(sample.instruction, (pictures.source(sample), *edits, pictures.truth(sample)))]

    titles = ("Fig. 7: encoding ratio", "Encoding ratio, the other samples")
    return grid_section(study, page, "ratio", titles, caption, ["input", *heads, "reference edit"], rows, runs)


def command(study: Study) -> str:
    """Return the command that makes runs on a study's benchmark."""
    return f"python -m scripts.run benchmark={study.name}"


def figure(
    study: Study,
    page: Page,
    name: str,
    title: str,
    caption: str,
    drawn: pictures.Drawn,
    runs: Sequence[Run],
    folded: bool,
) -> tuple[Figure, dict[str, bytes]]:
    """Return a figure for the template, and its files by path."""
    stem = f"{study.key}/figures/{name}"
    files: dict[str, bytes] = {}
    if not page.links_pictures:
        source = embedded(webp(io.BytesIO(drawn.png)))
    elif page.is_light:
        source = f"{stem}.webp"
        files = {source: webp(io.BytesIO(drawn.png))}
    else:
        source = f"{stem}.png"
        files = {source: drawn.png, f"{stem}.pdf": drawn.pdf}
    return Figure(name, title, caption, source, tuple(files), drawn.width, drawn.height, tuple(runs), folded), files


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
    """Draw the first samples in one figure and the others in a second, folded one.

    Args:
        study: The study.
        page: The page; it sets the number of samples.
        name: Name of the figure's files.
        titles: Titles of the two figures.
        caption: Caption of both figures.
        heads: Column heads.
        rows: Returns the rows of a sample.
        runs: The runs that the figure shows.
        only: Ids of the samples to draw, in order; None draws all samples that all runs tried.

    Raises:
        Missing: There are no samples to draw.
    """
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
            drawn_figure, data = figure(study, page, name + suffix, title, shown, drawn, runs, folded=bool(suffix))
            figures.append(drawn_figure)
            files |= data
    html = page.render("figures.html", figures=figures)
    return Section(f"figure-{name}-{study.key}", titles[0], html, files)


def _need(study: Study, method: str, experiment: str) -> Run:
    run = study.representative(method)
    if run is None:
        raise Missing(f"no run of {words.method_title(method)} on {study.name}: {command(study)} {experiment} makes it")
    return run
