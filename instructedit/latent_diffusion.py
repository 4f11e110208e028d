"""A Stable Diffusion checkpoint and the stages that all methods share."""

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
from instructedit.cache import StageCache, code_of, hash_image
from instructedit.diffusion import Autoencoder, Condition
from instructedit.files import digest
from instructedit.models import Checkpoint, Context
from instructedit.types import EditRequest, Stage

SAMPLERS: dict[str, Any] = {"ddim": DDIMScheduler, "euler_ancestral": EulerAncestralDiscreteScheduler}


class LatentDiffusion:
    """A Stable Diffusion folder (vae, unet, text_encoder, tokenizer, scheduler); each part is loaded on first use.

    Supported are versions 1 and 2, which predict epsilon or v, and SDXL, which also has text_encoder_2 and tokenizer_2.
    """

    def __init__(self, context: Context, checkpoint: Checkpoint) -> None:
        self.context, self.checkpoint = context, checkpoint

    def _part(self, kind: Any, name: str) -> Any:
        return self.context.pool.model(kind, self.checkpoint, self.context.device, subfolder=name)

    @cached_property
    def is_xl(self) -> bool:
        """Whether the checkpoint is an SDXL model."""
        return (self.checkpoint.folder / "text_encoder_2").is_dir()

    @property
    def unet(self) -> UNet2DConditionModel:
        """The noise predictor."""
        return self._part(UNet2DConditionModel, "unet")

    @property
    def vae(self) -> Autoencoder:
        """The autoencoder, of the class named in its configuration.

        SDXL's autoencoder is loaded in float32 if the other parts are in float16, where its activations overflow.
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
        """Side in pixels of the pictures that the noise predictor was trained on."""
        return int(self.unet.config["sample_size"]) * self.vae_scale_factor

    def size(self, image: Image.Image) -> tuple[int, int]:
        """Return the working size (width, height) in pixels.

        The longest side is ``sample_size``, and both sides are multiples of ``vae_scale_factor``.
        """
        scale, unit = self.sample_size / max(image.size), self.vae_scale_factor
        width, height = (max(unit, round(side * scale / unit) * unit) for side in image.size)
        return width, height

    def embed(self, prompts: Sequence[str]) -> Condition:
        """Encode captions as the noise predictor's condition; an empty caption gives the unconditional one."""
        first = self._part(CLIPTextModel, "text_encoder")
        if not self.is_xl:
            return Condition(diffusion.encode_text(self._tokenizer("tokenizer"), first, prompts))
        second = self._part(CLIPTextModelWithProjection, "text_encoder_2")
        tokenizers = self._tokenizer("tokenizer"), self._tokenizer("tokenizer_2")
        condition = replace(
            diffusion.encode_text_xl(tokenizers, (first, second), prompts), vae_scale_factor=self.vae_scale_factor
        )
        states, pooled = condition.states, condition.pooled
        if not self._empty_is_zero or pooled is None:
            return condition
        is_given = torch.tensor([bool(p) for p in prompts], device=states.device).to(states.dtype)
        return replace(condition, states=states * is_given[:, None, None], pooled=pooled * is_given[:, None])

    def _tokenizer(self, name: str) -> Any:
        return self.context.pool.processor(AutoTokenizer, self.checkpoint, name)

    @cached_property
    def _empty_is_zero(self) -> bool:
        """Whether the unconditional embedding is zeros, as in SDXL's training, or that of the empty caption."""
        if not (self.checkpoint.folder / "model_index.json").is_file():
            return True  # the pipeline's default
        return bool(DiffusionPipeline.load_config(self.checkpoint.folder).get("force_zeros_for_empty_prompt", True))

    def groups(self, images: Sequence[Image.Image]) -> list[list[int]]:
        """Return groups of indices of the images that share a working size and so can form a batch."""
        by_size: dict[tuple[int, int], list[int]] = {}
        for index, image in enumerate(images):
            by_size.setdefault(self.size(image), []).append(index)
        return list(by_size.values())

    def pixels(self, images: Sequence[Image.Image]) -> Float[Tensor, "b 3 H W"]:
        """Resize images to their common working size and return them in [-1, 1]."""
        return self.tensor([i.resize(self.size(i), Image.Resampling.LANCZOS) for i in images])

    def tensor(self, images: Sequence[Image.Image]) -> Float[Tensor, "b 3 H W"]:
        """Return images of one size in [-1, 1], without resizing."""
        stacked = torch.from_numpy(np.stack([np.asarray(i) for i in images]))
        # Kernels sum in an order that depends on the memory layout. Cached trajectories are contiguous, so fresh ones
        # must be too, or their results would differ.
        pixels = stacked.permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1
        return pixels.to(self.context.device, self.vae.dtype)

    def encode(self, images: Sequence[Image.Image]) -> Float[Tensor, "b c h w"]:
        """Encode images of one working size to latents."""
        return self.encode_pixels(self.pixels(images))

    def encode_unscaled(self, images: Sequence[Image.Image]) -> Float[Tensor, "b c h w"]:
        """Encode images of one size, without resizing, to latents without the scaling factor."""
        return diffusion.encode_unscaled(self.vae, self.tensor(images)).to(self.unet.dtype)

    def encode_pixels(self, pixels: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b c h w"]:
        """Encode pixels in [-1, 1] to latents in the noise predictor's dtype."""
        return diffusion.encode(self.vae, pixels).to(self.unet.dtype)

    def decode(self, latents: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 3 H W"]:
        """Decode latents to images in [-1, 1]."""
        return diffusion.decode(self.vae, latents.to(self.vae.dtype)).float()

    def sampler(self, name: str, steps: int) -> Any:
        """Return a sampler of diffusers (a key of :data:`SAMPLERS`) with this checkpoint's noise schedule."""
        # Samplers are stateful, so each call gets a new one.
        sampler = SAMPLERS[name].from_config(
            self.context.pool.processor(SAMPLERS[name], self.checkpoint, "scheduler").config
        )
        sampler.set_timesteps(steps, device=self.context.device)
        return sampler

    def guided(
        self, captions: Sequence[str], guidance_scale: float, unconditional: Condition | None = None
    ) -> diffusion.NoisePredictor:
        """Return a noise predictor with classifier-free guidance.

        Args:
            captions: One per sample.
            guidance_scale: 1 disables guidance, which halves the NFE.
            unconditional: Replaces the condition of the empty caption.
        """
        states = self.embed(captions)
        if guidance_scale == 1:
            return diffusion.conditional(self.unet, self.scheduler, states)
        if unconditional is None:
            unconditional = self.embed([""] * len(captions))
        return diffusion.guided(self.unet, self.scheduler, states, unconditional, guidance_scale)

    def invert(
        self, images: Sequence[Image.Image], captions: Sequence[str], steps: int, guidance_scale: float = 1.0
    ) -> tuple[Float[Tensor, "levels b c h w"], list[tuple[int, int]]]:
        """Invert each image under its caption.

        Trajectories are cached by image, caption, steps, guidance scale and checkpoint, so all ratios of a sweep, and
        all methods with the same inversion, share one.

        Returns:
            The whole DDIM trajectories, and for each image the NFE that it took and the NFE that the cache saved, of
            which one is 0.
        """
        keys = [
            StageCache.key(
                Stage.INVERSION, code_of(LatentDiffusion, diffusion), image=hash_image(i), caption=c, steps=steps,
                guidance_scale=float(guidance_scale), model=self.checkpoint.fingerprint,
            )
            for i, c in zip(images, captions, strict=True)
        ]  # fmt: skip

        def compute(missing: list[int]) -> list[dict[str, Tensor]]:
            predict = self.guided([captions[k] for k in missing], guidance_scale)
            schedule = diffusion.make_schedule(self.scheduler, steps)
            computed = diffusion.invert(predict, self.encode([images[k] for k in missing]), schedule)
            return [{"trajectory": trajectory} for trajectory in computed.unbind(1)]

        entries, is_computed = self.context.cache.once(Stage.INVERSION, keys, compute)
        trajectories = torch.stack([entry["trajectory"].to(self.context.device) for entry in entries], dim=1)
        nfe = steps if guidance_scale == 1 else 2 * steps
        return trajectories, [(nfe, 0) if is_new else (0, nfe) for is_new in is_computed]


def generator(request: EditRequest, stage: str) -> torch.Generator:
    """Return a CPU generator seeded by the run's seed, the sample's id and the stage; equal on every device."""
    seed = digest({"seed": request.seed, "sample": request.id, "stage": stage})
    return torch.Generator().manual_seed(int(seed[:15], 16))


def noise(shape: Sequence[int], generators: Sequence[torch.Generator], like: Tensor) -> Float[Tensor, "b ..."]:
    """Draw Gaussian noise with one generator per sample, on the device and in the dtype of ``like``."""
    return torch.stack([torch.randn(tuple(shape), generator=g) for g in generators]).to(like)


def to_images(pixels: Float[Tensor, "b 3 H W"], sizes: Sequence[tuple[int, int]]) -> list[Image.Image]:
    """Convert pixels in [-1, 1] to RGB images, resized to ``sizes`` (width, height)."""
    arrays = pixels.add(1).mul(127.5).round().byte().cpu().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(a).resize(size, Image.Resampling.LANCZOS) for a, size in zip(arrays, sizes, strict=True)]
