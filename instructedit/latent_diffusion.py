"""A Stable Diffusion checkpoint and the stages that every method on it shares."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoModel,
    DDIMScheduler,
    DiffusionPipeline,
    EulerAncestralDiscreteScheduler,
    UNet2DConditionModel,
)
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from transformers import AutoTokenizer, CLIPTextModel, CLIPTextModelWithProjection

from instructedit import diffusion
from instructedit.cache import StageCache, hash_image
from instructedit.diffusion import Autoencoder, Condition
from instructedit.files import digest
from instructedit.models import Checkpoint, Context
from instructedit.types import EditRequest, Stage

SAMPLERS: dict[str, Any] = {"ddim": DDIMScheduler, "euler_ancestral": EulerAncestralDiscreteScheduler}


class LatentDiffusion:
    """A Stable Diffusion folder (vae, unet, text_encoder, tokenizer, scheduler), each part loaded when first needed.

    Versions 1 and 2, which predict epsilon or v, and SDXL, which has a second text_encoder_2 and tokenizer_2.
    """

    def __init__(self, context: Context, checkpoint: Checkpoint) -> None:
        self.context, self.checkpoint = context, checkpoint

    def _part(self, kind: Any, name: str) -> Any:
        return self.context.pool.model(kind, self.checkpoint, self.context.device, subfolder=name)

    @cached_property
    def is_xl(self) -> bool:
        """Whether it is an SDXL."""
        return (self.checkpoint.folder / "text_encoder_2").is_dir()

    @property
    def unet(self) -> UNet2DConditionModel:
        """The noise predictor."""
        return self._part(UNet2DConditionModel, "unet")

    @property
    def vae(self) -> Autoencoder:
        """The autoencoder, of the class that its configuration names.

        SDXL's is in float32 where the other parts are in float16, in which its activations overflow.
        """
        if self.is_xl and self.checkpoint.dtype == "float16":
            full = replace(self.checkpoint, dtype="float32")
            return self.context.pool.model(AutoModel, full, self.context.device, subfolder="vae")
        return self._part(AutoModel, "vae")

    @property
    def scheduler(self) -> DDIMScheduler:
        """The noise schedule."""
        return self.context.pool.processor(DDIMScheduler, self.checkpoint, "scheduler")

    @property
    def vae_scale_factor(self) -> int:
        """Pixels per latent along each side."""
        return diffusion.vae_scale_factor(self.vae)

    @property
    def sample_size(self) -> int:
        """The side in pixels that the noise predictor was trained at."""
        return int(self.unet.config["sample_size"]) * self.vae_scale_factor

    def size(self, image: Image.Image) -> tuple[int, int]:
        """The size (width, height) to work at: the longest side ``sample_size``, both multiples of a latent's."""
        scale, unit = self.sample_size / max(image.size), self.vae_scale_factor
        width, height = (max(unit, round(side * scale / unit) * unit) for side in image.size)
        return width, height

    def embed(self, prompts: Sequence[str]) -> Condition:
        """Captions as the noise predictor's condition; an empty one stands for no caption."""
        first = self._part(CLIPTextModel, "text_encoder")
        if not self.is_xl:
            return Condition(diffusion.encode_text(self._tokenizer("tokenizer"), first, prompts))
        second = self._part(CLIPTextModelWithProjection, "text_encoder_2")
        tokenizers = self._tokenizer("tokenizer"), self._tokenizer("tokenizer_2")
        found = replace(
            diffusion.encode_text_xl(tokenizers, (first, second), prompts), vae_scale_factor=self.vae_scale_factor
        )
        if not self._empty_is_zero or found.pooled is None:
            return found
        said = torch.tensor([bool(p) for p in prompts], device=found.states.device).to(found.states.dtype)
        return replace(found, states=found.states * said[:, None, None], pooled=found.pooled * said[:, None])

    def _tokenizer(self, name: str) -> Any:
        return self.context.pool.processor(AutoTokenizer, self.checkpoint, name)

    @cached_property
    def _empty_is_zero(self) -> bool:
        """Whether no caption is all zeros, as SDXL learnt it, or the empty one's embedding."""
        if not (self.checkpoint.folder / "model_index.json").is_file():
            return True  # as the pipeline assumes where nothing is said
        return bool(DiffusionPipeline.load_config(self.checkpoint.folder).get("force_zeros_for_empty_prompt", True))

    def groups(self, images: Sequence[Image.Image]) -> list[list[int]]:
        """Indices of the images that go through the network together: those of one working size."""
        by_size: dict[tuple[int, int], list[int]] = {}
        for index, image in enumerate(images):
            by_size.setdefault(self.size(image), []).append(index)
        return list(by_size.values())

    def pixels(self, images: Sequence[Image.Image]) -> Float[Tensor, "b 3 H W"]:
        """Images of one working size, resized to it, in [-1, 1]."""
        return self.tensor([i.resize(self.size(i), Image.Resampling.LANCZOS) for i in images])

    def tensor(self, images: Sequence[Image.Image]) -> Float[Tensor, "b 3 H W"]:
        """Images of one size, as they are, in [-1, 1]."""
        stacked = torch.from_numpy(np.stack([np.asarray(i) for i in images]))
        # Contiguous, or the layout would travel on: a cached trajectory comes back contiguous, and other layouts are
        # summed by other kernels, in another order.
        pixels = stacked.permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1
        return pixels.to(self.context.device, self.vae.dtype)

    def encode(self, images: Sequence[Image.Image]) -> Float[Tensor, "b c h w"]:
        """Images of one working size to latents."""
        return self.encode_pixels(self.pixels(images))

    def encode_unscaled(self, images: Sequence[Image.Image]) -> Float[Tensor, "b c h w"]:
        """Images of one size, as they are, to latents without the scaling factor."""
        return diffusion.encode_unscaled(self.vae, self.tensor(images)).to(self.unet.dtype)

    def encode_pixels(self, pixels: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b c h w"]:
        """Pixels in [-1, 1] to latents, in the noise predictor's precision."""
        return diffusion.encode(self.vae, pixels).to(self.unet.dtype)

    def decode(self, latents: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 3 H W"]:
        """Latents to images in [-1, 1]."""
        return diffusion.decode(self.vae, latents.to(self.vae.dtype)).float()

    def sampler(self, name: str, steps: int) -> Any:
        """A sampler of diffusers (a key of :data:`SAMPLERS`) on this checkpoint's noise schedule, set to ``steps``."""
        # A copy: samplers remember where they are.
        made = SAMPLERS[name].from_config(
            self.context.pool.processor(SAMPLERS[name], self.checkpoint, "scheduler").config
        )
        made.set_timesteps(steps, device=self.context.device)
        return made

    def guided(
        self, captions: Sequence[str], guidance_scale: float, unconditional: Condition | None = None
    ) -> diffusion.NoisePredictor:
        """Noise prediction with classifier-free guidance; without a second evaluation where the scale is 1.

        Args:
            captions: One for each sample.
            guidance_scale: 1 is none.
            unconditional: Takes the empty caption's place, if it is given.
        """
        states = self.embed(captions)
        if guidance_scale == 1:
            return diffusion.conditional(self.unet, self.scheduler, states)
        if unconditional is None:
            unconditional = self.embed([""] * len(captions))
        return diffusion.guided(self.unet, self.scheduler, states, unconditional, guidance_scale)

    def invert(
        self, images: Sequence[Image.Image], captions: Sequence[str], steps: int, guidance_scale: float = 1.0
    ) -> tuple[Float[Tensor, "levels b c h w"], list[int]]:
        """The whole DDIM trajectory of each image under its caption, and the evaluations that each cost.

        Cached by image, caption, steps, guidance and checkpoint, so all ratios of a sweep, and all methods that invert
        alike, share one inversion.
        """
        keys = [
            StageCache.key(
                Stage.INVERSION, 1, image=hash_image(i), caption=c, steps=steps, guidance_scale=float(guidance_scale),
                model=self.checkpoint.fingerprint,
            )
            for i, c in zip(images, captions, strict=True)
        ]  # fmt: skip
        kept = [self.context.cache.get(Stage.INVERSION, key) for key in keys]
        missing = [k for k, found in enumerate(kept) if found is None]
        if missing:
            predict = self.guided([captions[k] for k in missing], guidance_scale)
            schedule = diffusion.make_schedule(self.scheduler, steps)
            computed = diffusion.invert(predict, self.encode([images[k] for k in missing]), schedule)
            for column, k in enumerate(missing):
                kept[k] = {"trajectory": computed[:, column]}
                self.context.cache.put(Stage.INVERSION, keys[k], {"trajectory": computed[:, column]})
        trajectories = [found["trajectory"].to(self.context.device) for found in kept if found is not None]
        cost = steps if guidance_scale == 1 else 2 * steps
        return torch.stack(trajectories, dim=1), [cost if k in missing else 0 for k in range(len(images))]


def generator(request: EditRequest, stage: str) -> torch.Generator:
    """The source of a sample's noise at a stage: decided by the run's seed and the sample, on every device alike."""
    drawn = digest({"seed": request.seed, "sample": request.id, "stage": stage})
    return torch.Generator().manual_seed(int(drawn[:15], 16))


def noise(shape: Sequence[int], generators: Sequence[torch.Generator], like: Tensor) -> Float[Tensor, "b ..."]:
    """Gaussian noise, a generator for each sample, on the device and in the dtype of ``like``."""
    return torch.stack([torch.randn(tuple(shape), generator=g) for g in generators]).to(like)


def to_images(pixels: Float[Tensor, "b 3 H W"], sizes: Sequence[tuple[int, int]]) -> list[Image.Image]:
    """Pixels in [-1, 1] to RGB images, resized to ``sizes`` (width, height)."""
    arrays = pixels.add(1).mul(127.5).round().byte().cpu().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(a).resize(size, Image.Resampling.LANCZOS) for a, size in zip(arrays, sizes, strict=True)]
