"""Picturebook's inpainting UNet: its input is the latents, a mask, and the latents of the masked picture.

Like Stable Diffusion's inpainting model, it is initialised with the text-to-image UNet, with new channels at zero,
shares the text encoder, and is trained on random masks, some of which cover the whole picture.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from jaxtyping import Bool
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModel, CLIPTokenizer

from baselines.sd_inpainting import InpaintingEditor
from data.picturebook.judge import inpainting_scores
from data.picturebook.phrases import answer_remove, article, references, sample_caption, thing_phrase
from data.picturebook.training.cards import write_card
from data.picturebook.training.denoising import Denoising, widened
from data.picturebook.training.loop import TrainConfig
from data.picturebook.training.scenes import pictures, scene, to_tensor
from data.picturebook.world import NOUNS, SIZE, Scene, Thing, mask, swap
from instructedit.diffusion import encode, encode_text
from instructedit.editor import Edited, grow
from instructedit.images import overlay, panel
from instructedit.types import Captions, EditRequest

EVERYTHING, SCRIBBLED = 0.2, 0.25
"""Shares of masks that cover the whole picture, and of random strokes and boxes; the others cover a named object."""


def scribble(rng: np.random.Generator) -> Bool[np.ndarray, "128 128"]:
    """Sample a mask of a few thick strokes and boxes."""
    image = Image.new("1", (SIZE, SIZE))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(1, 4)):
        x1, y1, x2, y2 = (float(v) for v in rng.uniform(0, SIZE, 4))
        if rng.random() < 0.5:
            draw.rectangle((min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)), fill=1)
        else:
            draw.line((x1, y1, *rng.uniform(0, SIZE, 2), x2, y2), fill=1, width=int(rng.integers(8, 40)))
    return np.asarray(image)


def hidden(drawn: Scene, rng: np.random.Generator) -> tuple[Bool[np.ndarray, "128 128"], str]:
    """Sample a mask for a scene and a caption of the masked region."""
    roll, named = rng.random(), references(drawn)
    if roll < EVERYTHING:
        return np.ones((SIZE, SIZE), dtype=bool), sample_caption(drawn, rng)
    if roll < EVERYTHING + SCRIBBLED or not named:
        return scribble(rng), sample_caption(drawn, rng)
    reference = named[int(rng.integers(len(named)))]
    region = np.zeros((SIZE, SIZE), dtype=bool)
    for index in reference.indices:
        region |= mask(drawn, index, reference.part.noun if reference.part else None)
        if reference.part is None:
            # The outline of another thing is added. Otherwise the model would infer the new object from the outline of
            # the mask, which in an edit is that of the old object.
            other = swap(drawn.things, index, _stand_in(drawn.things[index], rng))
            region |= mask(Scene(drawn.seed, drawn.style, drawn.background, other), index)
    style = drawn.style if rng.random() < 0.6 else "photo"
    only = drawn.things[reference.indices[0]]
    if reference.part is None and len(reference.indices) == 1 and (only.parts or only.mixed_with or rng.random() < 0.3):
        caption = f"{style} of {thing_phrase(only)}"
    else:
        caption = answer_remove(reference.phrase, many=len(reference.indices) > 1).input.replace("photo", style, 1)
    return grow(region, int(rng.integers(0, 12))), caption


def _stand_in(thing: Thing, rng: np.random.Generator) -> Thing:
    return Thing(str(rng.choice(NOUNS)), thing.x, thing.y, thing.size)


class Inpainting(Denoising):
    """Noise prediction given a mask, the masked picture, and a caption."""

    name = "inpainting"

    def __init__(
        self, config: TrainConfig, work: Path, models: Path, options: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        super().__init__(config, work, models, options)
        torch.manual_seed(config.seed)
        self.tokenizer = CLIPTokenizer.from_pretrained(models / "diffusion" / "tokenizer")
        self.text_encoder = self.shipped(CLIPTextModel, "text_encoder")
        self.unet = widened(self.shipped(UNet2DConditionModel, "unet"), 2 * self.channels + 1).to(self.device)
        self.images = pictures("train", config.scenes, work.parent)
        self.latents = self.split_latents("train", config.scenes)

    def modules(self) -> dict[str, nn.Module]:
        return {"unet": self.unet}

    def _denoise(
        self,
        images: np.ndarray,
        latents: np.ndarray,
        masks: np.ndarray,
        captions: list[str],
        generator: torch.Generator,
        drawn: Sequence[Scene] | None = None,
    ) -> Tensor:
        noisy, noise, t = self.noised(torch.from_numpy(np.array(latents)), generator)
        hole = torch.from_numpy(masks).to(self.device)[:, None]
        with torch.no_grad():
            masked_latents = encode(self.vae, to_tensor(images).to(self.device) * ~hole)
            states = encode_text(self.tokenizer, self.text_encoder, captions)
        # The mask is reduced to the latent grid by nearest neighbour, as in diffusers' pipeline.
        latent_hole = functional.interpolate(hole.float(), size=noisy.shape[-2:])
        unet_input = torch.cat([noisy, latent_hole, masked_latents], dim=1)
        return self.weighted(self.unet(unet_input, t, encoder_hidden_states=states).sample, noise, t, drawn)

    def loss(self, step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng([self.config.seed, 9, step])
        picks = np.sort(rng.choice(self.config.scenes, self.config.batch_size, replace=False))
        drawn = [scene("train", int(i)) for i in picks]
        pairs = [hidden(s, rng) for s in drawn]
        captions = ["" if rng.random() < 0.1 else c for _, c in pairs]
        masks = np.stack([m for m, _ in pairs])
        each = self._denoise(self.images[picks], self.latents[picks], masks, captions, generator, drawn)
        return each.mean(), {}

    def evaluate(self) -> dict[str, float]:
        rng, count = np.random.default_rng(0), self.config.held_out
        pairs = [hidden(scene("held_out", i), rng) for i in range(count)]
        images, latents = pictures("held_out", count, self.work.parent), self.split_latents("held_out", count)
        masks, captions = np.stack([m for m, _ in pairs]), [c for _, c in pairs]
        losses = {
            name: self._denoise(images, latents, masks, words, torch.Generator().manual_seed(0)).mean().item()
            for name, words in (("weighted_loss", captions), ("weighted_loss_without_caption", [""] * count))
        }
        with self.as_saved() as (context, checkpoint):
            return losses | inpainting_scores(context, checkpoint, self.config.judged)

    def sheet(self) -> Image.Image:
        rng = np.random.default_rng(1)
        images = pictures("held_out", self.config.held_out, self.work.parent)[:12]
        regions = [hidden(scene("held_out", i), rng)[0] for i in range(len(images))]
        captions = [f"photo of {article(str(rng.choice(NOUNS)))}" for _ in regions]
        requests = [EditRequest(str(i), Image.fromarray(image), "") for i, image in enumerate(images)]
        with self.as_saved() as (context, checkpoint):
            editor = InpaintingEditor(context, checkpoint, steps=30)
            answers = editor.edit(requests, [Captions("", c) for c in captions], regions)
        pictures_ = list[tuple[Image.Image, str]]()
        for request, region, caption, answer in zip(requests, regions, captions, answers, strict=True):
            edited = answer.image if isinstance(answer, Edited) else request.image
            pictures_ += [(overlay(request.image, region), caption), (edited, "")]
        return panel([image for image, _ in pictures_], [text for _, text in pictures_], side=128)

    def save(self, scores: dict[str, Any]) -> None:
        folder = self.models / "inpainting"
        self.save_parts(folder, torch.float16)
        text = (
            f"UNet2DConditionModel with {2 * self.channels + 1} input channels, from the text-to-image UNet (new "
            f"channels at zero), on random masks: {EVERYTHING:.0%} hide everything, {SCRIBBLED:.0%} are strokes and "
            "boxes, the others hide what the caption names, with another thing's outline added. The other parts are "
            "the text-to-image model's."
        )
        write_card(folder / "unet", "Picturebook inpainting UNet", text, scores)

    def save_parts(self, folder: Path, dtype: torch.dtype) -> None:
        """Write the UNet; the other parts are the text-to-image model's."""
        self.unet.to(dtype).save_pretrained(folder / "unet", max_shard_size="15MB")
        self.unet.float()
