"""The cases of component labels: what an annotator sees of one edit (paper §5)."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from PIL import Image

from eval.annotation.triplets import source_of
from eval.display.marks import with_boxes, with_mask
from eval.report.study import Study
from eval.runs.records import EditRecord, FailureRecord, SampleRecord
from eval.runs.run import Run
from instructedit.files import digest
from instructedit.types import Decisions, EditResult, Stage

SOURCE, MARKED, EDITED = "source", "marked", "edited"
PICTURES = (SOURCE, MARKED, EDITED)


@dataclass(frozen=True)
class Case:
    """An edit to label."""

    run_id: str
    sample_id: str
    image_id: str
    instruction: str
    texts: Mapping[str, str]
    """What the components decided, by title."""
    asked: tuple[str, ...]
    """The components to label, in their order: those that the method has, and that ran."""
    pictures: Mapping[str, Image.Image]
    """Some of :data:`PICTURES`."""
    fingerprint: str
    """Hash of what is shown: a case whose edit was replaced is another one."""


def cases(study: Study) -> Iterator[Case]:
    """Yield the cases of all runs: the edits, and the failures of the components after the language processor."""
    for run in study.runs:
        for sample in study.benchmark.samples:
            record = run.records.get(sample.id)
            asked = () if record is None else _asked(record)
            if record is None or not asked or (source := source_of(sample)) is None:
                continue
            yield _case(run, record, study.benchmark.images[sample.id], source, asked)


def _asked(record: SampleRecord) -> tuple[str, ...]:
    decisions = record.decisions
    has_language = decisions.segmentation_prompt is not None and decisions.captions is not None
    asked = [Stage.LANGUAGE] if has_language else []
    if isinstance(record, EditRecord):
        asked += [Stage.SEGMENTER] if record.mask_sha256 else []
        asked.append(Stage.EDITOR)
    elif record.stage not in (Stage.SEGMENTER, Stage.EDITOR):
        return ()
    return tuple(map(str, asked))


def _case(run: Run, record: SampleRecord, image_id: str, source: Image.Image, asked: tuple[str, ...]) -> Case:
    pictures, texts = {SOURCE: source}, _texts(record.decisions)
    shown: list[object] = [record.instruction, texts, asked]
    if isinstance(record, FailureRecord):
        texts["Failed"] = f"{record.stage}: {record.message}"
    else:
        result = run.store.read_result(record.id)
        pictures[EDITED] = result.image
        if (marked := _marked(source, result)) is not None:
            pictures[MARKED] = marked
        shown += [record.image_sha256, record.mask_sha256]
    fingerprint = digest(json.loads(json.dumps(shown)))
    return Case(run.run_id, record.id, image_id, record.instruction, texts, asked, pictures, fingerprint)


def _texts(decisions: Decisions) -> dict[str, str]:
    captions = decisions.captions
    texts = {
        "Description": decisions.description,
        "Segmentation prompt": decisions.segmentation_prompt,
        "Input caption": captions.input if captions else None,
        "Edited caption": captions.edited if captions else None,
    }
    return {title: text for title, text in texts.items() if text is not None}


def _marked(source: Image.Image, result: EditResult) -> Image.Image | None:
    """Return the input with the mask in red with a white rim, and the boxes; None without a mask of its size."""
    if result.mask is None or result.mask.shape != (source.height, source.width):
        return None
    return with_boxes(with_mask(source, result.mask), result.decisions.boxes)
