"""Inpainting in the segmenter's mask: the baseline of the paper's Fig. 7, as in Grounded-SAM's demo.

It is InstructEdit with another editor: Stable Diffusion's inpainting UNet replaces the masked region without seeing it.
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

from baselines.base import LatentMaskEditor, guided_noise_pred
from instructedit.checks import require_one_of
from instructedit.diffusion import Condition
from instructedit.editor import Edited
from instructedit.latent_diffusion import SAMPLERS, LatentDiffusion, generator, noise, to_images
from instructedit.models import Checkpoint, Context
from instructedit.types import Captions, ConfigError, EditRequest, Stage

PROMPTS = ("caption", "object")
_MEDIUM = re.compile(r"^(?:an? |the )?(?:photo|photograph|picture|image|painting|drawing)s? of ", re.IGNORECASE)


class InpaintingEditor(LatentMaskEditor):
    """An :class:`instructedit.editor.Editor` on the 9-channel UNet.

    As in the demo, the decoded image is returned without compositing, so pixels outside the mask change slightly, too.

    Args:
        context: Models, cache and device.
        diffusion: Checkpoint of a Stable Diffusion folder whose UNet has 9 input channels.
        prompt: ``caption`` uses the edited caption ("photo of a lion"); ``object`` uses the caption without its medium
            ("a lion"), as common in inpainting prompts.
        strength: Share of the steps that are sampled; 1 starts from pure noise, smaller values from the noised input.
        steps: Sampling steps at strength 1.
        guidance_scale: Scale of classifier-free guidance.
        sampler: ``ddim`` or ``euler_ancestral``.
        dilate: Pixels by which the mask is dilated.

    Raises:
        ConfigError: A parameter has a value that is not accepted.
    """

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

    def _prompt(self, captions: Captions) -> str:
        return captions.edited if self.prompt == "caption" else _MEDIUM.sub("", captions.edited)

    def _parameters(self, prompt: str) -> dict[str, Any]:
        return {
            "prompt": prompt, "steps": self.steps, "strength": float(self.strength),
            "guidance_scale": float(self.guidance_scale), "sampler": self.sampler,
        }  # fmt: skip

    @torch.no_grad()
    def _sample(
        self, requests: list[EditRequest], prompts: list[str], masks: list[Bool[np.ndarray, "_ _"]]
    ) -> list[Edited]:
        backbone = self.backbone
        pixels = backbone.pixels([r.image for r in requests])
        size = pixels.shape[-2:]
        resized = [Image.fromarray(m).resize((size[1], size[0]), Image.Resampling.NEAREST) for m in masks]
        hole = torch.from_numpy(np.stack([np.asarray(m) for m in resized]))[:, None].to(pixels)
        conditions = Condition.cat([backbone.embed([""] * len(prompts)), backbone.embed(prompts)])
        masked_latents = backbone.encode_pixels(pixels * (1 - hole))
        sampler = backbone.sampler(self.sampler, self.steps)
        timesteps = sampler.timesteps[self.steps - int(self.steps * self.strength) :]
        generators = [generator(r, Stage.EDITOR) for r in requests]
        start = noise(masked_latents.shape[1:], generators, masked_latents)
        if self.strength == 1:
            start = start * sampler.init_noise_sigma
        else:
            clean = backbone.encode_pixels(pixels)
            start = sampler.add_noise(clean, start, timesteps[:1].repeat(len(clean)))
        latents = sample(
            backbone.unet, sampler, timesteps, start, hole, masked_latents, conditions, self.guidance_scale, generators
        )
        edited = to_images(backbone.decode(latents), [r.image.size for r in requests])
        return [Edited(e, {Stage.EDIT: 2 * len(timesteps)}) for e in edited]


def sample(
    unet: Any,
    sampler: Any,
    timesteps: Tensor,
    latents: Float[Tensor, "b c h w"],
    hole: Float[Tensor, "b 1 H W"],
    masked_latents: Float[Tensor, "b c h w"],
    conditions: Condition,
    guidance_scale: float,
    generators: Sequence[torch.Generator],
) -> Float[Tensor, "b c h w"]:
    """Sample with classifier-free guidance; the mask and the masked image's latents are further input channels.

    Args:
        unet: A UNet with 9 input channels.
        sampler: A sampler of diffusers.
        timesteps: The sampler's remaining timesteps.
        latents: Initial latents at the noise level of the first timestep.
        hole: 1 inside the region to inpaint; it is reduced to the latent grid by nearest neighbour.
        masked_latents: Latents of the picture with the region to inpaint set to grey.
        conditions: Conditions of the empty caption, followed by those of the captions.
        guidance_scale: Scale of classifier-free guidance.
        generators: One per sample, for samplers that draw noise at each step.
    """
    image_input = torch.cat([functional.interpolate(hole, size=latents.shape[-2:]), masked_latents], dim=1)
    image_input = torch.cat([image_input, image_input])
    for timestep in timesteps:
        latent_input = sampler.scale_model_input(torch.cat([latents] * 2), timestep)
        unet_input = torch.cat([latent_input, image_input], dim=1)
        noise_pred = guided_noise_pred(unet, unet_input, timestep, conditions, guidance_scale)
        latents = sampler.step(noise_pred, timestep, latents, generator=list(generators)).prev_sample
    return latents
