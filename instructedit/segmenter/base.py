"""What all segmenters share: choosing among boxes, and joining the masks of the chosen ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Bool
from PIL import Image
from torch import Tensor

from instructedit.checks import require, require_one_of
from instructedit.models import Checkpoint, Context
from instructedit.types import Box, ConfigError, Stage, StageError

SELECT = ("union", "best", "first")


@dataclass(frozen=True)
class Segmentation:
    """A mask and the boxes that it was made from."""

    mask: Bool[np.ndarray, "h w"]
    boxes: tuple[Box, ...]
    """Above both thresholds, highest score first."""


class Detector(Protocol):
    """Finds what a prompt names."""

    def detect(self, image: Image.Image, prompt: str, box_threshold: float, text_threshold: float) -> list[Box]:
        """Boxes with a score above ``box_threshold``, in the detector's own order.

        Args:
            image: RGB.
            prompt: Such as "bigger cat".
            box_threshold: In [0, 1].
            text_threshold: A word counts as part of a box's phrase above it, in [0, 1].
        """
        ...


class Masker(Protocol):
    """Turns boxes into masks."""

    def masks(self, image: Image.Image, boxes: Sequence[Box]) -> Bool[np.ndarray, "n h w"]:
        """One mask for each box, of the image's size."""
        ...


class Segmenter:
    """Any detector and any mask model.

    Args:
        context: Models, cache and device, handed to both.
        detector: Makes the detector from the context.
        masker: Makes the mask model.
        box_threshold: A box needs a score above it, in [0, 1].
        text_threshold: A word counts as part of a box's phrase above it, in [0, 1].
        select: Which boxes make the mask: the ``union`` of all, the ``best`` by score, or the ``first`` in the order
            of the detector's queries.
    """

    def __init__(
        self,
        context: Context,
        detector: Callable[..., Detector],
        masker: Callable[..., Masker],
        box_threshold: float = 0.3,
        text_threshold: float = 0.25,
        select: str = "union",
    ) -> None:
        require_one_of("segmenter.select", select, SELECT)
        for name, value in (("box_threshold", box_threshold), ("text_threshold", text_threshold)):
            require(0 <= value <= 1, f"segmenter.{name}", value, "0 to 1")
        self.detector, self.masker = detector(context=context), masker(context=context)
        self.box_threshold, self.text_threshold, self.select = box_threshold, text_threshold, select

    def segment(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[Segmentation | StageError]:
        """A mask for each image and prompt; where no box is found, a :class:`StageError` that says so.

        One image at a time: padding prompts to one length would let neighbours in a batch change a result.
        """
        return [self._segment(image, prompt) for image, prompt in zip(images, prompts, strict=True)]

    def _segment(self, image: Image.Image, prompt: str) -> Segmentation | StageError:
        in_query_order = self.detector.detect(image, prompt, self.box_threshold, self.text_threshold)
        if not in_query_order:
            return StageError(Stage.SEGMENTER, f"no box found for {prompt!r} above box_threshold={self.box_threshold}")
        ranked = tuple(sorted(in_query_order, key=lambda box: -box.score))
        chosen = {"union": ranked, "best": ranked[:1], "first": tuple(in_query_order[:1])}[self.select]
        mask = np.any(self.masker.masks(image, chosen), axis=0)
        if not mask.any():
            return StageError(Stage.SEGMENTER, f"the mask for {prompt!r} is empty")
        return Segmentation(mask, ranked)


def boxes_inside(image: Image.Image, corners: Tensor, scores: Tensor, phrases: Sequence[str]) -> list[Box]:
    """Boxes, cut where they leave the image.

    Args:
        image: Whose pixels the corners count.
        corners: x1, y1, x2, y2 of each box, ``n 4``.
        scores: Of each, ``n``.
        phrases: The words that each answers.
    """
    return [
        Box(min(x1, image.width), min(y1, image.height), min(x2, image.width), min(y2, image.height), score, phrase)
        for (x1, y1, x2, y2), score, phrase in zip(corners.clamp(min=0).tolist(), scores.tolist(), phrases, strict=True)
    ]


def required(checkpoint: Checkpoint | None, key: str, content: str) -> Checkpoint:
    """A checkpoint that not every preset of models names.

    Raises:
        ConfigError: names the missing key.
    """
    if checkpoint is None:
        raise ConfigError(
            f"this segmenter needs models.{key}, which the chosen models lack: "
            f"add it as +models.{key}._target_=instructedit.models.Checkpoint +models.{key}.id=<{content}>"
        )
    return checkpoint
