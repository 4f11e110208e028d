"""Latent diffusion in pure functions: encode, decode, predict noise, and take DDIM steps.

Noise levels are numbered 0 (the image) to T (almost pure noise); level k belongs to timestep ``timesteps[k - 1]``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from diffusers import AutoencoderDC, AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from jaxtyping import Float
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection, PreTrainedTokenizerBase

NoisePredictor = Callable[[Tensor, int], Tensor]
"""(latents [b c h w], timestep) -> predicted noise [b c h w]; the condition is already bound."""
Autoencoder: TypeAlias = AutoencoderKL | AutoencoderDC
"""Stable Diffusion's autoencoder, which returns a distribution, or SANA's, which returns latents."""


@dataclass(frozen=True)
class Condition:
    """Text conditioning of the noise predictor for a batch of captions."""

    states: Float[Tensor, "b n d"]
    """One hidden state per token."""
    pooled: Float[Tensor, "b p"] | None = None
    """One embedding per caption, which SDXL needs in addition."""
    vae_scale_factor: int = 8
    """Pixels per latent along each side, from which the picture size for SDXL is computed."""

    def __len__(self) -> int:
        return len(self.states)

    @staticmethod
    def cat(parts: "Sequence[Condition]") -> "Condition":
        """Concatenate conditions along the batch dimension."""
        pooled = [p.pooled for p in parts if p.pooled is not None]
        states = torch.cat([p.states for p in parts])
        return Condition(states, torch.cat(pooled) if pooled else None, parts[0].vae_scale_factor)

    def arguments(self, latents: Float[Tensor, "b c h w"]) -> dict[str, Any]:
        """Return the keyword arguments of UNet2DConditionModel for these latents.

        For SDXL they say that the picture was neither resized nor cropped (original size = target size, offset 0), as
        StableDiffusionXLPipeline does by default.
        """
        if self.pooled is None:
            return {"encoder_hidden_states": self.states}
        height, width = (side * self.vae_scale_factor for side in latents.shape[-2:])
        sizes = latents.new_tensor([height, width, 0, 0, height, width]).expand(len(latents), -1)
        added = {"text_embeds": self.pooled, "time_ids": sizes}
        return {"encoder_hidden_states": self.states, "added_cond_kwargs": added}


@dataclass(frozen=True)
class Schedule:
    """The DDIM schedule of T steps: a timestep and a cumulative alpha for each noise level."""

    timesteps: tuple[int, ...]
    """Timesteps of levels 1 to T, ascending; for T=50 of 1000: 1, 21, ..., 981."""
    alphas: tuple[float, ...]
    """Cumulative alphas of levels 0 to T; one more than ``timesteps``."""

    @property
    def steps(self) -> int:
        """Number of steps T."""
        return len(self.timesteps)


def make_schedule(scheduler: DDIMScheduler, steps: int, noise: float = 1.0) -> Schedule:
    """Return the DDIM schedule of ``scheduler`` with ``steps`` steps.

    Matches the released InstructEdit code: leading spacing with an offset of 1 (its constructor forces
    ``steps_offset=1``) and the alpha of timestep 0 for level 0 (``set_alpha_to_one=False``).

    Args:
        scheduler: Its noise schedule is used.
        steps: T.
        noise: Share of the training timesteps that is used, from the cleanest on. Below 1, this matches the released
            Instruct-NeRF2NeRF code, which sets ``num_train_timesteps`` to the noise level before ``set_timesteps``.

    Raises:
        ValueError: ``steps`` is not between 1 and the number of training timesteps that is used.
    """
    total = int(scheduler.config["num_train_timesteps"] * noise)
    if not 1 <= steps <= total:
        raise ValueError(f"steps={steps}: accepted are 1 to {total}")
    stride = total // steps
    timesteps = tuple(min(k * stride + 1, total - 1) for k in range(steps))
    cumulative = scheduler.alphas_cumprod.double()
    return Schedule(timesteps, (float(cumulative[0]), *(float(cumulative[t]) for t in timesteps)))


def vae_scale_factor(vae: Autoencoder) -> int:
    """Return the number of pixels per latent along each side: 8 for Stable Diffusion."""
    widths = vae.config.get("block_out_channels") or vae.config["encoder_block_out_channels"]
    return int(2 ** (len(widths) - 1))


def encode_unscaled(vae: Autoencoder, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b c h w"]:
    """Encode images in [-1, 1] to latents without the scaling factor.

    If the autoencoder returns a distribution, its mode is used and not a sample, as in the released code.
    """
    encoded = vae.encode(images)
    latents: Tensor = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latent
    return latents


def encode(vae: Autoencoder, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b c h w"]:
    """Encode images in [-1, 1] to scaled latents, the input of the noise predictor."""
    return encode_unscaled(vae, images) * float(vae.config["scaling_factor"])


def decode(vae: Autoencoder, latents: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 3 H W"]:
    """Decode scaled latents to images clamped to [-1, 1]."""
    images: Tensor = vae.decode(latents / float(vae.config["scaling_factor"])).sample
    return images.clamp(-1, 1)


def encode_text(
    tokenizer: PreTrainedTokenizerBase, text_encoder: CLIPTextModel, prompts: Sequence[str]
) -> Float[Tensor, "b n d"]:
    """Encode captions to the text encoder's last hidden states, padded to its full length as in training."""
    states: Tensor = text_encoder(_tokens(tokenizer, prompts).to(text_encoder.device)).last_hidden_state
    return states


def encode_text_xl(
    tokenizers: Sequence[PreTrainedTokenizerBase],
    text_encoders: tuple[CLIPTextModel, CLIPTextModelWithProjection],
    prompts: Sequence[str],
) -> Condition:
    """Encode captions for SDXL (Podell et al. 2023, §2.1; StableDiffusionXLPipeline's ``encode_prompt``).

    Returns:
        The penultimate hidden states of both encoders, concatenated along the feature dimension, and the pooled
        projection of the second encoder.
    """
    states, pooled = [], None
    for tokenizer, encoder in zip(tokenizers, text_encoders, strict=True):
        out = encoder(_tokens(tokenizer, prompts).to(encoder.device), output_hidden_states=True)
        states.append(out.hidden_states[-2])
        pooled = out[0]
    return Condition(torch.cat(states, dim=-1), pooled)


def _tokens(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> Tensor:
    padded = tokenizer(
        list(prompts), padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    )
    ids: Tensor = padded.input_ids
    return ids


def predict_noise(
    unet: UNet2DConditionModel,
    scheduler: DDIMScheduler,
    latents: Float[Tensor, "b c h w"],
    timestep: int,
    condition: Condition,
) -> Float[Tensor, "b c h w"]:
    """Return epsilon_theta(x_t, c, t), also for a network that was trained to predict v.

    Raises:
        ValueError: The scheduler's ``prediction_type`` is neither epsilon nor v_prediction.
    """
    output: Tensor = unet(latents, timestep, **condition.arguments(latents)).sample
    match scheduler.config["prediction_type"]:
        case "epsilon":
            return output
        case "v_prediction":
            alpha = scheduler.alphas_cumprod[timestep].to(latents)
            return alpha.sqrt() * output + (1 - alpha).sqrt() * latents
        case other:
            raise ValueError(f"prediction_type={other!r}: accepted are epsilon and v_prediction")


def conditional(unet: UNet2DConditionModel, scheduler: DDIMScheduler, condition: Condition) -> NoisePredictor:
    """Return a noise predictor under a caption, without guidance, as inversion uses it."""
    return lambda latents, timestep: predict_noise(unet, scheduler, latents, timestep, condition)


def guided(
    unet: UNet2DConditionModel,
    scheduler: DDIMScheduler,
    condition: Condition,
    unconditional: Condition,
    guidance_scale: float,
) -> NoisePredictor:
    """Return a noise predictor with classifier-free guidance; both halves are computed in one batch."""
    both = Condition.cat([unconditional, condition])

    def predict(latents: Tensor, timestep: int) -> Tensor:
        noise_pred = predict_noise(unet, scheduler, torch.cat([latents, latents]), timestep, both)
        noise_pred_uncond, noise_pred_text = noise_pred.chunk(2)
        return noise_pred_uncond + guidance_scale * (noise_pred_text - noise_pred_uncond)

    return predict


def move(x: Float[Tensor, "b c h w"], noise: Float[Tensor, "b c h w"], alpha: float, alpha_to: float) -> Tensor:
    """Take one DDIM step in either direction; the paper's Eqs. 2 (sampling) and 3 (inversion) are the same map.

    Args:
        x: Latents.
        noise: Predicted noise of ``x``.
        alpha: Cumulative alpha of ``x``.
        alpha_to: Cumulative alpha of the result; larger means less noise.
    """
    clean = (x - (1 - alpha) ** 0.5 * noise) / alpha**0.5
    return alpha_to**0.5 * clean + (1 - alpha_to) ** 0.5 * noise


def invert(
    predict: NoisePredictor, latents: Float[Tensor, "b c h w"], schedule: Schedule
) -> Float[Tensor, "levels b c h w"]:
    """Invert latents by DDIM (Eq. 3) and return the whole trajectory x_0 ... x_T.

    The step from level k-1 to k predicts the noise at level k's timestep, as the released code and diffusers'
    DDIMInverseScheduler do; sampling then reverses it up to the change of the predicted noise within a step. For a
    network that predicts v, the noise is computed at the same timestep; DDIMInverseScheduler interprets v at the alpha
    of level k-1 instead, which doubles the reconstruction error (T=50).
    """
    trajectory = [latents]
    for level, timestep in enumerate(schedule.timesteps, start=1):
        noise = predict(trajectory[-1], timestep)
        trajectory.append(move(trajectory[-1], noise, schedule.alphas[level - 1], schedule.alphas[level]))
    return torch.stack(trajectory)


def sample(
    predict: NoisePredictor, latents: Float[Tensor, "b c h w"], schedule: Schedule, start: int | None = None
) -> Float[Tensor, "b c h w"]:
    """Sample by DDIM (Eq. 2) from noise level ``start`` (default T) down to 0."""
    x = latents
    for level in range(schedule.steps if start is None else start, 0, -1):
        noise = predict(x, schedule.timesteps[level - 1])
        x = move(x, noise, schedule.alphas[level], schedule.alphas[level - 1])
    return x
