"""Base of all segmenters: the selection of boxes, and the union of their masks."""

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
    """A mask and the detected boxes."""

    mask: Bool[np.ndarray, "h w"]
    boxes: tuple[Box, ...]
    """All boxes above the box threshold, highest score first."""


class Detector(Protocol):
    """Finds the objects that a prompt names."""

    def detect(self, image: Image.Image, prompt: str, box_threshold: float, text_threshold: float) -> list[Box]:
        """Return the boxes with a score above ``box_threshold``, in the order of the detector's queries.

        Args:
            image: RGB.
            prompt: The segmentation prompt, such as "bigger cat".
            box_threshold: In [0, 1].
            text_threshold: In [0, 1]; a word with a higher score is part of a box's phrase.
        """
        ...


class Masker(Protocol):
    """Predicts masks from boxes."""

    def masks(self, image: Image.Image, boxes: Sequence[Box]) -> Bool[np.ndarray, "n h w"]:
        """Return one mask per box, of the image's size."""
        ...


class Segmenter:
    """A detector followed by a mask predictor.

    Args:
        context: Models, cache and device, passed to both.
        detector: Builds the detector from the context.
        masker: Builds the mask predictor.
        box_threshold: In [0, 1]; boxes with a higher score are kept.
        text_threshold: In [0, 1]; a word with a higher score is part of a box's phrase.
        select: The boxes whose masks are used: ``union`` of all, ``best`` by score, or ``first`` in the order of the
            detector's queries.

    Raises:
        ConfigError: A parameter is out of range.
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
        """Return a mask for each image and prompt, or a :class:`StageError` if there is no box or the mask is empty.

        Images are processed one at a time: padding the prompts to one length would make a result depend on the other
        samples of the batch.
        """
        return [self._segment(image, prompt) for image, prompt in zip(images, prompts, strict=True)]

    def _segment(self, image: Image.Image, prompt: str) -> Segmentation | StageError:
        in_query_order = self.detector.detect(image, prompt, self.box_threshold, self.text_threshold)
        if not in_query_order:
            return StageError(Stage.SEGMENTER, f"no box found for {prompt!r} above box_threshold={self.box_threshold}")
        ranked = tuple(sorted(in_query_order, key=lambda box: -box.score))
        selected = {"union": ranked, "best": ranked[:1], "first": tuple(in_query_order[:1])}[self.select]
        mask = np.any(self.masker.masks(image, selected), axis=0)
        if not mask.any():
            return StageError(Stage.SEGMENTER, f"the mask for {prompt!r} is empty")
        return Segmentation(mask, ranked)


def boxes_inside(image: Image.Image, corners: Tensor, scores: Tensor, phrases: Sequence[str]) -> list[Box]:
    """Return boxes clipped to the image.

    Args:
        image: The image.
        corners: x1, y1, x2, y2 of each box in pixels, ``n 4``.
        scores: One per box, ``n``.
        phrases: The matched words of the prompt, one phrase per box.
    """
    return [
        Box(min(x1, image.width), min(y1, image.height), min(x2, image.width), min(y2, image.height), score, phrase)
        for (x1, y1, x2, y2), score, phrase in zip(corners.clamp(min=0).tolist(), scores.tolist(), phrases, strict=True)
    ]


def required(checkpoint: Checkpoint | None, key: str, content: str) -> Checkpoint:
    """Return a checkpoint that not every models preset has.

    Raises:
        ConfigError: It is None; the message names the missing key.
    """
    if checkpoint is None:
        raise ConfigError(
            f"this segmenter needs models.{key}, which the chosen models lack: "
            f"add it as +models.{key}._target_=instructedit.models.Checkpoint +models.{key}.id=<{content}>"
        )
    return checkpoint
