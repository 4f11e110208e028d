"""InstructPix2Pix (Brooks et al. 2023): a UNet that sees the input image beside the latents and takes instructions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from instructedit.checks import require_one_of, require_whole
from instructedit.diffusion import Condition
from instructedit.latent_diffusion import SAMPLERS, LatentDiffusion, generator, noise, to_images
from instructedit.models import Checkpoint, Context
from instructedit.stages import Progress, run_stages
from instructedit.types import EditRequest, EditResult, Failure, Method, Stage

SIZINGS = ("aspect", "official")
MULTIPLE = 64
"""Pixels that each side is a multiple of, as in the official code."""


class InstructPix2Pix(Method):
    """Edits by instruction alone.

    The edit has the source's size and is aligned with it, so that metrics compare the same places. The two sizings
    are the same on square pictures.

    Args:
        context: Models, cache and device.
        diffusion: Checkpoint of a Stable Diffusion folder whose UNet has 8 input channels.
        guidance_scale: s_T, towards the instruction.
        image_guidance_scale: s_I, towards the input image.
        steps: Sampling steps.
        sampler: ``euler_ancestral``, as the official code, or ``ddim``.
        sizing: ``aspect`` edits the whole photo at its own aspect, the longest side at the UNet's training size and
            both sides multiples of the autoencoder's ``vae_scale_factor``. ``official`` crops to multiples of 64 as the
            official ``edit_cli.py`` does and pastes the edited crop back into the source, where the official code
            returns the crop alone; the margins outside the crop stay the source's.
    """

    def __init__(
        self,
        context: Context,
        diffusion: Checkpoint,
        guidance_scale: float = 7.5,
        image_guidance_scale: float = 1.5,
        steps: int = 100,
        sampler: str = "euler_ancestral",
        sizing: str = "aspect",
    ) -> None:
        require_one_of("sampler", sampler, SAMPLERS)
        require_whole("steps", steps, 1, 1000)
        require_one_of("sizing", sizing, SIZINGS)
        self.backbone = LatentDiffusion(context, diffusion)
        self.guidance_scale, self.image_guidance_scale = guidance_scale, image_guidance_scale
        self.steps, self.sampler, self.sizing = steps, sampler, sizing

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | Failure]:
        """Edit a batch; images of one working size go through the network together."""
        return run_stages(requests, (Stage.EDITOR, self._edit))

    def _edit(self, alive: list[Progress]) -> None:
        windows = [self._window(p.request.image) for p in alive]
        for size in dict.fromkeys(w.size for w in windows):
            group = [i for i, window in enumerate(windows) if window.size == size]
            self._edit_group([alive[i] for i in group], [windows[i] for i in group])

    def _window(self, image: Image.Image) -> "Window":
        if self.sizing == "official":
            return official_window(image.size, self.backbone.sample_size)
        return Window(self.backbone.size(image), (0.0, 0.0, float(image.width), float(image.height)))

    @torch.no_grad()
    def _edit_group(self, group: list[Progress], windows: list["Window"]) -> None:
        backbone = self.backbone
        images = [window.crop(p.request.image) for p, window in zip(group, windows, strict=True)]
        seen = backbone.encode_unscaled(images)  # as the released model expects the input image
        generators = [generator(p.request, Stage.EDITOR) for p in group]
        instruction = backbone.embed([p.request.instruction for p in group])
        empty = backbone.embed([""] * len(group))
        sampler = backbone.sampler(self.sampler, self.steps)
        start = noise(seen.shape[1:], generators, seen)
        scales = self.guidance_scale, self.image_guidance_scale
        latents = sample(backbone.unet, sampler, start, seen, instruction, empty, scales, generators)
        edited = to_images(backbone.decode(latents), [w.size for w in windows])
        for p, image, window in zip(group, edited, windows, strict=True):
            p.image, p.evaluations = window.paste(image, p.request.image), {Stage.EDIT: 3 * self.steps}


@dataclass(frozen=True)
class Window:
    """The part of a picture that is edited, and the size that it is edited at."""

    size: tuple[int, int]
    """Width and height in pixels at which the network works."""
    box: tuple[float, float, float, float]
    """Left, upper, right and lower of the part, in the picture's pixels; they need not be whole numbers."""

    def crop(self, image: Image.Image) -> Image.Image:
        """Take the part out of the picture, resized to ``size``."""
        return image.resize(self.size, Image.Resampling.LANCZOS, box=self.box)

    def paste(self, edited: Image.Image, source: Image.Image) -> Image.Image:
        """Put the edited part (of ``size``) back to its place in the source; returns a picture of the source's size.

        A pixel of the source that lies in the part by a fraction only stays the source's.
        """
        left, upper, right, lower = self.box
        rounding = 1e-6
        whole = math.ceil(left - rounding), math.ceil(upper - rounding), int(right + rounding), int(lower + rounding)
        scale_x, scale_y = self.size[0] / (right - left), self.size[1] / (lower - upper)
        seen = (
            max((whole[0] - left) * scale_x, 0), max((whole[1] - upper) * scale_y, 0),
            min((whole[2] - left) * scale_x, self.size[0]), min((whole[3] - upper) * scale_y, self.size[1]),
        )  # fmt: skip
        placed = edited.resize((whole[2] - whole[0], whole[3] - whole[1]), Image.Resampling.LANCZOS, box=seen)
        result = source.copy()
        result.paste(placed, whole[:2])
        return result


def official_window(size: tuple[int, int], resolution: int) -> Window:
    """The official code's sizing of a picture of ``size`` (width, height): ``ImageOps.fit`` to multiples of 64.

    The longest side becomes about ``resolution`` and the centre is kept: at 512, 640 x 480 becomes 512 x 384 and
    800 x 533 becomes 576 x 384.
    """
    width, height = size
    scale = resolution / max(width, height)
    scale = math.ceil(min(width, height) * scale / MULTIPLE) * MULTIPLE / min(width, height)
    fitted = int(width * scale) // MULTIPLE * MULTIPLE, int(height * scale) // MULTIPLE * MULTIPLE
    aspect = fitted[0] / fitted[1]
    kept_width, kept_height = min(width, aspect * height), min(height, width / aspect)
    left, upper = (width - kept_width) / 2, (height - kept_height) / 2
    return Window(fitted, (left, upper, min(left + kept_width, width), min(upper + kept_height, height)))


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
