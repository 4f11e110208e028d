"""Component accuracy (paper §5), judged by the ground truth of a drawn benchmark.

Each verdict is a metric with the value 1 (right) or 0 (wrong), so verdicts have cards and are stored and averaged like
other metrics. :mod:`eval.metrics.components.vlm` asks a model instead; the report reads human verdicts by
:func:`eval.analysis.components.read_labels`.
"""

from PIL import Image

from eval.metrics.base import Card, Metric, MetricUndefined, Score, read_truth
from eval.metrics.clip import ClipScorer, clip_scorer, cosine
from eval.metrics.components.verdicts import EDITOR, LANGUAGE, SEGMENTER, language_is_right
from eval.metrics.mask_iou import MaskIoU
from eval.metrics.region import square_around, true_region
from instructedit.models import Checkpoint, Context
from instructedit.types import Captions, EditResult, Sample

IOU = 0.5
"""Minimum IoU of a correct mask, as in detection benchmarks."""


class Component(Metric):
    """A verdict, 1 or 0. Its card names the ``judge``."""

    unit = ""
    bounds = (0.0, 1.0)
    higher_is_better = True


class ByTruth(Component):
    """A verdict by the benchmark's ground truth."""

    def applies(self, sample: Sample) -> bool:
        """Return whether the sample has mask, reference edit and referring expression."""
        return sample.truth.mask is not None and sample.truth.edited is not None and sample.truth.referred is not None


class LanguageRight(ByTruth):
    """Whether the language processor requests the right edit."""

    name = LANGUAGE

    def details(self) -> Card:
        """See :class:`Metric`."""
        return {
            "judge": "truth",
            "segmentation prompt": "the true one's words, function words aside",
            "edited caption": "names what the instruction brings in, and not what it removes",
        }

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Judge the method's prompts by the benchmark's captions; ``captions`` is not used."""
        return Score(float(language_is_right(sample, result.decisions)))


class SegmenterRight(ByTruth):
    """Whether the mask covers the region to edit."""

    name = SEGMENTER

    def details(self) -> Card:
        """See :class:`Metric`."""
        return {"judge": "truth", "right from": IOU, "overlap": MaskIoU().details()}

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Judge the mask."""
        overlap = MaskIoU().score(sample, source, result, captions).value
        return Score(float(overlap >= IOU), f"IoU {overlap:.2f}")


class EditorRight(ByTruth):
    """Whether the edited region is more similar to the reference edit than to the input.

    The squares around the ground-truth mask are compared by CLIP's image features, so colours and outlines may differ
    from the reference edit.
    """

    name = EDITOR

    def __init__(self, scorer: ClipScorer) -> None:
        """Judge with a scorer that other metrics may share."""
        self.scorer = scorer

    @classmethod
    def from_checkpoint(cls, context: Context, checkpoint: Checkpoint) -> "EditorRight":
        """Return the verdict with a CLIP checkpoint, see :func:`eval.metrics.clip.clip_scorer`."""
        return cls(clip_scorer(context, checkpoint))

    def details(self) -> Card:
        """See :class:`Metric`."""
        rule = "cos(edited, true edit) > cos(edited, input), on the squares around the true mask"
        return {"judge": "truth", "rule": rule} | self.scorer.card()

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Judge the picture."""
        if sample.truth.edited is None:
            raise MetricUndefined("the sample has no reference edit")
        box = square_around(true_region(sample, result.image.size))
        pictures = [image.crop(box) for image in (result.image, read_truth(sample.truth.edited), source)]
        edited, reference, before = (self.scorer.image(picture) for picture in pictures)
        gain = cosine(edited, reference) - cosine(edited, before)
        return Score(float(gain > 0), f"nearer to the reference edit by {gain:.3f}")
