"""Picturebook's CLIP: for the metrics, and the judge of what an edited region shows.

It is trained on drawn scenes only, not on edits. Blur is added so that it is robust to the autoencoder's softness.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

from data.picturebook.phrases import BACKGROUND_CAPTION, article, part_phrase, sample_caption, thing_phrase
from data.picturebook.training.cards import write_card
from data.picturebook.training.loop import Component, TrainConfig
from data.picturebook.training.scenes import pictures, scene
from data.picturebook.training.tokenizers import TEXT_WINDOW, clip_tokenizer
from data.picturebook.world import NOUNS, SIZE, WEARABLES, Scene, box, mask
from instructedit.images import panel

IMAGE = 64


def square(region_box: tuple[float, float, float, float], margin: float = 0.15) -> tuple[int, int, int, int]:
    """Return a square around a box, wider by ``margin`` on each side, inside the picture; corners in pixels."""
    x1, y1, x2, y2 = region_box
    side = min(SIZE, max(x2 - x1, y2 - y1) * (1 + 2 * margin), SIZE)
    left = min(max((x1 + x2 - side) / 2, 0), SIZE - side)
    top = min(max((y1 + y2 - side) / 2, 0), SIZE - side)
    return round(left), round(top), round(left + side), round(top + side)


def sample_crop(drawn: Scene, rng: np.random.Generator) -> tuple[tuple[int, int, int, int], str]:
    """Sample a square crop of a scene (corners in pixels) and its caption: a thing, a part, or the background."""
    if not drawn.things or rng.random() < 0.08:
        for _ in range(4):
            side = rng.uniform(30, 60)
            x, y = rng.uniform(0, SIZE - side, 2)
            if all(abs(t.x - x - side / 2) + abs(t.y - y - side / 2) > (t.size + side) * 0.6 for t in drawn.things):
                return (int(x), int(y), int(x + side), int(y + side)), f"photo of an {BACKGROUND_CAPTION}"
    if not drawn.things:
        return (0, 0, SIZE, SIZE), f"photo of an {BACKGROUND_CAPTION}"
    index = int(rng.integers(len(drawn.things)))
    thing = drawn.things[index]
    style = drawn.style if rng.random() < 0.5 else "photo"
    if thing.parts and rng.random() < 0.5:
        part = thing.parts[int(rng.integers(len(thing.parts)))]
        region = mask(drawn, index, part.noun)
        words = part_phrase(part) if rng.random() < 0.6 else part.noun
        if region.any():
            return square(box(region), rng.uniform(0.05, 0.4)), f"{style} of {article(words)}"
    words = thing_phrase(thing, colour=rng.random() < 0.6, parts=rng.random() < 0.6)
    return square(box(mask(drawn, index)), rng.uniform(0.0, 0.3)), f"{style} of {words}"


def soften(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Blur or downsample an image at random, to imitate a decoder."""
    roll = rng.random()
    if roll < 0.35:
        return image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.6))))
    if roll < 0.5:
        small = max(16, int(min(image.size) * rng.uniform(0.35, 0.8)))
        return image.resize((small, small), Image.Resampling.BILINEAR)
    return image


class Clip(Component):
    """Contrastive training on scenes, crops and captions."""

    name = "clip"

    def __init__(self, config: TrainConfig, work: Path, models: Path) -> None:
        super().__init__(config, work, models)
        self.tokenizer = clip_tokenizer()
        shape = {"intermediate_size": 320, "num_attention_heads": 4, "hidden_size": 128}
        special = {k: getattr(self.tokenizer, k) for k in ("bos_token_id", "eos_token_id", "pad_token_id")}
        text = {"vocab_size": len(self.tokenizer), "max_position_embeddings": TEXT_WINDOW, "num_hidden_layers": 2}
        vision = {"image_size": IMAGE, "patch_size": 8, "num_hidden_layers": 4}
        self.model = CLIPModel(
            CLIPConfig(text_config=text | shape | special, vision_config=vision | shape, projection_dim=128)
        ).to(self.device)
        self.processor = CLIPImageProcessorPil(
            size={"shortest_edge": IMAGE}, crop_size={"height": IMAGE, "width": IMAGE}
        )
        self.images = {
            s: pictures(s, n, work.parent) for s, n in (("train", config.scenes), ("held_out", config.held_out))
        }

    def modules(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def _forward(self, images: list[Image.Image], captions: list[str]) -> Any:
        tokens = self.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").to(self.device)
        pixels = self.processor(images=images, return_tensors="pt").pixel_values.to(self.device)
        return self.model(pixel_values=pixels, **tokens)

    def loss(self, step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng([self.config.seed, 41, step])
        images, captions = [], []
        for index in rng.integers(self.config.scenes, size=self.config.batch_size).tolist():
            drawn, picture = scene("train", index), Image.fromarray(self.images["train"][index])
            if rng.random() < 0.6:
                corners, caption = sample_crop(drawn, rng)
                picture = picture.crop(corners)
            else:
                caption = sample_caption(drawn, rng)
            images.append(soften(picture, rng))
            captions.append(caption)
        out = self._forward(images, captions)
        # Equal captions match each other's pictures, so the target is distributed over them.
        same = torch.tensor([[a == b for b in captions] for a in captions], dtype=torch.float, device=self.device)
        target = same / same.sum(1, keepdim=True)
        logits = out.logits_per_image
        return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2, {}

    def _choices(self, images: list[Image.Image], captions: list[str]) -> np.ndarray:
        logits = [self._forward(images[i : i + 64], captions).logits_per_image for i in range(0, len(images), 64)]
        return torch.cat(logits).argmax(1).cpu().numpy()

    def _crops(self, parts: bool) -> tuple[list[Image.Image], list[str]]:
        images, nouns = [], []
        for i in range(self.config.held_out):
            drawn, picture = scene("held_out", i), Image.fromarray(self.images["held_out"][i])
            for k, thing in enumerate(drawn.things):
                for noun in [p.noun for p in thing.parts] if parts else [None]:
                    region = mask(drawn, k, noun)
                    if region.sum() > 40 and not thing.mixed_with:
                        images.append(picture.crop(square(box(region))))
                        nouns.append(noun or thing.noun)
        return images, nouns

    def evaluate(self) -> dict[str, float]:
        scores = {}
        for name, parts, among in (("things", False, NOUNS), ("parts", True, WEARABLES)):
            images, nouns = self._crops(parts)
            chosen = self._choices(images, [f"photo of {article(n)}" for n in among])
            scores[f"crop_choice_{name}"] = float(np.mean([among[c] == n for c, n in zip(chosen, nouns, strict=True)]))
        rng = np.random.default_rng(0)
        captions = [sample_caption(scene("held_out", i), rng) for i in range(100)]
        chosen = self._choices([Image.fromarray(a) for a in self.images["held_out"][:100]], captions)
        scores["caption_among_100"] = float(np.mean([captions[c] == captions[i] for i, c in enumerate(chosen)]))
        return scores

    def sheet(self) -> Image.Image:
        images, _ = self._crops(False)
        chosen = self._choices(images[:14], [f"photo of {article(n)}" for n in NOUNS])
        return panel(images[:14], [NOUNS[c] for c in chosen], side=128)

    def save(self, scores: dict[str, Any]) -> None:
        folder = self.models / "clip"
        self.model.half().save_pretrained(folder)
        self.model.float()
        self.tokenizer.save_pretrained(folder)
        self.processor.save_pretrained(folder)
        write_card(
            folder,
            "Picturebook CLIP",
            "CLIPModel of 64 x 64 pixels; metrics and judge. Trained on drawn scenes alone.",
            scores,
        )
