"""The images of a user study: for each sample, the input, the reference's edit and those of the baselines."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from eval.report.study import Study
from eval.runs.records import EditRecord
from eval.runs.run import Run
from instructedit.images import load_image
from instructedit.types import ConfigError, Sample, StageError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Edited:
    """An edit of a sample."""

    method: str
    run_id: str
    image: Image.Image


@dataclass(frozen=True)
class Triplets:
    """A sample with the edits from which triplets are made."""

    sample: Sample
    instruction: str
    """The instruction that the methods were given."""
    image_id: str
    source: Image.Image
    reference: Edited
    baselines: tuple[Edited, ...]
    """At least one."""


def compared(study: Study) -> tuple[Run, tuple[Run, ...]]:
    """Return the reference's run and the run that represents each other method.

    Raises:
        ConfigError: One of them is missing.
    """
    reference = study.reference_run
    if reference is None:
        accepted = ", ".join(study.methods)
        raise ConfigError(f"reference={study.reference}: accepted are the methods of the runs: {accepted}")
    others = (study.representative(name) for name in study.methods if name != reference.name)
    baselines = tuple(run for run in others if run is not None)
    if not baselines:
        raise ConfigError(f"{study.name}: only {reference.name} has runs; runs of at least one other method are needed")
    return reference, baselines


def triplets(study: Study) -> Iterator[Triplets]:
    """Yield the samples that the reference and at least one baseline edited.

    Samples whose input cannot be read, or whose edits are of another size than the input, are left out: the size would
    tell which method made an image.

    Raises:
        ConfigError: See :func:`compared`.
    """
    reference, baselines = compared(study)
    for sample in study.benchmark.samples:
        made = [run for run in (reference, *baselines) if isinstance(run.records.get(sample.id), EditRecord)]
        if len(made) < 2 or made[0] is not reference:
            continue
        if (source := source_of(sample)) is None:
            continue
        edits = [Edited(run.name, run.run_id, run.store.read_result(sample.id).image) for run in made]
        if edits[0].image.size == source.size:
            others = tuple(edit for edit in edits[1:] if edit.image.size == source.size)
            if others:
                instruction = reference.records[sample.id].instruction
                images = study.benchmark.images
                yield Triplets(sample, instruction, images[sample.id], source, edits[0], others)


def source_of(sample: Sample) -> Image.Image | None:
    """Return the input of a sample that people may see; None, with a warning, if it cannot be read."""
    try:
        return load_image(sample.image)
    except StageError as error:
        log.warning("sample %s is left out: %s", sample.id, error)
        return None


def one_study(studies: Sequence[Study]) -> Study:
    """Return the only study.

    Raises:
        ConfigError: The runs are of several benchmarks.
    """
    shown = [study for study in studies if study.runs]
    if len(shown) != 1:
        names = ", ".join(study.name for study in shown) or "none; " + "; ".join(n for s in studies for n in s.notes)
        raise ConfigError(f"benchmark=null: the runs are of several benchmarks; accepted is one of: {names}")
    return shown[0]
