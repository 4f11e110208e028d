"""InstructPix2Pix (Brooks et al. 2023): a UNet conditioned on the input image's latents and the instruction."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from instructedit import diffusion
from instructedit.cache import StageCache, code_of, hash_image
from instructedit.checks import require_one_of, require_whole
from instructedit.diffusion import Condition
from instructedit.editor import Edited, finished_edits
from instructedit.latent_diffusion import SAMPLERS, LatentDiffusion, generator, noise, to_images
from instructedit.models import Checkpoint, Context
from instructedit.stages import Progress, run_stages
from instructedit.types import EditRequest, EditResult, Failure, Method, Stage

SIZINGS = ("aspect", "official")
MULTIPLE = 64
"""Both sides are multiples of this number of pixels under ``sizing=official``, as in the official code."""


class InstructPix2Pix(Method):
    """InstructPix2Pix, an instruction-conditioned method: it uses neither captions nor masks.

    The edit has the source's size and is aligned with it, so that metrics compare corresponding pixels. The two
    sizings are the same on square pictures.

    Args:
        context: Models, cache and device.
        diffusion: Checkpoint of a Stable Diffusion folder whose UNet has 8 input channels.
        guidance_scale: s_T, towards the instruction.
        image_guidance_scale: s_I, towards the input image.
        steps: Sampling steps.
        sampler: ``euler_ancestral``, as in the official code, or ``ddim``.
        sizing: ``aspect`` edits the whole picture at its own aspect ratio, with the longest side at the UNet's training
            size and both sides multiples of the autoencoder's ``vae_scale_factor``. ``official`` crops the picture and
            resizes the crop to multiples of 64, as the official ``edit_cli.py`` does, and pastes the edited crop back
            into the source; the official code returns the crop only.

    Raises:
        ConfigError: A parameter has a value that is not accepted.
    """

    takes_restart = True

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
        """Edit a batch; images of one working size are processed together.

        A request with a restart starts from the noised restart image and is sampled by DDIM, as in Instruct-NeRF2NeRF's
        released code (there, latents are a sample of the autoencoder's posterior, here its mode). It is not cached.
        """
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

    def _edit_group(self, group: list[Progress], windows: list["Window"]) -> None:
        again = [i for i, p in enumerate(group) if p.request.restart is not None]
        for i in again:
            # One at a time, as each has a noise level of its own.
            (edited,) = self._sample_again(group[i].request, windows[i])
            group[i].image, group[i].evaluations = edited.image, edited.evaluations
        if again:
            rest = [i for i in range(len(group)) if i not in again]
            group, windows = [group[i] for i in rest], [windows[i] for i in rest]
        if not group:
            return
        keys = [
            StageCache.key(
                Stage.EDIT, code_of(InstructPix2Pix, LatentDiffusion, diffusion), image=hash_image(p.request.image),
                instruction=p.request.instruction, sample=p.request.id, seed=p.request.seed,
                guidance_scale=float(self.guidance_scale), image_guidance_scale=float(self.image_guidance_scale),
                steps=self.steps, sampler=self.sampler, sizing=self.sizing, model=self.backbone.checkpoint.fingerprint,
            )
            for p in group
        ]  # fmt: skip
        edits = finished_edits(
            self.backbone.context.cache,
            keys,
            lambda indices: self._sample([group[i].request for i in indices], [windows[i] for i in indices]),
        )
        for p, edited in zip(group, edits, strict=True):
            p.image, p.evaluations, p.cached_evaluations = edited.image, edited.evaluations, edited.cached

    @torch.no_grad()
    def _sample(self, requests: list[EditRequest], windows: list["Window"]) -> list[Edited]:
        backbone = self.backbone
        images = [window.crop(r.image) for r, window in zip(requests, windows, strict=True)]
        image_latents = backbone.encode_unscaled(images)  # the released model was trained on unscaled image latents
        generators = [generator(r, Stage.EDITOR) for r in requests]
        instruction = backbone.embed([r.instruction for r in requests])
        empty = backbone.embed([""] * len(requests))
        sampler = backbone.sampler(self.sampler, self.steps)
        start = noise(image_latents.shape[1:], generators, image_latents)
        scales = self.guidance_scale, self.image_guidance_scale
        latents = sample(backbone.unet, sampler, start, image_latents, instruction, empty, scales, generators)
        edited = to_images(backbone.decode(latents), [w.size for w in windows])
        return [
            Edited(window.paste(image, r.image), {Stage.EDIT: 3 * self.steps})
            for r, image, window in zip(requests, edited, windows, strict=True)
        ]

    @torch.no_grad()
    def _sample_again(self, request: EditRequest, window: "Window") -> list[Edited]:
        backbone, restart = self.backbone, request.restart
        assert restart is not None
        image_latents = backbone.encode_unscaled([window.crop(request.image)])
        schedule = diffusion.make_schedule(backbone.scheduler, restart.steps, restart.noise)
        clean = backbone.encode_pixels(backbone.tensor([window.crop(restart.image)]))
        drawn = noise(clean.shape[1:], [generator(request, f"{Stage.EDITOR}_{restart.draw}")], clean)
        alpha = schedule.alphas[-1]
        predict = predictor(
            backbone.unet, image_latents, backbone.embed([request.instruction]), backbone.embed([""]),
            (self.guidance_scale, self.image_guidance_scale),
        )  # fmt: skip
        latents = diffusion.sample(predict, alpha**0.5 * clean + (1 - alpha) ** 0.5 * drawn, schedule)
        (edited,) = to_images(backbone.decode(latents), [window.size])
        return [Edited(window.paste(edited, request.image), {Stage.EDIT: 3 * restart.steps})]


@dataclass(frozen=True)
class Window:
    """The crop of a picture that is edited, and its working size."""

    size: tuple[int, int]
    """Working size: width and height in pixels."""
    box: tuple[float, float, float, float]
    """Left, upper, right and lower edges of the crop in the picture's pixels; they may be fractional."""

    def crop(self, image: Image.Image) -> Image.Image:
        """Crop the picture and resize the crop to ``size``."""
        return image.resize(self.size, Image.Resampling.LANCZOS, box=self.box)

    def paste(self, edited: Image.Image, source: Image.Image) -> Image.Image:
        """Paste an edited crop of ``size`` back into the source; returns a picture of the source's size.

        Source pixels that are only partly inside the crop are not changed.
        """
        left, upper, right, lower = self.box
        rounding = 1e-6
        whole = math.ceil(left - rounding), math.ceil(upper - rounding), int(right + rounding), int(lower + rounding)
        scale_x, scale_y = self.size[0] / (right - left), self.size[1] / (lower - upper)
        part = (
            max((whole[0] - left) * scale_x, 0), max((whole[1] - upper) * scale_y, 0),
            min((whole[2] - left) * scale_x, self.size[0]), min((whole[3] - upper) * scale_y, self.size[1]),
        )  # fmt: skip
        resized = edited.resize((whole[2] - whole[0], whole[3] - whole[1]), Image.Resampling.LANCZOS, box=part)
        result = source.copy()
        result.paste(resized, whole[:2])
        return result


def official_window(size: tuple[int, int], resolution: int) -> Window:
    """Return the official code's crop of a picture of ``size`` (width, height): ``ImageOps.fit`` to multiples of 64.

    The longest side becomes about ``resolution``, and the crop is centred: at 512, 640 x 480 becomes 512 x 384 and
    800 x 533 becomes 576 x 384.
    """
    width, height = size
    scale = resolution / max(width, height)
    scale = math.ceil(min(width, height) * scale / MULTIPLE) * MULTIPLE / min(width, height)
    fitted = int(width * scale) // MULTIPLE * MULTIPLE, int(height * scale) // MULTIPLE * MULTIPLE
    aspect = fitted[0] / fitted[1]
    crop_width, crop_height = min(width, aspect * height), min(height, width / aspect)
    left, upper = (width - crop_width) / 2, (height - crop_height) / 2
    return Window(fitted, (left, upper, min(left + crop_width, width), min(upper + crop_height, height)))


def sample(
    unet: Any,
    sampler: Any,
    start: Float[Tensor, "b c h w"],
    image_latents: Float[Tensor, "b c h w"],
    instruction: Condition,
    empty: Condition,
    scales: tuple[float, float],
    generators: Sequence[torch.Generator],
) -> Float[Tensor, "b c h w"]:
    """Sample with text and image guidance (InstructPix2Pix's Eq. 3); the three predictions are one batch.

    Args:
        unet: A UNet with 8 input channels.
        sampler: A sampler of diffusers whose timesteps are set.
        start: Gaussian noise of variance 1.
        image_latents: The input image's latents, unscaled.
        instruction: Condition of the instructions.
        empty: Condition of the empty caption.
        scales: s_T and s_I.
        generators: One per sample, for samplers that draw noise at each step.
    """
    predict = predictor(unet, image_latents, instruction, empty, scales)
    latents = start * sampler.init_noise_sigma
    for timestep in sampler.timesteps:
        noise_pred = predict(sampler.scale_model_input(latents, timestep), timestep)
        latents = sampler.step(noise_pred, timestep, latents, generator=list(generators)).prev_sample
    return latents


def predictor(
    unet: Any,
    image_latents: Float[Tensor, "b c h w"],
    instruction: Condition,
    empty: Condition,
    scales: tuple[float, float],
) -> diffusion.NoisePredictor:
    """Return a noise predictor with text and image guidance; see :func:`sample` for the arguments."""
    conditions = Condition.cat([instruction, empty, empty])
    image_input = torch.cat([image_latents, image_latents, torch.zeros_like(image_latents)])

    def predict(latents: Tensor, timestep: Tensor | float) -> Tensor:
        latent_input = torch.cat([latents] * 3)
        noise_pred = unet(
            torch.cat([latent_input, image_input], dim=1), timestep, **conditions.arguments(latent_input)
        ).sample
        noise_pred_text, noise_pred_image, noise_pred_uncond = noise_pred.chunk(3)
        guided: Tensor = (
            noise_pred_uncond
            + scales[0] * (noise_pred_text - noise_pred_image)
            + scales[1] * (noise_pred_image - noise_pred_uncond)
        )
        return guided

    return predict
