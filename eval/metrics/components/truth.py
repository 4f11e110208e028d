"""Which component was right (paper §5), judged by the truth that a drawn benchmark knows.

Each is a metric of 1 (right) or 0 (wrong), so that verdicts have cards and are stored, checked and averaged as all
numbers are. :mod:`eval.metrics.components.vlm` asks a model instead; people's verdicts come in at the report, through
:func:`eval.analysis.components.read_labels`.
"""

import re

from PIL import Image

from eval.metrics.base import Card, Metric, MetricUndefined, Score, read_truth
from eval.metrics.clip import ClipScorer, clip_scorer, cosine
from eval.metrics.mask_iou import MaskIoU
from eval.metrics.region import square_around, true_region
from instructedit.models import Checkpoint, Context
from instructedit.types import Captions, Decisions, EditResult, Sample

IOU = 0.5
"""A mask is right from here on: the overlap that detection benchmarks ask for."""
_FUNCTION_WORDS = frozenset("a an the of with and on at in to by for it its".split())


def content_words(text: str) -> set[str]:
    """The words that mean something, in lower case."""
    return set(re.findall(r"[a-z]+", text.lower())) - _FUNCTION_WORDS


def language_is_right(sample: Sample, decisions: Decisions) -> bool:
    """Whether the prompts ask for the edit that the instruction asks for.

    The segmentation prompt has the true one's words. The edited caption names all that the instruction brings in (words
    of the benchmark's edited caption, not of its input caption, that the instruction says); where the edit removes
    something, the edited caption says another thing than the input caption, and no longer names what is gone (of two
    houses, one is still to be named).
    """
    prompt, captions = decisions.segmentation_prompt, decisions.captions
    if prompt is None or captions is None or sample.truth.referred is None or sample.captions is None:
        raise MetricUndefined("the method has no language processor, or the sample no truth")
    referred, edited = content_words(sample.truth.referred), content_words(captions.edited)
    before, after = content_words(sample.captions.input), content_words(sample.captions.edited)
    wanted = (after - before) & content_words(sample.instruction) - referred
    is_removal = sample.truth.target is None
    stays = is_removal and (content_words(captions.input) == edited or bool((before - after) & referred & edited))
    return content_words(prompt) == referred and wanted <= edited and not stays


class Component(Metric):
    """A verdict: 1 or 0. Its card names the ``judge``."""

    unit = ""
    bounds = (0.0, 1.0)
    higher_is_better = True


class ByTruth(Component):
    """A verdict of the benchmark's truth."""

    def applies(self, sample: Sample) -> bool:
        """Only where the truth is known."""
        return sample.truth.mask is not None and sample.truth.edited is not None and sample.truth.referred is not None


class LanguageRight(ByTruth):
    """Did the language processor ask for the right edit?"""

    name = "language_right"

    def details(self) -> Card:
        """Has no backbone."""
        return {
            "judge": "truth",
            "segmentation prompt": "the true one's words, function words aside",
            "edited caption": "names what the instruction brings in, and not what it removes",
        }

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Judge the decisions; the benchmark's captions are the measure, whatever ``captions`` are."""
        return Score(float(language_is_right(sample, result.decisions)))


class SegmenterRight(ByTruth):
    """Is the mask where the edit belongs?"""

    name = "segmenter_right"

    def details(self) -> Card:
        """The overlap, and the threshold on it."""
        return {"judge": "truth", "right from": IOU, "overlap": MaskIoU().details()}

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Judge the mask."""
        overlap = MaskIoU().score(sample, source, result, captions).value
        return Score(float(overlap >= IOU), f"IoU {overlap:.2f}")


class EditorRight(ByTruth):
    """Does the edited region look like the true edit rather than like the input?

    The squares around the true mask are compared by CLIP's image features, so colours and outlines may differ from the
    truth as long as what is shown is nearer to it than to what was there.
    """

    name = "editor_right"

    def __init__(self, scorer: ClipScorer) -> None:
        """Judge with a scorer that other metrics may share."""
        self.scorer = scorer

    @classmethod
    def from_checkpoint(cls, context: Context, checkpoint: Checkpoint) -> "EditorRight":
        """The verdict on a CLIP checkpoint, see :func:`eval.metrics.clip.clip_scorer`."""
        return cls(clip_scorer(context, checkpoint))

    def details(self) -> Card:
        """Names the backbone and the rule."""
        rule = "cos(edited, true edit) > cos(edited, input), on the squares around the true mask"
        return {"judge": "truth", "rule": rule} | self.scorer.card()

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Judge the picture."""
        if sample.truth.edited is None:
            raise MetricUndefined("the sample has no true edit")
        box = square_around(true_region(sample, result.image.size))
        pictures = [image.crop(box) for image in (result.image, read_truth(sample.truth.edited), source)]
        edited, right, before = (self.scorer.image(picture) for picture in pictures)
        gain = cosine(edited, right) - cosine(edited, before)
        return Score(float(gain > 0), f"nearer to the true edit by {gain:.3f}")
