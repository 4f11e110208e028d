"""Segmenter (paper §3.3): Grounding DINO finds boxes for a prompt, SAM turns each box into a mask."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from PIL import Image
from torch import Tensor
from transformers import (
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoProcessor,
    SamModel,
    SamProcessor,
)

from instructedit.cache import StageCache, hash_image
from instructedit.models import Checkpoint, Context
from instructedit.types import Box, ConfigError, StageError

STAGE = "segmenter"
SELECT = ("union", "best", "first")


@dataclass(frozen=True)
class Segmentation:
    """A mask and the boxes that it was made from."""

    mask: Bool[np.ndarray, "h w"]
    boxes: tuple[Box, ...]
    """Above both thresholds, highest score first."""


class GroundedSam:
    """Grounded Segment Anything on transformers.

    Defaults are those of the released code (box threshold 0.3, text threshold 0.25), but for ``select``:
    its command line takes the first box in the detector's order; ``union`` is what a plural ("the oranges") needs, and
    equals the others where one box is found.

    Args:
        context: Models, cache and device.
        grounding_dino: Checkpoint of GroundingDinoForObjectDetection with its processor.
        sam: Checkpoint of SamModel with its processor.
        box_threshold: A box needs a score above it, in [0, 1].
        text_threshold: A word counts as part of a box's phrase above it, in [0, 1].
        select: Which boxes make the mask: the ``union`` of all, the ``best`` by score, or the ``first`` in the order
            of the detector's queries.
    """

    def __init__(
        self,
        context: Context,
        grounding_dino: Checkpoint,
        sam: Checkpoint,
        box_threshold: float = 0.3,
        text_threshold: float = 0.25,
        select: str = "union",
    ) -> None:
        if select not in SELECT:
            raise ConfigError(f"segmenter.select={select!r}: accepted are {', '.join(SELECT)}")
        for name, value in (("box_threshold", box_threshold), ("text_threshold", text_threshold)):
            if not 0 <= value <= 1:
                raise ConfigError(f"segmenter.{name}={value}: accepted are 0 to 1")
        self.context, self.grounding_dino, self.sam = context, grounding_dino, sam
        self.box_threshold, self.text_threshold, self.select = box_threshold, text_threshold, select

    def segment(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[Segmentation | StageError]:
        """A mask for each image and prompt; where no box is found, a :class:`StageError` that says so.

        One image at a time: padding prompts to one length would let neighbours in a batch change a result.
        """
        return [self._segment(image, prompt) for image, prompt in zip(images, prompts, strict=True)]

    def _segment(self, image: Image.Image, prompt: str) -> Segmentation | StageError:
        in_query_order = self._detect(image, prompt)
        if not in_query_order:
            return StageError(STAGE, f"no box found for {prompt!r} above box_threshold={self.box_threshold}")
        ranked = tuple(sorted(in_query_order, key=lambda box: -box.score))
        chosen = {"union": ranked, "best": ranked[:1], "first": tuple(in_query_order[:1])}[self.select]
        mask = np.any(self._masks(image, chosen), axis=0)
        if not mask.any():
            return StageError(STAGE, f"the mask for {prompt!r} is empty")
        return Segmentation(mask, ranked)

    @torch.no_grad()
    def _detect(self, image: Image.Image, prompt: str) -> list[Box]:
        """Boxes above the thresholds in the detector's order; the raw scores are cached, so thresholds cost nothing."""
        text = prompt.strip().strip(".").lower()
        processor = self.context.pool.processor(GroundingDinoProcessor, self.grounding_dino)
        window = self.context.pool.processor(GroundingDinoConfig, self.grounding_dino).max_text_len
        inputs = processor(images=image, text=[[text]], truncation=True, max_length=window, return_tensors="pt")
        key = StageCache.key("boxes", 1, image=hash_image(image), text=text, model=self.grounding_dino.fingerprint)
        raw = self.context.cache.get("boxes", key)
        if raw is None:
            model = self.context.pool.model(GroundingDinoForObjectDetection, self.grounding_dino, self.context.device)
            out = model(**inputs.to(self.context.device, model.dtype))
            raw = {"logits": out.logits[0].float().cpu(), "pred_boxes": out.pred_boxes[0].float().cpu()}
            self.context.cache.put("boxes", key, raw)
        if not bool((raw["logits"].sigmoid() > self.box_threshold).any()):
            return []  # which the processor cannot decode
        (found,) = processor.post_process_grounded_object_detection(
            _Raw(raw["logits"][None], raw["pred_boxes"][None]),
            inputs.input_ids.cpu(),
            threshold=self.box_threshold,
            text_threshold=self.text_threshold,
            target_sizes=[(image.height, image.width)],
        )
        corners = found["boxes"].clamp(min=0).tolist()
        return [
            Box(min(x1, image.width), min(y1, image.height), min(x2, image.width), min(y2, image.height), score, phrase)
            for (x1, y1, x2, y2), score, phrase in zip(
                corners, found["scores"].tolist(), found["text_labels"], strict=True
            )
        ]

    @torch.no_grad()
    def _masks(self, image: Image.Image, boxes: Sequence[Box]) -> Bool[np.ndarray, "n h w"]:
        """SAM's one mask for each box (``multimask_output=False``, as the released code)."""
        corners = [[box.x1, box.y1, box.x2, box.y2] for box in boxes]
        key = StageCache.key("masks", 1, image=hash_image(image), boxes=corners, model=self.sam.fingerprint)
        kept = self.context.cache.get("masks", key)
        if kept is None:
            model = self.context.pool.model(SamModel, self.sam, self.context.device)
            processor = self.context.pool.processor(SamProcessor, self.sam)
            inputs = processor(images=image, input_boxes=[corners], return_tensors="pt")
            out = model(
                pixel_values=inputs.pixel_values.to(self.context.device, model.dtype),
                input_boxes=inputs.input_boxes.to(self.context.device, model.dtype),
                multimask_output=False,
            )
            (masks,) = processor.post_process_masks(
                out.pred_masks.float().cpu(), inputs.original_sizes, inputs.reshaped_input_sizes
            )
            kept = {"masks": masks[:, 0].bool()}
            self.context.cache.put("masks", key, kept)
        found: np.ndarray = kept["masks"].numpy()
        return found


@dataclass
class _Raw:
    """The two fields of the detector's output that its processor reads."""

    logits: Tensor
    pred_boxes: Tensor
