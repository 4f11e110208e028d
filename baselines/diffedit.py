"""DiffEdit (Couairon et al. 2022): a mask from the noise difference of two captions, then mask-guided DDIM."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from instructedit import diffusion
from instructedit.cache import StageCache, code_of, hash_image
from instructedit.checks import require_one_of
from instructedit.editor import MaskGuidedEditor, latent_mask
from instructedit.latent_diffusion import LatentDiffusion, generator, noise
from instructedit.models import Checkpoint, Context
from instructedit.parameters import check_theta
from instructedit.stages import Progress, run_stages
from instructedit.types import (
    Captions,
    ConfigError,
    Decisions,
    EditRequest,
    EditResult,
    Failure,
    Method,
    Stage,
    StageError,
)


@dataclass(frozen=True)
class Variant:
    """Settings in which the published versions of DiffEdit differ."""

    inversion_prompt: str
    """See :class:`MaskGuidedEditor`."""
    is_inversion_guided: bool
    """Whether inversion uses the edit's guidance scale; otherwise it is not guided."""
    is_rescaled: bool
    """Whether the clamped map is scaled from its range to [0, 1]; otherwise it is divided by the clamp value."""
    blend: str
    """See :class:`MaskGuidedEditor`."""


VARIANTS = {
    # DiffEdit's paper, §3.2: unconditional inversion.
    "paper": Variant("empty", False, True, "paper"),
    # StableDiffusionDiffEditPipeline of diffusers.
    "diffusers": Variant("input", True, False, "official"),
    # InstructEdit's appendix B: InstructEdit's own editor with DiffEdit's mask.
    "instructedit": Variant("input", False, True, "paper"),
}


class DiffEdit(Method):
    """DiffEdit, a caption-conditioned method: it needs each request's input and edited captions.

    In all variants, latents are the mode of the autoencoder's posterior; diffusers samples them.

    Args:
        context: Models, cache and device.
        diffusion: Checkpoint of a Stable Diffusion folder.
        ratio: Encoding ratio r in (0, 1].
        theta: Threshold on the scaled noise difference, in (0, 1).
        variant: A key of :data:`VARIANTS`.
        steps: T.
        guidance_scale: Scale of classifier-free guidance.
        noises: Number n of noise samples over which the difference is averaged.
        strength: Noise level of the difference map, as a share of the T steps.
        clamp: The difference map is clamped at this multiple of its mean, to limit outliers.

    Raises:
        ConfigError: A parameter has a value that is not accepted.
    """

    needs_captions = True
    takes_ratio = True
    takes_restart = True

    def __init__(
        self,
        context: Context,
        diffusion: Checkpoint,
        ratio: float,
        theta: float = 0.5,
        variant: str = "instructedit",
        steps: int = 50,
        guidance_scale: float = 7.5,
        noises: int = 10,
        strength: float = 0.5,
        clamp: float = 3.0,
    ) -> None:
        require_one_of("variant", variant, VARIANTS)
        check_theta(theta)
        if noises < 1 or clamp <= 0 or not 1 / steps <= strength <= 1:
            raise ConfigError(
                f"noises={noises}, clamp={clamp}, strength={strength}: accepted are noises from 1 on, clamp above 0, "
                f"strength from 1/steps to 1"
            )
        self.variant = VARIANTS[variant]
        self.theta, self.noises, self.strength, self.clamp = theta, noises, strength, clamp
        self.editor = MaskGuidedEditor(
            context, diffusion, ratio, steps, guidance_scale, self.variant.blend,
            inversion_prompt=self.variant.inversion_prompt,
            inversion_guidance_scale=guidance_scale if self.variant.is_inversion_guided else 1.0,
        )  # fmt: skip

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | Failure]:
        """Edit a batch. A request fails if it has no captions or no pixel of its difference map is above theta."""
        return run_stages(requests, (Stage.MASK, self._mask), (Stage.EDITOR, self._edit))

    def _mask(self, alive: list[Progress]) -> None:
        for p in alive:
            if p.request.captions is None:
                p.error = StageError(Stage.MASK, "DiffEdit needs captions, and this sample has none")
                continue
            p.decisions = Decisions(captions=p.request.captions)
            difference, is_computed = self.difference(p.request, p.request.captions)
            nfe: dict[str, int] = {Stage.MASK: 2 * self.noises}
            p.evaluations, p.cached_evaluations = (nfe, {}) if is_computed else (dict.fromkeys(nfe, 0), nfe)
            inside = binarise(difference, self.theta, self.clamp, self.variant.is_rescaled)
            if not inside.any():
                p.error = StageError(Stage.MASK, f"no pixel's noise difference is above theta={self.theta}")
            p.mask = np.array(Image.fromarray(inside).resize(p.request.image.size, Image.Resampling.NEAREST))

    @torch.no_grad()
    def difference(self, request: EditRequest, captions: Captions) -> tuple[Float[Tensor, "h w"], bool]:
        """Return the mean absolute difference of the two captions' predicted noises, and whether it was computed now.

        Noise is predicted without guidance: with guidance, the unconditional parts cancel and the difference is
        multiplied by the guidance scale, which the scaling in :func:`binarise` removes. The map is cached before it is
        clamped and thresholded.
        """
        backbone = self.editor.backbone
        key = StageCache.key(
            Stage.NOISE_DIFFERENCE, code_of(DiffEdit, LatentDiffusion, diffusion), image=hash_image(request.image),
            input=captions.input, edited=captions.edited, noises=self.noises, strength=float(self.strength),
            steps=self.editor.steps, sample=request.id, seed=request.seed, model=backbone.checkpoint.fingerprint,
        )  # fmt: skip
        (entry,), (is_computed,) = backbone.context.cache.once(
            Stage.NOISE_DIFFERENCE, [key], lambda _: [{"difference": self._difference(request, captions)}]
        )
        return entry["difference"].cpu(), is_computed

    def _difference(self, request: EditRequest, captions: Captions) -> Float[Tensor, "h w"]:
        backbone = self.editor.backbone
        schedule = diffusion.make_schedule(backbone.scheduler, self.editor.steps)
        level = int(self.editor.steps * self.strength)
        latents = backbone.encode([request.image]).expand(self.noises, -1, -1, -1)
        samples = noise(latents.shape, [generator(request, Stage.MASK)], latents)[0]
        alpha, timestep = schedule.alphas[level], schedule.timesteps[level - 1]
        noisy = alpha**0.5 * latents + (1 - alpha) ** 0.5 * samples
        return difference_map(
            diffusion.conditional(backbone.unet, backbone.scheduler, backbone.embed([captions.input] * self.noises)),
            diffusion.conditional(backbone.unet, backbone.scheduler, backbone.embed([captions.edited] * self.noises)),
            noisy,
            timestep,
        )

    def _edit(self, alive: list[Progress]) -> None:
        captions = [p.decisions.captions for p in alive]
        masks = [self._on_the_grid(p) for p in alive]
        edited = self.editor.edit([p.request for p in alive], captions, masks)  # type: ignore[arg-type]
        for p, answer in zip(alive, edited, strict=True):
            if isinstance(answer, StageError):
                p.error = answer
            else:
                p.image, p.evaluations = answer.image, p.evaluations | answer.evaluations
                p.cached_evaluations |= answer.cached

    def _on_the_grid(self, p: Progress) -> Bool[np.ndarray, "h w"]:
        """Return the mask at its original latent resolution, so that the editor's reduction does not change it."""
        assert p.mask is not None
        backbone = self.editor.backbone
        width, height = (side // backbone.vae_scale_factor for side in backbone.size(p.request.image))
        return latent_mask(p.mask, (height, width))[0].bool().numpy()


def difference_map(
    source: diffusion.NoisePredictor, target: diffusion.NoisePredictor, noisy: Float[Tensor, "n c h w"], timestep: int
) -> Float[Tensor, "h w"]:
    """Compute |eps(x, edited caption) - eps(x, input caption)|, averaged over channels and noise samples.

    Source: DiffEdit §3.2, step 1.
    """
    return (target(noisy, timestep) - source(noisy, timestep)).abs().mean((0, 1)).float()


def binarise(
    difference: Float[Tensor, "h w"], theta: float, clamp: float, is_rescaled: bool
) -> Bool[np.ndarray, "h w"]:
    """Clamp a difference map at ``clamp`` times its mean, scale it to [0, 1], and threshold it at ``theta``."""
    top = difference.mean() * clamp
    clamped = difference.clamp(max=top)
    low, high = (clamped.min(), clamped.max()) if is_rescaled else (clamped.new_zeros(()), top)
    if not high > low:
        return np.zeros(difference.shape, dtype=bool)
    inside: np.ndarray = ((clamped - low) / (high - low) > theta).cpu().numpy()
    return inside
