"""Metrics of scenes: held-out views inside and outside the edited region, masks of training views, consistency."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eval.metrics.base import MetricUndefined
from eval.metrics.clip import clip_scorer
from eval.metrics.lpips import Lpips
from eval.metrics.nerf import DirectionConsistency, HeldOutLpips, HeldOutPsnr, HeldOutSsim, TrainingMaskIoU
from instructedit.applications.nerf.scenes import write_scene
from instructedit.applications.strips import rolled
from instructedit.cache import StageCache
from instructedit.images import save_png
from instructedit.models import Checkpoint, Context, ModelPool
from instructedit.types import EditResult, Sample, Truth
from tests.applications.worlds import scene

SCENE = scene()
VIEWS, SIDE = SCENE.pictures.shape[:2]
MASK = np.zeros((VIEWS, SIDE, SIDE), bool)
MASK[:, 8:20, 8:20] = True
REFERENCE = SCENE.pictures.copy()
REFERENCE[:, 8:24, 8:20] = 255 - REFERENCE[:, 8:24, 8:20]
INSIDE = np.zeros((SIDE, SIDE), bool)
INSIDE[8:24, 8:20] = True  # the mask, and four more rows that the reference edit changes
SOURCE = rolled(SCENE.pictures)
CONTEXT = Context(ModelPool(), StageCache(None), torch.device("cpu"))


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    write_scene(tmp_path / "scenes" / "card", SCENE, SCENE.pictures)
    for name, strip in (("images", SOURCE), ("edited", rolled(REFERENCE))):
        save_png(strip, tmp_path / name / "card.png")
    save_png(Image.fromarray(MASK.reshape(-1, SIDE).astype(np.uint8) * 255), tmp_path / "masks" / "card.png")
    truth = Truth(tmp_path / "masks" / "card.png", tmp_path / "edited" / "card.png")
    return Sample("card", tmp_path / "images" / "card.png", "invert", truth=truth)


def result(pictures: np.ndarray, masks: np.ndarray | None = None) -> EditResult:
    return EditResult("card", rolled(pictures), None if masks is None else masks.reshape(-1, SIDE))


def shifted(region: np.ndarray, by: int, views: slice = slice(None)) -> np.ndarray:
    """Return the reference edit with a constant error in a region of some views."""
    wrong = REFERENCE.astype(int)
    wrong[views, region] += np.where(wrong[views, region] > 128, -by, by)
    return wrong.astype(np.uint8)


def test_an_error_counts_in_its_region_alone(sample: Sample) -> None:
    outside, inside = HeldOutPsnr("outside"), HeldOutPsnr("inside")
    assert (outside.name, inside.name) == ("reference_psnr_outside", "reference_psnr_inside")
    both = shifted(INSIDE, 51)
    both[:, ~INSIDE] = shifted(~INSIDE, 5)[:, ~INSIDE]
    found = [metric.score(sample, SOURCE, result(both), None).value for metric in (outside, inside)]
    assert found == pytest.approx([-20 * math.log10(5 / 255), -20 * math.log10(51 / 255)])


def test_only_held_out_views_count(sample: Sample) -> None:
    wrong = shifted(~INSIDE, 40)
    wrong[2] = shifted(~INSIDE, 5)[2]
    value = HeldOutPsnr("outside").score(sample, SOURCE, result(wrong), None).value
    assert value == pytest.approx(-20 * math.log10(5 / 255))


def test_the_reference_edit_itself_is_perfect(sample: Sample) -> None:
    whole = Lpips.from_checkpoint(CONTEXT, Checkpoint("data/picturebook/models/lpips"), "none")
    for region in ("inside", "outside"):
        with pytest.raises(MetricUndefined, match="infinite"):
            HeldOutPsnr(region).score(sample, SOURCE, result(REFERENCE), None)
        assert HeldOutSsim(region).score(sample, SOURCE, result(REFERENCE), None).value == pytest.approx(1)
        assert HeldOutLpips(whole, region).score(sample, SOURCE, result(REFERENCE), None).value == 0
    unedited = result(SCENE.pictures)
    assert HeldOutSsim("inside").score(sample, SOURCE, unedited, None).value < 0.8
    assert HeldOutLpips(whole, "inside").score(sample, SOURCE, unedited, None).value > 0.01
    assert HeldOutLpips(whole, "outside").score(sample, SOURCE, unedited, None).value == 0


def test_the_masks_of_training_views_are_compared(sample: Sample) -> None:
    masks = MASK.copy()
    masks[2] = False  # held out
    assert TrainingMaskIoU().score(sample, SOURCE, result(REFERENCE, masks), None).value == 1
    masks[0] = False
    score = TrainingMaskIoU().score(sample, SOURCE, result(REFERENCE, masks), None)
    assert score.value == pytest.approx(4 / 5)
    assert score.note == "1 training views are not edited"
    with pytest.raises(MetricUndefined, match="no mask"):
        TrainingMaskIoU().score(sample, SOURCE, result(REFERENCE), None)


def test_wrong_poses_and_sizes_have_no_value(sample: Sample) -> None:
    metric = HeldOutPsnr("outside")
    with pytest.raises(MetricUndefined, match="the edited image is"):
        metric.score(sample, SOURCE, EditResult("card", SOURCE.crop((0, 0, 32, 64))), None)
    file = sample.image.parent.parent / "scenes" / "card" / "transforms.json"
    values = json.loads(file.read_text())
    values["frames"] = values["frames"][:5]
    file.write_text(json.dumps(values))
    with pytest.raises(MetricUndefined, match="the views cannot be told apart"):
        metric.score(sample, SOURCE, result(REFERENCE), None)


def test_the_same_change_in_all_views_is_consistent(sample: Sample) -> None:
    scorer = clip_scorer(CONTEXT, Checkpoint("data/picturebook/models/clip"))
    metric = DirectionConsistency(scorer, VIEWS, "squeeze")
    same = metric.score(sample, SOURCE, result(255 - SCENE.pictures), None).value
    turns = SCENE.pictures.copy()
    turns[::2] = 255 - turns[::2]
    turns[1::2] = turns[1::2] // 4
    assert same > metric.score(sample, SOURCE, result(turns), None).value + 0.05
    before, after = (
        [scorer.image(Image.fromarray(v), "squeeze") for v in pictures]
        for pictures in (SCENE.pictures, 255 - SCENE.pictures)
    )
    changes = torch.stack([b - a for a, b in zip(before, after, strict=True)])
    cosines = torch.cosine_similarity(changes[:-1], changes[1:], dim=-1)
    assert same == pytest.approx(float(cosines.mean()))
    with pytest.raises(MetricUndefined, match="no direction"):
        metric.score(sample, SOURCE, result(SCENE.pictures), None)
