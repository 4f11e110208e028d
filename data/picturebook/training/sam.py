"""Picturebook's mask predictor: SAM, trained to predict the mask of the object in a box."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    SamConfig,
    SamImageProcessor,
    SamMaskDecoderConfig,
    SamModel,
    SamProcessor,
    SamPromptEncoderConfig,
    SamVisionConfig,
)

from data.picturebook.training.cards import write_card
from data.picturebook.training.loop import Component, TrainConfig
from data.picturebook.training.scenes import pictures, scene
from data.picturebook.world import SIZE, box, mask
from instructedit.images import overlay, panel

HIDDEN = 64
JITTER = 0.18
"""Maximum shift of a box's corners in training, as a share of its sides, because a detector's boxes are inexact."""

BOXES = 3
"""Number of boxes per picture in a training step."""


def jitter(corners: tuple[float, ...], rng: np.random.Generator) -> tuple[float, ...]:
    """Shift a box's corners at random, to imitate a detector's errors."""
    x1, y1, x2, y2 = corners
    shift = rng.uniform(-JITTER, JITTER, 4) * np.array([x2 - x1, y2 - y1, x2 - x1, y2 - y1])
    return tuple(np.clip(np.array(corners) + shift, 0, SIZE).tolist())


def targets(split: str, index: int) -> list[np.ndarray]:
    """Return the masks of all things of a scene and of their parts."""
    drawn = scene(split, index)
    masks = [mask(drawn, i) for i in range(len(drawn.things))]
    masks += [mask(drawn, i, p.noun) for i, t in enumerate(drawn.things) for p in t.parts]
    return [m for m in masks if m.sum() >= 16]


class Sam(Component):
    """SAM, trained on jittered boxes with Dice loss and cross-entropy."""

    name = "sam"

    def __init__(self, config: TrainConfig, work: Path, models: Path) -> None:
        super().__init__(config, work, models)
        patch = 8
        vision = SamVisionConfig(
            hidden_size=80,
            output_channels=HIDDEN,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=SIZE,
            patch_size=patch,
            window_size=8,
            global_attn_indexes=[2],
            mlp_dim=240,
            num_pos_feats=HIDDEN // 2,
        )
        prompt = SamPromptEncoderConfig(hidden_size=HIDDEN, image_size=SIZE, patch_size=patch, mask_input_channels=8)
        decoder = SamMaskDecoderConfig(
            hidden_size=HIDDEN, mlp_dim=192, num_hidden_layers=2, num_attention_heads=4, iou_head_hidden_dim=64
        )
        self.model = SamModel(
            SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
        )
        # The frequencies of the positional encoding have scale 1 in the original code. transformers samples them with
        # half the hidden size as scale (40 here), so the codes of neighbouring pixels are unrelated and the decoder
        # ignores its boxes (IoU 0.45).
        with torch.no_grad():
            self.model.shared_image_embedding.positional_embedding /= vision.scale
        self.model.to(self.device)
        side = SIZE // 2
        self.processor = SamProcessor(
            SamImageProcessor(
                size={"longest_edge": SIZE},
                mask_size={"longest_edge": side},
                pad_size={"height": SIZE, "width": SIZE},
                mask_pad_size={"height": side, "width": side},
            )
        )
        self.images = {
            s: pictures(s, n, work.parent) for s, n in (("train", config.scenes), ("held_out", config.held_out))
        }

    def modules(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def _predict(self, split: str, indices: list[int], boxes: list[list[tuple[float, ...]]]) -> Tensor:
        """Return mask logits [b, boxes, h, w] at the decoder's resolution, a quarter of a patch."""
        images = [Image.fromarray(self.images[split][i]) for i in indices]
        corners = [[list(b) for b in of_image] for of_image in boxes]
        inputs = self.processor(images=images, input_boxes=corners, return_tensors="pt")
        out = self.model(
            pixel_values=inputs.pixel_values.to(self.device),
            input_boxes=inputs.input_boxes.float().to(self.device),
            multimask_output=False,
        )
        logits: Tensor = out.pred_masks[:, :, 0]
        return logits

    def loss(self, step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng([self.config.seed, 31, step])
        indices: list[int] = []
        boxes: list[list[tuple[float, ...]]] = []
        masks: list[np.ndarray] = []
        while len(indices) < self.config.batch_size:
            index = int(rng.integers(self.config.scenes))
            candidates = targets("train", index)
            if not candidates:
                continue
            # Several boxes per image share one run of the image encoder.
            chosen = [candidates[k] for k in rng.integers(len(candidates), size=BOXES)]
            indices.append(index)
            boxes.append([jitter(box(m), rng) for m in chosen])
            masks.append(np.stack(chosen))
        logits = self._predict("train", indices, boxes)
        truth = torch.from_numpy(np.stack(masks)).float().to(self.device)
        truth = functional.interpolate(truth, size=logits.shape[-2:], mode="area")
        probability = logits.sigmoid()
        overlap = (probability * truth).sum((2, 3))
        dice = 1 - (2 * overlap + 1) / (probability.sum((2, 3)) + truth.sum((2, 3)) + 1)
        entropy = functional.binary_cross_entropy_with_logits(logits, truth)
        return dice.mean() + 5 * entropy, {"dice": 1 - dice.mean().item()}

    def _masks(self, indices: list[int], boxes: list[tuple[float, ...]]) -> np.ndarray:
        logits = self._predict("held_out", indices, [[b] for b in boxes])
        full = functional.interpolate(logits, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
        return (full[:, 0] > 0).cpu().numpy()

    def _asked(self, count: int) -> list[tuple[int, np.ndarray]]:
        return [(i, m) for i in range(self.config.held_out) for m in targets("held_out", i)][:count]

    def evaluate(self) -> dict[str, float]:
        samples, ious, sizes = self._asked(800), [], []
        for start in range(0, len(samples), 50):
            chunk = samples[start : start + 50]
            for (_, truth), given in zip(
                chunk, self._masks([i for i, _ in chunk], [box(m) for _, m in chunk]), strict=True
            ):
                ious.append((truth & given).sum() / (truth | given).sum())
                sizes.append(truth.sum())
        small = np.array(sizes) < 400
        return {
            "iou_from_true_box": float(np.mean(ious)),
            "iou_below_400_pixels": float(np.array(ious)[small].mean()),
            "share_over_0.85": float((np.array(ious) > 0.85).mean()),
        }

    def sheet(self) -> Image.Image:
        samples = self._asked(14)
        masks = self._masks([i for i, _ in samples], [box(m) for _, m in samples])
        pictures_ = [
            overlay(Image.fromarray(self.images["held_out"][i]), m) for (i, _), m in zip(samples, masks, strict=True)
        ]
        ious = [(t & m).sum() / (t | m).sum() for (_, t), m in zip(samples, masks, strict=True)]
        return panel(pictures_, [f"IoU {v:.2f}" for v in ious], side=128)

    def save(self, scores: dict[str, Any]) -> None:
        folder = self.models / "sam"
        self.model.half().save_pretrained(folder)
        self.model.float()
        self.processor.save_pretrained(folder)
        write_card(
            folder, "Picturebook SAM", "SamModel with a small ViT: a box becomes the mask of what fills it.", scores
        )
