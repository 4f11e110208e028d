"""Blended Latent Diffusion (Avrahami et al. 2023): sampling from noise, blended with the noised input outside a mask.

It is InstructEdit with another editor, which sees nothing of the input inside the mask.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from baselines.base import LatentMaskEditor, guided_noise_pred
from instructedit.checks import require, require_whole
from instructedit.diffusion import Condition
from instructedit.editor import Edited
from instructedit.latent_diffusion import LatentDiffusion, generator, noise, to_images
from instructedit.models import Checkpoint, Context
from instructedit.types import EditRequest, Stage


class BlendedLatentDiffusionEditor(LatentMaskEditor):
    """An :class:`instructedit.editor.Editor` by Blended Latent Diffusion's Alg. 1, as in the authors' code.

    As there, the first latents are noise even if the first steps are skipped, the input is noised to the level from
    which the step started, the mask is reduced to the latent grid by nearest neighbour, and the decoded image is
    returned without the optional optimisation of the decoder (``paste_back=true`` keeps the photo's own pixels).

    Args:
        context: Models, cache and device.
        diffusion: Checkpoint of a Stable Diffusion folder.
        blending_start: Share of the steps that are skipped, in [0, 1).
        steps: T.
        guidance_scale: Scale of classifier-free guidance.
        dilate: Pixels by which the mask is dilated.

    Raises:
        ConfigError: A parameter has a value that is not accepted.
    """

    def __init__(
        self,
        context: Context,
        diffusion: Checkpoint,
        blending_start: float = 0.25,
        steps: int = 50,
        guidance_scale: float = 7.5,
        dilate: int = 0,
    ) -> None:
        require_whole("steps", steps, 1, 1000)
        require(0 <= blending_start < 1, "blending_start", blending_start, "numbers from 0 on and below 1")
        self.backbone = LatentDiffusion(context, diffusion)
        self.blending_start, self.steps = blending_start, steps
        self.guidance_scale, self.dilate = guidance_scale, dilate

    def _reduced(self, image: Image.Image, mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "rows columns"]:
        width, height = (side // self.backbone.vae_scale_factor for side in self.backbone.size(image))
        return np.array(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))

    def _parameters(self, prompt: str) -> dict[str, Any]:
        return {
            "edited": prompt, "steps": self.steps, "blending_start": float(self.blending_start),
            "guidance_scale": float(self.guidance_scale),
        }  # fmt: skip

    @torch.no_grad()
    def _sample(
        self, requests: list[EditRequest], prompts: list[str], masks: list[Bool[np.ndarray, "_ _"]]
    ) -> list[Edited]:
        backbone = self.backbone
        source = backbone.encode([r.image for r in requests])
        inside = torch.from_numpy(np.stack(masks))[:, None].to(source)
        conditions = Condition.cat([backbone.embed([""] * len(prompts)), backbone.embed(prompts)])
        sampler = backbone.sampler("ddim", self.steps)
        timesteps = sampler.timesteps[int(self.steps * self.blending_start) :]
        generators = [generator(r, Stage.EDITOR) for r in requests]
        latents = sample(backbone, sampler, timesteps, source, inside, conditions, self.guidance_scale, generators)
        edited = to_images(backbone.decode(latents), [r.image.size for r in requests])
        return [Edited(e, {Stage.EDIT: 2 * len(timesteps)}) for e in edited]


def sample(
    backbone: LatentDiffusion,
    sampler: Any,
    timesteps: Tensor,
    source: Float[Tensor, "b c h w"],
    inside: Float[Tensor, "b 1 h w"],
    conditions: Condition,
    guidance_scale: float,
    generators: Sequence[torch.Generator],
) -> Float[Tensor, "b c h w"]:
    """Sample with classifier-free guidance, and replace the outside by the noised input after each step (Alg. 1).

    Args:
        backbone: The checkpoint.
        sampler: A sampler of diffusers.
        timesteps: The sampler's timesteps that are sampled.
        source: The input's latents.
        inside: 1 inside the mask, 0 outside.
        conditions: Conditions of the empty caption, followed by those of the captions.
        guidance_scale: Scale of classifier-free guidance.
        generators: One per sample: the first latents, then the noise of each step.
    """
    latents = noise(source.shape[1:], generators, source)
    for timestep in timesteps:
        latent_input = torch.cat([latents, latents])
        noise_pred = guided_noise_pred(backbone.unet, latent_input, timestep, conditions, guidance_scale)
        latents = sampler.step(noise_pred, timestep, latents).prev_sample
        outside = sampler.add_noise(source, noise(source.shape[1:], generators, source), timestep[None])
        latents = inside * latents + (1 - inside) * outside
    return latents
