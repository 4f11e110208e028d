"""Latent diffusion in pure functions: encode, decode, predict noise, and move along the DDIM path.

Noise levels are numbered 0 (the image) to T (almost pure noise); level k belongs to timestep ``timesteps[k - 1]``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from jaxtyping import Float
from torch import Tensor
from transformers import CLIPTextModel, PreTrainedTokenizerBase

NoisePredictor = Callable[[Tensor, int], Tensor]
"""(latents [b c h w], timestep) -> predicted noise [b c h w], under a condition already bound."""


@dataclass(frozen=True)
class Schedule:
    """The DDIM path of T steps: a timestep and a signal level for each noise level."""

    timesteps: tuple[int, ...]
    """Ascending, of levels 1 to T; for T=50 of 1000: 1, 21, ..., 981."""
    alphas: tuple[float, ...]
    """Cumulative alpha of levels 0 to T, so one longer than ``timesteps``."""

    @property
    def steps(self) -> int:
        """T."""
        return len(self.timesteps)


def make_schedule(scheduler: DDIMScheduler, steps: int) -> Schedule:
    """The path that ``scheduler`` takes in ``steps`` steps.

    As the released InstructEdit code: leading spacing with an offset of 1 (its constructor forces ``steps_offset=1``)
    and the alpha of timestep 0 for level 0 (``set_alpha_to_one=False``).
    """
    total = scheduler.config["num_train_timesteps"]
    if not 1 <= steps <= total:
        raise ValueError(f"steps={steps}: accepted are 1 to {total}")
    stride = total // steps
    timesteps = tuple(min(k * stride + 1, total - 1) for k in range(steps))
    cumulative = scheduler.alphas_cumprod.double()
    return Schedule(timesteps, (float(cumulative[0]), *(float(cumulative[t]) for t in timesteps)))


def encode(vae: AutoencoderKL, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b c h w"]:
    """Images in [-1, 1] to scaled latents; the posterior's mean, not a sample, as the released code."""
    mean: Tensor = vae.encode(images).latent_dist.mode()
    return mean * float(vae.config["scaling_factor"])


def decode(vae: AutoencoderKL, latents: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 3 H W"]:
    """Scaled latents to images clamped to [-1, 1]."""
    images: Tensor = vae.decode(latents / float(vae.config["scaling_factor"])).sample
    return images.clamp(-1, 1)


def encode_text(
    tokenizer: PreTrainedTokenizerBase, text_encoder: CLIPTextModel, prompts: Sequence[str]
) -> Float[Tensor, "b n d"]:
    """Captions to the text encoder's last hidden states, padded to its window as in training."""
    tokens = tokenizer(
        list(prompts), padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    )
    states: Tensor = text_encoder(tokens.input_ids.to(text_encoder.device)).last_hidden_state
    return states


def predict_noise(
    unet: UNet2DConditionModel,
    scheduler: DDIMScheduler,
    latents: Float[Tensor, "b c h w"],
    timestep: int,
    condition: Float[Tensor, "b n d"],
) -> Float[Tensor, "b c h w"]:
    """epsilon_theta(x_t, c, t), whichever of epsilon or v the network was trained to predict."""
    output: Tensor = unet(latents, timestep, encoder_hidden_states=condition).sample
    match scheduler.config["prediction_type"]:
        case "epsilon":
            return output
        case "v_prediction":
            alpha = scheduler.alphas_cumprod[timestep].to(latents)
            return alpha.sqrt() * output + (1 - alpha).sqrt() * latents
        case other:
            raise ValueError(f"prediction_type={other!r}: accepted are epsilon and v_prediction")


def conditional(
    unet: UNet2DConditionModel, scheduler: DDIMScheduler, condition: Float[Tensor, "b n d"]
) -> NoisePredictor:
    """Noise prediction under one caption, without guidance: what inversion uses."""
    return lambda latents, timestep: predict_noise(unet, scheduler, latents, timestep, condition)


def guided(
    unet: UNet2DConditionModel,
    scheduler: DDIMScheduler,
    condition: Float[Tensor, "b n d"],
    unconditional: Float[Tensor, "b n d"],
    guidance_scale: float,
) -> NoisePredictor:
    """Classifier-free guidance, both halves in one batch."""
    both = torch.cat([unconditional, condition])

    def predict(latents: Tensor, timestep: int) -> Tensor:
        pair = predict_noise(unet, scheduler, torch.cat([latents, latents]), timestep, both)
        without, with_caption = pair.chunk(2)
        return without + guidance_scale * (with_caption - without)

    return predict


def move(x: Float[Tensor, "b c h w"], noise: Float[Tensor, "b c h w"], alpha: float, alpha_to: float) -> Tensor:
    """One DDIM step between two signal levels, in either direction: the paper's Eqs. 2 and 3 are the same map.

    Args:
        x: latents at cumulative alpha ``alpha``.
        noise: the noise predicted for them.
        alpha: where they are.
        alpha_to: where they go; larger means cleaner.
    """
    clean = (x - (1 - alpha) ** 0.5 * noise) / alpha**0.5
    return alpha_to**0.5 * clean + (1 - alpha_to) ** 0.5 * noise


def invert(
    predict: NoisePredictor, latents: Float[Tensor, "b c h w"], schedule: Schedule
) -> Float[Tensor, "levels b c h w"]:
    """DDIM inversion (Eq. 3): the whole trajectory x_0 ... x_T.

    The step from level k-1 to k asks for the noise at level k's timestep, as the released code and diffusers'
    DDIMInverseScheduler do; sampling back then undoes it up to the change of the noise within a step.
    """
    trajectory = [latents]
    for level, timestep in enumerate(schedule.timesteps, start=1):
        noise = predict(trajectory[-1], timestep)
        trajectory.append(move(trajectory[-1], noise, schedule.alphas[level - 1], schedule.alphas[level]))
    return torch.stack(trajectory)


def sample(
    predict: NoisePredictor, latents: Float[Tensor, "b c h w"], schedule: Schedule, start: int | None = None
) -> Float[Tensor, "b c h w"]:
    """DDIM sampling (Eq. 2) from noise level ``start`` (T unless told) down to 0."""
    x = latents
    for level in range(schedule.steps if start is None else start, 0, -1):
        noise = predict(x, schedule.timesteps[level - 1])
        x = move(x, noise, schedule.alphas[level], schedule.alphas[level - 1])
    return x
