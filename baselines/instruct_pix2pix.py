"""InstructPix2Pix (Brooks et al. 2023): a UNet that sees the input image beside the latents and takes instructions."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor

from instructedit.diffusion import Condition
from instructedit.latent_diffusion import SAMPLERS, LatentDiffusion, generator, noise, to_images
from instructedit.models import Checkpoint, Context
from instructedit.stages import Progress, run_stages
from instructedit.types import ConfigError, EditRequest, EditResult, Failure

STAGE = "editor"
MULTIPLE = 64
"""Pixels that each side is a multiple of, as in the official code."""


class InstructPix2Pix:
    """Instruction-driven.

    The image is sized as in the official code's ``edit_cli.py``, and the edit resized back to the input's size.

    Args:
        context: Models, cache and device.
        diffusion: Checkpoint of a Stable Diffusion folder whose UNet has 8 input channels.
        guidance_scale: s_T, towards the instruction.
        image_guidance_scale: s_I, towards the input image.
        steps: Sampling steps.
        sampler: ``euler_ancestral``, as the official code, or ``ddim``.
    """

    def __init__(
        self,
        context: Context,
        diffusion: Checkpoint,
        guidance_scale: float = 7.5,
        image_guidance_scale: float = 1.5,
        steps: int = 100,
        sampler: str = "euler_ancestral",
    ) -> None:
        if sampler not in SAMPLERS:
            raise ConfigError(f"sampler={sampler!r}: accepted are {', '.join(SAMPLERS)}")
        if not 1 <= steps <= 1000:
            raise ConfigError(f"steps={steps}: accepted are 1 to 1000")
        self.backbone = LatentDiffusion(context, diffusion)
        self.guidance_scale, self.image_guidance_scale = guidance_scale, image_guidance_scale
        self.steps, self.sampler = steps, sampler

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | Failure]:
        """Edit a batch; images of one working size go through the network together."""
        return run_stages(requests, (STAGE, self._edit))

    def _edit(self, alive: list[Progress]) -> None:
        fitted = [fit(p.request.image, self.backbone.sample_size) for p in alive]
        sizes = [image.size for image in fitted]
        for size in dict.fromkeys(sizes):
            group = [i for i, own in enumerate(sizes) if own == size]
            self._edit_group([alive[i] for i in group], [fitted[i] for i in group])

    @torch.no_grad()
    def _edit_group(self, group: list[Progress], images: list[Image.Image]) -> None:
        backbone = self.backbone
        seen = backbone.encode_unscaled(images)  # as the released model expects the input image
        generators = [generator(p.request, STAGE) for p in group]
        instruction = backbone.embed([p.request.instruction for p in group])
        empty = backbone.embed([""] * len(group))
        sampler = backbone.sampler(self.sampler, self.steps)
        start = noise(seen.shape[1:], generators, seen)
        scales = self.guidance_scale, self.image_guidance_scale
        latents = sample(backbone.unet, sampler, start, seen, instruction, empty, scales, generators)
        edited = to_images(backbone.decode(latents), [p.request.image.size for p in group])
        for p, image in zip(group, edited, strict=True):
            p.image, p.evaluations = image, {"edit": 3 * self.steps}


def fit(image: Image.Image, resolution: int) -> Image.Image:
    """The official sizing: the longest side to about ``resolution``, both to multiples of 64, cropped at the centre.

    At 512, 640 x 480 becomes 512 x 384 and 800 x 533 becomes 576 x 384.
    """
    width, height = image.size
    scale = resolution / max(width, height)
    scale = math.ceil(min(width, height) * scale / MULTIPLE) * MULTIPLE / min(width, height)
    size = (int(width * scale) // MULTIPLE * MULTIPLE, int(height * scale) // MULTIPLE * MULTIPLE)
    return ImageOps.fit(image, size, method=Image.Resampling.LANCZOS)


def sample(
    unet: Any,
    sampler: Any,
    start: Float[Tensor, "b c h w"],
    seen: Float[Tensor, "b c h w"],
    instruction: Condition,
    empty: Condition,
    scales: tuple[float, float],
    generators: Sequence[torch.Generator],
) -> Float[Tensor, "b c h w"]:
    """Sample with both guidances (the paper's Eq. 3), its three predictions in one batch.

    Args:
        unet: Of 8 input channels.
        sampler: Of diffusers, its timesteps set.
        start: Gaussian noise of variance 1.
        seen: The input image's latents, unscaled.
        instruction: What it is told.
        empty: What it is told where it is told nothing.
        scales: s_T and s_I.
        generators: One a sample, for samplers that draw noise on their way.
    """
    conditions = Condition.cat([instruction, empty, empty])
    beside = torch.cat([seen, seen, torch.zeros_like(seen)])
    latents = start * sampler.init_noise_sigma
    for timestep in sampler.timesteps:
        given = sampler.scale_model_input(torch.cat([latents] * 3), timestep)
        predicted = unet(torch.cat([given, beside], dim=1), timestep, **conditions.arguments(given)).sample
        full, only_image, neither = predicted.chunk(3)
        predicted = neither + scales[0] * (full - only_image) + scales[1] * (only_image - neither)
        latents = sampler.step(predicted, timestep, latents, generator=list(generators)).prev_sample
    return latents
