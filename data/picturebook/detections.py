"""What a box threshold keeps of a detector's answers about held-out scenes: the choice of ``models.box_threshold``."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from tqdm import tqdm

from data.picturebook.phrases import references
from data.picturebook.training.grounding_dino import truth_boxes
from data.picturebook.training.scenes import scene
from data.picturebook.world import SIZE, render
from instructedit.segmenter.base import Detector

THRESHOLDS = (0.2, 0.25, 0.3, 0.35, 0.4)
COUNT = 700


@dataclass(frozen=True)
class Kept:
    """What one threshold keeps, over all questions."""

    threshold: float
    iou: float
    """Mean IoU between the union of the kept boxes and that of the true ones; 0 for a question without a box."""
    without_box: float
    """Share of questions without a box."""


def kept(detector: Detector, thresholds: Sequence[float] = THRESHOLDS, count: int = COUNT) -> list[Kept]:
    """Ask about the things and parts of held-out scenes, and apply each threshold to the answers.

    Args:
        detector: The detector.
        thresholds: Box thresholds in [0, 1].
        count: Number of questions.
    """
    ious: dict[float, list[float]] = {t: [] for t in thresholds}
    empty: dict[float, int] = dict.fromkeys(thresholds, 0)
    for index, phrase, truth in tqdm(_questions(count), total=count, desc="questions", leave=False):
        boxes = detector.detect(render(scene("held_out", index)), phrase, min(thresholds), 0.0)
        for t in thresholds:
            found = _union([(b.x1, b.y1, b.x2, b.y2) for b in boxes if b.score > t])
            ious[t].append(float((found & truth).sum() / (found | truth).sum()))
            empty[t] += not found.any()
    return [Kept(t, float(np.mean(ious[t])), empty[t] / len(ious[t])) for t in thresholds]


def _questions(count: int) -> Iterator[tuple[int, str, Bool[np.ndarray, "128 128"]]]:
    index = asked = 0
    while asked < count:
        drawn = scene("held_out", index)
        for reference in references(drawn):
            if (boxes := truth_boxes(drawn, reference)) and asked < count:
                yield index, reference.phrase, _union(boxes)
                asked += 1
        index += 1


def _union(boxes: Sequence[tuple[float, float, float, float]]) -> Bool[np.ndarray, "128 128"]:
    region = np.zeros((SIZE, SIZE), bool)
    for left, top, right, bottom in boxes:
        region[round(top) : round(bottom), round(left) : round(right)] = True
    return region
