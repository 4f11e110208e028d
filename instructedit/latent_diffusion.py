"""A Stable Diffusion checkpoint and the stages that every method on it shares."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, EulerAncestralDiscreteScheduler, UNet2DConditionModel
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from transformers import AutoTokenizer, CLIPTextModel

from instructedit import diffusion
from instructedit.cache import StageCache, hash_image
from instructedit.files import digest
from instructedit.models import Checkpoint, Context
from instructedit.types import EditRequest

SAMPLERS: dict[str, Any] = {"ddim": DDIMScheduler, "euler_ancestral": EulerAncestralDiscreteScheduler}


class LatentDiffusion:
    """A Stable Diffusion folder (vae, unet, text_encoder, tokenizer, scheduler), each part loaded when first needed."""

    def __init__(self, context: Context, checkpoint: Checkpoint) -> None:
        self.context, self.checkpoint = context, checkpoint

    def _part(self, kind: Any, name: str) -> Any:
        return self.context.pool.model(kind, self.checkpoint, self.context.device, subfolder=name)

    @property
    def unet(self) -> UNet2DConditionModel:
        """The noise predictor."""
        return self._part(UNet2DConditionModel, "unet")

    @property
    def vae(self) -> AutoencoderKL:
        """The autoencoder."""
        return self._part(AutoencoderKL, "vae")

    @property
    def scheduler(self) -> DDIMScheduler:
        """The noise schedule."""
        return self.context.pool.processor(DDIMScheduler, self.checkpoint, "scheduler")

    @property
    def factor(self) -> int:
        """Pixels a latent, 8 for Stable Diffusion."""
        return int(2 ** (len(self.vae.config["block_out_channels"]) - 1))

    @property
    def native(self) -> int:
        """The side in pixels that the noise predictor was trained at."""
        return int(self.unet.config["sample_size"]) * self.factor

    def size(self, image: Image.Image) -> tuple[int, int]:
        """The size (width, height) to work at: the longest side native, both multiples of ``factor``."""
        scale = self.native / max(image.size)
        width, height = (max(self.factor, round(side * scale / self.factor) * self.factor) for side in image.size)
        return width, height

    def embed(self, prompts: Sequence[str]) -> Float[Tensor, "b n d"]:
        """Captions as the noise predictor's condition."""
        tokenizer = self.context.pool.processor(AutoTokenizer, self.checkpoint, "tokenizer")
        return diffusion.encode_text(tokenizer, self._part(CLIPTextModel, "text_encoder"), prompts)

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
        return diffusion.encode(self.vae, self.pixels(images))

    def decode(self, latents: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 3 H W"]:
        """Latents to images in [-1, 1]."""
        return diffusion.decode(self.vae, latents).float()

    def sampler(self, name: str, steps: int) -> Any:
        """A sampler of diffusers (a key of :data:`SAMPLERS`) on this checkpoint's noise schedule, set to ``steps``."""
        # A copy: samplers remember where they are.
        made = SAMPLERS[name].from_config(
            self.context.pool.processor(SAMPLERS[name], self.checkpoint, "scheduler").config
        )
        made.set_timesteps(steps, device=self.context.device)
        return made

    def guided(self, captions: Sequence[str], guidance_scale: float) -> diffusion.NoisePredictor:
        """Noise prediction with classifier-free guidance; without a second evaluation where the scale is 1."""
        states = self.embed(captions)
        if guidance_scale == 1:
            return diffusion.conditional(self.unet, self.scheduler, states)
        return diffusion.guided(self.unet, self.scheduler, states, self.embed([""] * len(captions)), guidance_scale)

    def invert(
        self, images: Sequence[Image.Image], captions: Sequence[str], steps: int, guidance_scale: float = 1.0
    ) -> tuple[Float[Tensor, "levels b c h w"], list[int]]:
        """The whole DDIM trajectory of each image under its caption, and the evaluations that each cost.

        Cached by image, caption, steps, guidance and checkpoint, so all ratios of a sweep, and all methods that invert
        alike, share one inversion.
        """
        keys = [
            StageCache.key(
                "inversion", 1, image=hash_image(i), caption=c, steps=steps, guidance_scale=float(guidance_scale),
                model=self.checkpoint.fingerprint,
            )
            for i, c in zip(images, captions, strict=True)
        ]  # fmt: skip
        kept = [self.context.cache.get("inversion", key) for key in keys]
        missing = [k for k, found in enumerate(kept) if found is None]
        if missing:
            predict = self.guided([captions[k] for k in missing], guidance_scale)
            schedule = diffusion.make_schedule(self.scheduler, steps)
            computed = diffusion.invert(predict, self.encode([images[k] for k in missing]), schedule)
            for column, k in enumerate(missing):
                kept[k] = {"trajectory": computed[:, column]}
                self.context.cache.put("inversion", keys[k], {"trajectory": computed[:, column]})
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
