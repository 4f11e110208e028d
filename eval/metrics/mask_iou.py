"""Intersection over union of the mask that a method edited and the true one."""

import numpy as np
from jaxtyping import Bool
from PIL import Image

from eval.metrics.base import Card, Metric, MetricUndefined, Score, read_truth
from instructedit.types import Captions, EditResult, Sample

THRESHOLD = 128
"""A pixel of the true mask's PNG at or above it, of 255, belongs to the mask."""


def mask_iou(mask: Bool[np.ndarray, "h w"], truth: Bool[np.ndarray, "h w"]) -> float:
    """Pixels in both over pixels in either, in [0, 1]; two empty masks agree, so they count 1."""
    union = np.logical_or(mask, truth).sum()
    return float(np.logical_and(mask, truth).sum() / union) if union else 1.0


class MaskIoU(Metric):
    """Did the method mean to edit what it was told to?"""

    name = "mask_iou"
    unit = ""
    bounds = (0.0, 1.0)
    higher_is_better = True

    def details(self) -> Card:
        """Has no backbone."""
        return {
            "implementation": "own",
            "truth": f"PNG, >= {THRESHOLD}",
            "resize": "none",
            "two empty masks": 1.0,
        }

    def applies(self, sample: Sample) -> bool:
        """Only where the true mask is known."""
        return sample.truth.mask is not None

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Compare the result's mask with the sample's."""
        if sample.truth.mask is None:
            raise MetricUndefined("the sample has no true mask")
        if result.mask is None:
            raise MetricUndefined("the method has no mask")
        truth = np.asarray(read_truth(sample.truth.mask).convert("L")) >= THRESHOLD
        if truth.shape != result.mask.shape:
            raise MetricUndefined(f"the mask is {result.mask.shape}, the true one {truth.shape} (height, width)")
        return Score(mask_iou(result.mask, truth))
