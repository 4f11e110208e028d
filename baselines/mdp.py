"""MDP-eps_t (Wang et al. 2023b): mixes the predicted noises of two captions in a window of the sampling steps."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional

from baselines.base import CaptionMethod
from instructedit import diffusion
from instructedit.checks import require, require_one_of, require_whole
from instructedit.editor import Edited
from instructedit.latent_diffusion import LatentDiffusion, to_images
from instructedit.models import Checkpoint, Context
from instructedit.types import Captions, ConfigError, Stage

# Weights over the window, beginning at 1; the schedules of the official code.
SCHEDULES: dict[str, Callable[[int], np.ndarray]] = {
    "constant": np.ones,
    "linear": lambda count: np.linspace(1, 0, count),
    "cosine": lambda count: np.cos(np.linspace(0, np.pi / 2, count)),
    "exponential": lambda count: np.exp(np.linspace(0, -5, count)),
}


def mixing_weights(steps: int, start: int, end: int, factor: float, schedule: str) -> Float[np.ndarray, " steps"]:
    """Return the weight of the input caption's noise at each step, counted from the noisiest; 0 outside [start, end).

    The official code's ``tmax`` and ``tmin`` correspond to ``start = 50 - tmax`` and ``end = 50 - tmin``. As in that
    code, ``factor`` applies to the constant schedule only.
    """
    weights = np.zeros(steps)
    weights[start:end] = SCHEDULES[schedule](end - start)
    return weights * factor if schedule == "constant" else weights


class MDP(CaptionMethod):
    """MDP-eps_t, a caption-conditioned method: inversion under the input caption, then sampling with mixed noises.

    The input caption's noises are those of the reconstruction from x_T. With ``null_text`` they are guided, and
    null-text optimisation keeps the reconstruction on the inverted trajectory; as in the official code, the optimised
    embeddings also replace those of the empty caption in the edited caption's guidance. The official code inverts under
    the empty caption; this class inverts under the input caption, as in the paper. Without ``null_text`` the input
    caption's noises are not guided, so that the reconstruction stays near the inverted trajectory. With an empty
    window, the method samples under the edited caption only; with a full window (constant, factor 1), it returns the
    reconstruction.

    Args:
        context: Models, cache and device.
        diffusion: Checkpoint of a Stable Diffusion folder.
        start: First step of the window in which the input caption's noise is mixed in; step 0 is the noisiest.
        end: The step after the window's last.
        factor: Weight of the input caption's noise in the window, in [0, 1].
        schedule: Schedule of the weight over the window, a key of :data:`SCHEDULES`.
        steps: T.
        guidance_scale: Scale of classifier-free guidance.
        null_text: Whether to optimise the empty caption's embeddings at each of the T steps (Mokady et al. 2022), which
            makes the method about ten times slower.

    Raises:
        ConfigError: A parameter has a value that is not accepted.
    """

    title = "MDP"

    def __init__(
        self,
        context: Context,
        diffusion: Checkpoint,
        start: int,
        end: int,
        factor: float = 1.0,
        schedule: str = "constant",
        steps: int = 50,
        guidance_scale: float = 7.5,
        null_text: bool = False,
    ) -> None:
        require_one_of("schedule", schedule, SCHEDULES)
        require_whole("steps", steps, 1, 1000)
        if not 0 <= start <= end <= steps:
            raise ConfigError(f"start={start}, end={end}: accepted are steps 0 <= start <= end <= {steps}")
        require(0 <= factor <= 1, "factor", factor, "0 to 1")
        self.backbone = LatentDiffusion(context, diffusion)
        self.weights = mixing_weights(steps, start, end, factor, schedule)
        self.steps, self.guidance_scale, self.null_text = steps, guidance_scale, null_text

    def _groups(self, images: list[Image.Image]) -> Iterable[Sequence[int]]:
        # Null-text optimisation stops at a small error, so samples are processed one at a time to keep results
        # independent of the batch.
        return [[i] for i in range(len(images))] if self.null_text else super()._groups(images)

    def _parameters(self) -> dict[str, Any]:
        return {
            "weights": self.weights.tolist(), "guidance_scale": float(self.guidance_scale), "null_text": self.null_text
        }  # fmt: skip

    @torch.no_grad()
    def _sample(self, images: list[Image.Image], captions: list[Captions]) -> list[Edited]:
        backbone = self.backbone
        trajectory, inversions = backbone.invert(images, [c.input for c in captions], self.steps)
        schedule = diffusion.make_schedule(backbone.scheduler, self.steps)
        inputs, texts = [c.input for c in captions], [c.edited for c in captions]
        if self.null_text:
            null = null_text_optimisation(backbone, trajectory, backbone.embed(inputs), schedule, self.guidance_scale)
            input_noises, nfe = null.noises, null.evaluations
            edited = [backbone.guided(texts, self.guidance_scale, u) for u in null.unconditional]
        else:
            input_noises, nfe = self._reconstruct(trajectory, inputs, schedule)
            edited = [backbone.guided(texts, self.guidance_scale)] * self.steps
        latents = mixed_sample(edited, input_noises, self.weights, trajectory[-1], schedule)
        edit_nfe = int((self.weights != 1).sum()) * (1 if self.guidance_scale == 1 else 2)
        edits = to_images(backbone.decode(latents), [i.size for i in images])
        return [
            Edited(e, {Stage.INVERSION: n, Stage.RECONSTRUCTION: nfe, Stage.EDIT: edit_nfe}, {Stage.INVERSION: saved})
            for e, (n, saved) in zip(edits, inversions, strict=True)
        ]

    def _reconstruct(
        self, trajectory: Float[Tensor, "levels b c h w"], captions: list[str], schedule: diffusion.Schedule
    ) -> tuple[list[Tensor], int]:
        """Return the input caption's unguided noises from x_T to the window's last step, and their NFE."""
        last = int(np.flatnonzero(self.weights).max(initial=-1)) + 1
        predict, x, noises = self.backbone.guided(captions, 1.0), trajectory[-1], list[Tensor]()
        for level in range(schedule.steps, schedule.steps - last, -1):
            noises.append(predict(x, schedule.timesteps[level - 1]))
            x = diffusion.move(x, noises[-1], schedule.alphas[level], schedule.alphas[level - 1])
        return noises, last


def mixed_sample(
    edited: Sequence[diffusion.NoisePredictor],
    input_noises: Sequence[Float[Tensor, "b c h w"]],
    weights: Sequence[float] | np.ndarray,
    x: Float[Tensor, "b c h w"],
    schedule: diffusion.Schedule,
) -> Float[Tensor, "b c h w"]:
    """Sample from x_T with eps = w eps_input + (1 - w) eps_edited, with a weight w for each step (MDP §4.1).

    Args:
        edited: Guided noise predictors under the edited caption, one per step.
        input_noises: The input caption's noises, at least up to the last step with a weight above 0.
        weights: w of each step, in [0, 1], counted from the noisiest.
        x: x_T.
        schedule: The DDIM schedule.
    """
    for step, weight in enumerate(weights):
        level = schedule.steps - step
        # Noise with weight 0 is not predicted.
        parts = [weight * input_noises[step]] if weight > 0 else []
        parts += [(1 - weight) * edited[step](x, schedule.timesteps[level - 1])] if weight < 1 else []
        x = diffusion.move(x, torch.stack(parts).sum(0), schedule.alphas[level], schedule.alphas[level - 1])
    return x


@dataclass(frozen=True)
class NullText:
    """Result of null-text optimisation; steps are counted from the noisiest."""

    unconditional: list[diffusion.Condition]
    """The optimised condition of the empty caption at each of the T steps."""
    noises: list[Float[Tensor, "b c h w"]]
    """The guided noises of the reconstruction at each step."""
    evaluations: int
    """Number of function evaluations (NFE)."""


@torch.no_grad()
def null_text_optimisation(
    backbone: LatentDiffusion,
    trajectory: Float[Tensor, "levels b c h w"],
    condition: diffusion.Condition,
    schedule: diffusion.Schedule,
    guidance_scale: float,
    inner_steps: int = 10,
) -> NullText:
    """Optimise the empty caption's states at every step until the guided step ends on the inverted trajectory.

    Source: null-text inversion (Mokady et al. 2022, Alg. 1) with the released code's settings: Adam with learning rate
    1e-2 (1 - i / 2T), at most ``inner_steps`` steps, until the mean squared error is below 1e-5 + 2e-5 i. Each step is
    initialised with the states of the previous step.

    Args:
        backbone: The checkpoint.
        trajectory: Inverted latents of levels 0 to T.
        condition: Condition of the caption under which the latents were inverted.
        schedule: The DDIM schedule.
        guidance_scale: Guidance scale of the reconstruction.
        inner_steps: Maximum number of Adam steps at each DDIM step.
    """
    empty = backbone.embed([""] * len(condition))
    null, x, evaluations = empty.states, trajectory[-1], 0
    unconditional, noises = list[diffusion.Condition](), list[Tensor]()
    for step in range(schedule.steps):
        level = schedule.steps - step
        timestep, alphas = schedule.timesteps[level - 1], (schedule.alphas[level], schedule.alphas[level - 1])
        noise_pred_text = diffusion.predict_noise(backbone.unet, backbone.scheduler, x, timestep, condition)
        with torch.enable_grad():
            null = null.clone().requires_grad_(True)
            optimiser = torch.optim.Adam([null], lr=1e-2 * (1 - step / (2 * schedule.steps)))
            for _ in range(inner_steps):
                noise_pred_uncond = diffusion.predict_noise(
                    backbone.unet, backbone.scheduler, x, timestep, replace(empty, states=null)
                )
                evaluations += 1
                guided = noise_pred_uncond + guidance_scale * (noise_pred_text - noise_pred_uncond)
                error = functional.mse_loss(diffusion.move(x, guided, *alphas), trajectory[level - 1])
                optimiser.zero_grad()
                error.backward()
                optimiser.step()
                if error < 1e-5 + 2e-5 * step:
                    break
        null = null.detach()
        unconditional.append(replace(empty, states=null))
        noise_pred_uncond = diffusion.predict_noise(backbone.unet, backbone.scheduler, x, timestep, unconditional[-1])
        evaluations += 2  # this one and noise_pred_text
        noises.append(noise_pred_uncond + guidance_scale * (noise_pred_text - noise_pred_uncond))
        x = diffusion.move(x, noises[-1], *alphas)
    return NullText(unconditional, noises, evaluations)
