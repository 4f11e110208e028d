"""Inpainting in the segmenter's mask: the baseline of the paper's Fig. 7, as Grounded-SAM's demo does it.

It is InstructEdit with another editor: language processor and segmenter stay, but what the mask hides is painted anew
by Stable Diffusion's inpainting UNet, which never sees what was there.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor
from torch.nn import functional

from instructedit.checks import require_one_of
from instructedit.diffusion import Condition
from instructedit.editor import Edited, edit_by_size, grow
from instructedit.latent_diffusion import SAMPLERS, LatentDiffusion, generator, noise, to_images
from instructedit.models import Checkpoint, Context
from instructedit.types import Captions, ConfigError, EditRequest, Stage, StageError

PROMPTS = ("caption", "object")
_MEDIUM = re.compile(r"^(?:an? |the )?(?:photo|photograph|picture|image|painting|drawing)s? of ", re.IGNORECASE)


class InpaintingEditor:
    """An :class:`instructedit.editor.Editor` on the 9-channel UNet.

    The decoded image is answered as it is, as in the demo: outside the mask too it is the autoencoder's.

    Args:
        context: Models, cache and device.
        diffusion: Checkpoint of a Stable Diffusion folder whose UNet has 9 input channels.
        prompt: ``caption`` paints under the edited caption ("photo of a lion"), ``object`` under an inpainting prompt
            as people write it, the caption without its medium ("a lion").
        strength: Share of the steps that are sampled; 1 starts from pure noise, less from the noised input.
        steps: Sampling steps at strength 1.
        guidance_scale: Of classifier-free guidance.
        sampler: ``ddim`` or ``euler_ancestral``.
        dilate: Pixels by which the mask grows.
    """

    takes_ratio = False

    def __init__(
        self,
        context: Context,
        diffusion: Checkpoint,
        prompt: str = "caption",
        strength: float = 1.0,
        steps: int = 50,
        guidance_scale: float = 7.5,
        sampler: str = "ddim",
        dilate: int = 0,
    ) -> None:
        require_one_of("prompt", prompt, PROMPTS)
        require_one_of("sampler", sampler, SAMPLERS)
        if not 1 <= steps <= 1000 or not 1 <= steps * strength <= steps:
            raise ConfigError(
                f"strength={strength}, steps={steps}: accepted are 1 to 1000 steps, strength 1/steps to 1"
            )
        self.backbone = LatentDiffusion(context, diffusion)
        self.prompt, self.strength, self.steps = prompt, strength, steps
        self.guidance_scale, self.sampler, self.dilate = guidance_scale, sampler, dilate

    def edit(
        self,
        requests: Sequence[EditRequest],
        captions: Sequence[Captions],
        masks: Sequence[Bool[np.ndarray, "_ _"]],
    ) -> list[Edited | StageError]:
        """Inpaint each mask; images of one working size go through the network together."""
        grown = [grow(m, self.dilate) for m in masks]
        empty = StageError(Stage.EDITOR, f"the mask is empty (dilate={self.dilate})")
        return edit_by_size(self.backbone, self._edit, requests, captions, grown, empty)

    @torch.no_grad()
    def _edit(
        self, requests: list[EditRequest], captions: list[Captions], masks: list[Bool[np.ndarray, "_ _"]]
    ) -> list[Edited]:
        backbone = self.backbone
        pixels = backbone.pixels([r.image for r in requests])
        size = pixels.shape[-2:]
        resized = [Image.fromarray(m).resize((size[1], size[0]), Image.Resampling.NEAREST) for m in masks]
        hole = torch.from_numpy(np.stack([np.asarray(m) for m in resized]))[:, None].to(pixels)
        prompts = [c.edited if self.prompt == "caption" else _MEDIUM.sub("", c.edited) for c in captions]
        conditions = Condition.cat([backbone.embed([""] * len(prompts)), backbone.embed(prompts)])
        left = backbone.encode_pixels(pixels * (1 - hole))
        sampler = backbone.sampler(self.sampler, self.steps)
        timesteps = sampler.timesteps[self.steps - int(self.steps * self.strength) :]
        generators = [generator(r, Stage.EDITOR) for r in requests]
        start = noise(left.shape[1:], generators, left)
        if self.strength == 1:
            start = start * sampler.init_noise_sigma
        else:
            clean = backbone.encode_pixels(pixels)
            start = sampler.add_noise(clean, start, timesteps[:1].repeat(len(clean)))
        latents = sample(
            backbone.unet, sampler, timesteps, start, hole, left, conditions, self.guidance_scale, generators
        )
        edited = to_images(backbone.decode(latents), [r.image.size for r in requests])
        return [Edited(e, {"edit": 2 * len(timesteps)}) for e in edited]


def sample(
    unet: Any,
    sampler: Any,
    timesteps: Tensor,
    latents: Float[Tensor, "b c h w"],
    hole: Float[Tensor, "b 1 H W"],
    left: Float[Tensor, "b c h w"],
    conditions: Condition,
    guidance_scale: float,
    generators: Sequence[torch.Generator],
) -> Float[Tensor, "b c h w"]:
    """Sample with guidance, the mask and the latents of what it leaves beside the noisy ones.

    Args:
        unet: Of 9 input channels.
        sampler: Of diffusers.
        timesteps: Those of the sampler that are left to do.
        latents: To start from, at the first timestep's noise.
        hole: 1 where the picture is to be painted anew; it reaches the latent grid by nearest neighbour.
        left: The latents of the picture with the hole grey.
        conditions: Of the empty caption, then of the captions.
        guidance_scale: Of classifier-free guidance.
        generators: One a sample, for samplers that draw noise on their way.
    """
    beside = torch.cat([functional.interpolate(hole, size=latents.shape[-2:]), left], dim=1)
    beside = torch.cat([beside, beside])
    for timestep in timesteps:
        given = sampler.scale_model_input(torch.cat([latents] * 2), timestep)
        predicted = unet(torch.cat([given, beside], dim=1), timestep, **conditions.arguments(given)).sample
        without, with_caption = predicted.chunk(2)
        predicted = without + guidance_scale * (with_caption - without)
        latents = sampler.step(predicted, timestep, latents, generator=list(generators)).prev_sample
    return latents
