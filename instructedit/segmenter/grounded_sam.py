"""Grounding DINO, SAM and their successors on transformers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from PIL import Image
from torch import Tensor
from transformers import (
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoProcessor,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
    Sam2Model,
    Sam2Processor,
    SamModel,
    SamProcessor,
)

from instructedit.cache import StageCache, hash_image
from instructedit.models import Checkpoint, Context
from instructedit.segmenter.base import Segmenter, boxes_inside, required
from instructedit.types import Box, Stage


class GroundedSam(Segmenter):
    """Grounded Segment Anything on transformers.

    The defaults are those of the released code (box threshold 0.3, text threshold 0.25), except for ``select``: the
    released command line uses the first box in the detector's order. ``union`` also handles plurals ("the oranges"); if
    one box is found, all choices are equal.

    Args:
        context: Models, cache and device.
        grounding_dino: Checkpoint of GroundingDinoForObjectDetection with its processor.
        sam: Checkpoint of SamModel with its processor.
        box_threshold: See :class:`Segmenter`.
        text_threshold: See :class:`Segmenter`.
        select: See :class:`Segmenter`.
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
        detector, masker = partial(GroundingDino, checkpoint=grounding_dino), partial(Sam, checkpoint=sam)
        super().__init__(context, detector, masker, box_threshold, text_threshold, select)


class GroundingDino:
    """Boxes by Grounding DINO (Liu et al., 2023).

    Args:
        context: Models, cache and device.
        checkpoint: GroundingDinoForObjectDetection with its processor.
    """

    MODEL = GroundingDinoForObjectDetection
    CONFIG = GroundingDinoConfig

    def __init__(self, context: Context, checkpoint: Checkpoint) -> None:
        self.context, self.checkpoint = context, checkpoint

    @torch.no_grad()
    def detect(self, image: Image.Image, prompt: str, box_threshold: float, text_threshold: float) -> list[Box]:
        """Return the boxes above ``box_threshold`` in query order; raw scores are cached, so all thresholds share them.

        See :class:`instructedit.segmenter.base.Detector`.
        """
        text = prompt.strip().strip(".").lower()
        processor = self.context.pool.processor(GroundingDinoProcessor, self.checkpoint)
        window = self.context.pool.processor(self.CONFIG, self.checkpoint).max_text_len
        # A list of labels must not contain dots; for a prompt without dots, this text gives the same tokens.
        inputs = processor(images=image, text=[f"{text}."], truncation=True, max_length=window, return_tensors="pt")
        key = StageCache.key(Stage.BOXES, 1, image=hash_image(image), text=text, model=self.checkpoint.fingerprint)
        (raw,), _ = self.context.cache.once(Stage.BOXES, [key], lambda _: [self._raw(inputs)])
        if not bool((raw["logits"].sigmoid() > box_threshold).any()):
            return []  # the processor fails if no box is left
        (detections,) = processor.post_process_grounded_object_detection(
            _Raw(raw["logits"][None], raw["pred_boxes"][None]),
            inputs.input_ids.cpu(),
            threshold=box_threshold,
            text_threshold=text_threshold,
            target_sizes=[(image.height, image.width)],
        )
        return boxes_inside(image, detections["boxes"], detections["scores"], detections["text_labels"])

    def _raw(self, inputs: Any) -> dict[str, Tensor]:
        model = self.context.pool.model(self.MODEL, self.checkpoint, self.context.device)
        out = model(**inputs.to(self.context.device, model.dtype))
        return {"logits": out.logits[0].float().cpu(), "pred_boxes": out.pred_boxes[0].float().cpu()}


class MMGroundingDino(GroundingDino):
    """Boxes by MM Grounding DINO (Zhao et al., 2024), which was retrained on more data, or by LLMDet.

    Args:
        context: Models, cache and device.
        checkpoint: MMGroundingDinoForObjectDetection with its processor, which is Grounding DINO's.
    """

    MODEL = MMGroundingDinoForObjectDetection
    CONFIG = MMGroundingDinoConfig

    def __init__(self, context: Context, checkpoint: Checkpoint | None) -> None:
        super().__init__(context, required(checkpoint, "mm_grounding_dino", "folder of MMGroundingDino"))


@dataclass
class _Raw:
    """The two fields of the detector's output that its processor reads."""

    logits: Tensor
    pred_boxes: Tensor


class Sam:
    """Masks by SAM (Kirillov et al., 2023), one for each box (``multimask_output=False``, as the released code).

    Args:
        context: Models, cache and device.
        checkpoint: SamModel with its processor.
    """

    MODEL = SamModel
    PROCESSOR = SamProcessor

    def __init__(self, context: Context, checkpoint: Checkpoint) -> None:
        self.context, self.checkpoint = context, checkpoint

    @torch.no_grad()
    def masks(self, image: Image.Image, boxes: Sequence[Box]) -> Bool[np.ndarray, "n h w"]:
        """Return one mask per box, of the image's size."""
        corners = [[box.x1, box.y1, box.x2, box.y2] for box in boxes]
        key = StageCache.key(Stage.MASKS, 1, image=hash_image(image), boxes=corners, model=self.checkpoint.fingerprint)
        (entry,), _ = self.context.cache.once(Stage.MASKS, [key], lambda _: [{"masks": self._masks(image, corners)}])
        result: np.ndarray = entry["masks"].numpy()
        return result

    def _masks(self, image: Image.Image, corners: list[list[float]]) -> Bool[Tensor, "n h w"]:
        model = self.context.pool.model(self.MODEL, self.checkpoint, self.context.device)
        processor = self.context.pool.processor(self.PROCESSOR, self.checkpoint)
        inputs = processor(images=image, input_boxes=[corners], return_tensors="pt")
        out = model(
            pixel_values=inputs.pixel_values.to(self.context.device, model.dtype),
            input_boxes=inputs.input_boxes.to(self.context.device, model.dtype),
            multimask_output=False,
        )
        # SAM's processor pads and needs both sizes; SAM 2's stretches and needs the original one.
        sizes = [inputs[name] for name in ("original_sizes", "reshaped_input_sizes") if name in inputs]
        (masks,) = processor.post_process_masks(out.pred_masks.float().cpu(), *sizes)
        found: Tensor = masks[:, 0].bool()
        return found


class Sam2(Sam):
    """Masks by SAM 2 (Ravi et al., 2024) or SAM 2.1.

    Args:
        context: Models, cache and device.
        checkpoint: Sam2Model with its processor.
    """

    MODEL = Sam2Model
    PROCESSOR = Sam2Processor

    def __init__(self, context: Context, checkpoint: Checkpoint | None) -> None:
        super().__init__(context, required(checkpoint, "sam2", "folder of Sam2Model"))
