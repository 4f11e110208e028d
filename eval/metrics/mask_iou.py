"""Intersection over union of the method's mask and the ground-truth mask."""

import numpy as np
from jaxtyping import Bool
from PIL import Image

from eval.metrics.base import Card, Metric, MetricUndefined, Score, read_truth
from instructedit.types import Captions, EditResult, Sample

THRESHOLD = 128
"""Pixels of the ground-truth mask's PNG with at least this value, of 255, are inside."""


def mask_iou(mask: Bool[np.ndarray, "h w"], truth: Bool[np.ndarray, "h w"]) -> float:
    """Return the number of pixels in both masks divided by that in either, in [0, 1]; 1 for two empty masks."""
    union = np.logical_or(mask, truth).sum()
    return float(np.logical_and(mask, truth).sum() / union) if union else 1.0


class MaskIoU(Metric):
    """IoU of the method's mask and the ground-truth mask."""

    name = "mask_iou"
    unit = ""
    bounds = (0.0, 1.0)
    higher_is_better = True

    def details(self) -> Card:
        """See :class:`Metric`."""
        return {
            "implementation": "own",
            "truth": f"PNG, >= {THRESHOLD}",
            "resize": "none",
            "two empty masks": 1.0,
        }

    def applies(self, sample: Sample) -> bool:
        """Return whether the sample has a ground-truth mask."""
        return sample.truth.mask is not None

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Compare the result's mask with the sample's."""
        if sample.truth.mask is None:
            raise MetricUndefined("the sample has no ground-truth mask")
        if result.mask is None:
            raise MetricUndefined("the method has no mask")
        truth = np.asarray(read_truth(sample.truth.mask).convert("L")) >= THRESHOLD
        if truth.shape != result.mask.shape:
            raise MetricUndefined(f"the mask is {result.mask.shape}, the ground truth {truth.shape} (height, width)")
        return Score(mask_iou(result.mask, truth))
