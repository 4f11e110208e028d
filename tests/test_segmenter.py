"""Segmenters with tiny random weights: thresholds, selection, caching, and the error if no box is found."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    GroundingDinoForObjectDetection,
    GroundingDinoProcessor,
    MMGroundingDinoForObjectDetection,
    Sam2Model,
    Sam2Processor,
)

from instructedit.cache import StageCache
from instructedit.models import Checkpoint, Context, ModelPool
from instructedit.segmenter import GroundedSam, GroundingDino, MMGroundingDino, Sam, Sam2, Segmentation, Segmenter
from instructedit.types import ConfigError, StageError
from tests import tiny

PROMPT = "bigger cat"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("segmenter")
    return {
        "grounding_dino": Checkpoint(str(tiny.save_grounding_dino(folder / "dino"))),
        "sam": Checkpoint(str(tiny.save_sam(folder / "sam"))),
    }


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(ModelPool(), StageCache(tmp_path / "cache"), torch.device("cpu"))


@pytest.fixture
def image() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("newer")
    return {
        "mm_grounding_dino": Checkpoint(str(tiny.save_grounding_dino(folder / "dino", newer=True))),
        "sam2": Checkpoint(str(tiny.save_sam2(folder / "sam2"))),
    }


def segment(segmenter: Segmenter, image: Image.Image, prompt: str = PROMPT) -> Segmentation:
    (found,) = segmenter.segment([image], [prompt])
    assert isinstance(found, Segmentation)
    return found


def median_score(context: Context, checkpoints: Any, image: Image.Image) -> float:
    boxes = segment(GroundedSam(context, **checkpoints, box_threshold=0.0), image).boxes
    return float(np.median([b.score for b in boxes]))


def test_boxes_lie_in_the_picture_and_are_sorted_by_score(
    context: Context, checkpoints: Any, image: Image.Image
) -> None:
    found = segment(GroundedSam(context, **checkpoints, box_threshold=0.0), image)
    assert len(found.boxes) == 6
    assert [b.score for b in found.boxes] == sorted((b.score for b in found.boxes), reverse=True)
    assert all(0 <= b.x1 <= b.x2 <= 80 and 0 <= b.y1 <= b.y2 <= 48 for b in found.boxes)
    assert found.mask.shape == (48, 80)
    assert found.mask.dtype == bool


def test_boxes_are_those_of_transformers(context: Context, checkpoints: Any, image: Image.Image) -> None:
    ours = segment(GroundedSam(context, **checkpoints, box_threshold=0.0), image, "Bigger cat.").boxes
    folder = checkpoints["grounding_dino"].id
    processor = GroundingDinoProcessor.from_pretrained(folder)
    model = GroundingDinoForObjectDetection.from_pretrained(folder).eval()
    inputs = processor(images=image, text="bigger cat.", return_tensors="pt")
    with torch.no_grad():
        out = model(**inputs)
    (theirs,) = processor.post_process_grounded_object_detection(out, threshold=0.0, target_sizes=[(48, 80)])
    order = theirs["scores"].argsort(descending=True)
    corners = theirs["boxes"][order].clamp(min=0).minimum(torch.tensor([80.0, 48, 80, 48]))
    np.testing.assert_allclose([[b.x1, b.y1, b.x2, b.y2] for b in ours], corners, atol=1e-3)
    np.testing.assert_allclose([b.score for b in ours], theirs["scores"][order], atol=1e-5)


def test_no_box_is_a_failure_that_says_so(context: Context, checkpoints: Any, image: Image.Image) -> None:
    (found,) = GroundedSam(context, **checkpoints, box_threshold=1.0).segment([image], [PROMPT])
    assert isinstance(found, StageError)
    assert found.stage == "segmenter"
    assert "no box found for 'bigger cat'" in str(found)


def test_thresholds_and_selections_share_one_detection(context: Context, checkpoints: Any, image: Image.Image) -> None:
    middle = median_score(context, checkpoints, image)
    few = segment(GroundedSam(context, **checkpoints, box_threshold=middle), image)
    assert len(few.boxes) == 3
    segment(GroundedSam(context, **checkpoints, box_threshold=0.0, select="best"), image)
    assert context.cache.misses["boxes"] == 1
    assert context.cache.hits["boxes"] == 2


def test_union_holds_best_and_first(context: Context, checkpoints: Any, image: Image.Image) -> None:
    masks = {
        select: segment(GroundedSam(context, **checkpoints, box_threshold=0.0, select=select), image).mask
        for select in ("union", "best", "first")
    }
    assert (masks["union"] >= masks["best"]).all()
    assert (masks["union"] >= masks["first"]).all()


def test_neighbours_change_nothing(tmp_path: Path, checkpoints: Any, image: Image.Image) -> None:
    other = image.transpose(Image.Transpose.ROTATE_180)
    fresh = [Context(ModelPool(), StageCache(None), torch.device("cpu")) for _ in range(2)]
    together = GroundedSam(fresh[0], **checkpoints, box_threshold=0.0).segment(
        [other, image], ["a long prompt about something else on the left", PROMPT]
    )[1]
    alone = segment(GroundedSam(fresh[1], **checkpoints, box_threshold=0.0), image)
    assert isinstance(together, Segmentation)
    assert together.boxes == alone.boxes
    assert (together.mask == alone.mask).all()


@pytest.mark.parametrize(
    ("options", "accepted"),
    [({"select": "all"}, "union, best, first"), ({"box_threshold": 3}, "0 to 1"), ({"text_threshold": -1}, "0 to 1")],
)
def test_impossible_settings_are_refused(
    context: Context, checkpoints: Any, options: dict[str, float], accepted: str
) -> None:
    with pytest.raises(ConfigError, match=accepted):
        GroundedSam(context, **checkpoints, **options)  # type: ignore[arg-type]


def test_dots_within_a_prompt_part_its_phrases(context: Context, checkpoints: Any, image: Image.Image) -> None:
    found = segment(GroundedSam(context, **checkpoints, box_threshold=0.0, text_threshold=0.0), image, "cat. dog")
    assert {box.phrase for box in found.boxes} == {"cat. dog. [SEP]"}


def test_a_newer_detector_finds_the_boxes_of_transformers(
    context: Context, checkpoints: Any, newer: Any, image: Image.Image
) -> None:
    detector = partial(MMGroundingDino, checkpoint=newer["mm_grounding_dino"])
    masker = partial(Sam, checkpoint=checkpoints["sam"])
    ours = segment(Segmenter(context, detector, masker, box_threshold=0.0), image)
    folder = newer["mm_grounding_dino"].id
    processor = GroundingDinoProcessor.from_pretrained(folder)
    model = MMGroundingDinoForObjectDetection.from_pretrained(folder).eval()
    inputs = processor(images=image, text="bigger cat.", return_tensors="pt")
    with torch.no_grad():
        out = model(**inputs)
    (theirs,) = processor.post_process_grounded_object_detection(out, threshold=0.0, target_sizes=[(48, 80)])
    order = theirs["scores"].argsort(descending=True)
    corners = theirs["boxes"][order].clamp(min=0).minimum(torch.tensor([80.0, 48, 80, 48]))
    np.testing.assert_allclose([[b.x1, b.y1, b.x2, b.y2] for b in ours.boxes], corners, atol=1e-3)
    np.testing.assert_allclose([b.score for b in ours.boxes], theirs["scores"][order], atol=1e-5)
    older = segment(GroundedSam(context, **checkpoints, box_threshold=0.0), image)
    assert [b.score for b in older.boxes] != [b.score for b in ours.boxes]


def test_sam_2_makes_the_masks_of_transformers(
    context: Context, checkpoints: Any, newer: Any, image: Image.Image
) -> None:
    detector = partial(GroundingDino, checkpoint=checkpoints["grounding_dino"])
    segmenter = Segmenter(context, detector, partial(Sam2, checkpoint=newer["sam2"]), box_threshold=0.0)
    ours = segment(segmenter, image)
    folder = newer["sam2"].id
    processor = Sam2Processor.from_pretrained(folder)
    corners = [[box.x1, box.y1, box.x2, box.y2] for box in ours.boxes]
    inputs = processor(images=image, input_boxes=[corners], return_tensors="pt")
    with torch.no_grad():
        out = Sam2Model.from_pretrained(folder).eval()(
            pixel_values=inputs.pixel_values, input_boxes=inputs.input_boxes, multimask_output=False
        )
    (masks,) = processor.post_process_masks(out.pred_masks, inputs.original_sizes)
    assert (ours.mask == masks[:, 0].any(dim=0).numpy()).all()
    assert 0 < ours.mask.mean() < 1
    segment(segmenter, image)
    assert (context.cache.misses["masks"], context.cache.hits["masks"]) == (1, 1)


def test_models_that_a_preset_lacks_are_named(context: Context, checkpoints: Any) -> None:
    with pytest.raises(ConfigError, match=r"models\.sam2"):
        Sam2(context, None)
    with pytest.raises(ConfigError, match=r"models\.mm_grounding_dino"):
        MMGroundingDino(context, None)
