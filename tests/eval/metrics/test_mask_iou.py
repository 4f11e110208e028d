"""Mask IoU."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval.metrics.base import MetricUndefined
from eval.metrics.mask_iou import MaskIoU, mask_iou
from eval.metrics.region import PsnrOutside
from instructedit.types import Truth
from tests.eval.pictures import SAMPLE, plain, result


def box(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    mask = np.zeros((8, 10), dtype=bool)
    mask[y1:y2, x1:x2] = True
    return mask


def test_identity_and_worst_case() -> None:
    assert mask_iou(box(1, 1, 5, 5), box(1, 1, 5, 5)) == 1.0
    assert mask_iou(box(0, 0, 2, 2), box(5, 5, 8, 8)) == 0.0


def test_known_value() -> None:
    # 16 pixels each, 4 in common: 4 / 28.
    assert mask_iou(box(0, 0, 4, 4), box(2, 2, 6, 6)) == pytest.approx(1 / 7, abs=1e-15)


def test_empty_masks_have_a_value() -> None:
    nothing = box(0, 0, 0, 0)
    assert mask_iou(nothing, nothing) == 1.0
    assert mask_iou(nothing, box(0, 0, 1, 1)) == 0.0


def test_reads_the_true_mask_at_half_grey(tmp_path: Path) -> None:
    grey = np.zeros((8, 10), dtype=np.uint8)
    grey[:2, :5], grey[2:4, :5] = 128, 127
    Image.fromarray(grey).save(tmp_path / "mask.png")
    sample = replace(SAMPLE, truth=Truth(mask=tmp_path / "mask.png"))
    assert MaskIoU().applies(sample)
    assert MaskIoU().score(sample, plain(0), result(plain(0), box(0, 0, 5, 2)), None).value == 1.0


@pytest.mark.parametrize(
    ("mask", "reason"),
    [(None, "the method has no mask"), (np.ones((10, 8), dtype=bool), r"\(10, 8\), the ground truth \(8, 10\)")],
)
def test_says_why_there_is_no_value(tmp_path: Path, mask: np.ndarray | None, reason: str) -> None:
    Image.fromarray(np.zeros((8, 10), dtype=np.uint8)).save(tmp_path / "mask.png")
    sample = replace(SAMPLE, truth=Truth(mask=tmp_path / "mask.png"))
    with pytest.raises(MetricUndefined, match=reason):
        MaskIoU().score(sample, plain(0), result(plain(0), mask), None)


def test_without_truth_there_is_no_value() -> None:
    with pytest.raises(MetricUndefined, match="no ground-truth mask"):
        MaskIoU().score(SAMPLE, plain(0), result(plain(0), box(0, 0, 1, 1)), None)


def test_a_true_mask_that_is_gone_costs_its_sample_alone(tmp_path: Path) -> None:
    lost = replace(SAMPLE, truth=Truth(mask=tmp_path / "gone.png"))
    mask = np.ones((8, 8), bool)
    with pytest.raises(MetricUndefined, match="gone.png: no such file"):
        MaskIoU().score(lost, plain(0, 8), result(plain(0, 8), mask), None)
    with pytest.raises(MetricUndefined, match="gone.png: no such file"):
        PsnrOutside().score(lost, plain(0, 8), result(plain(0, 8), mask), None)
