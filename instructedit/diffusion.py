"""Latent diffusion in pure functions: encode, decode, predict noise, and move along the DDIM path.

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
"""(latents [b c h w], timestep) -> predicted noise [b c h w], under a condition already bound."""
Autoencoder: TypeAlias = AutoencoderKL | AutoencoderDC
"""Stable Diffusion's, which answers with a distribution, or SANA's, which answers with latents."""


@dataclass(frozen=True)
class Condition:
    """What the noise predictor is told of a batch of captions."""

    states: Float[Tensor, "b n d"]
    """A state for each token."""
    pooled: Float[Tensor, "b p"] | None = None
    """One for the whole caption, which SDXL asks for beside them."""
    vae_scale_factor: int = 8
    """Pixels per latent along each side, by which SDXL is told the picture's size."""

    def __len__(self) -> int:
        return len(self.states)

    @staticmethod
    def cat(parts: "Sequence[Condition]") -> "Condition":
        """The conditions of one batch after those of another."""
        pooled = [p.pooled for p in parts if p.pooled is not None]
        states = torch.cat([p.states for p in parts])
        return Condition(states, torch.cat(pooled) if pooled else None, parts[0].vae_scale_factor)

    def arguments(self, latents: Float[Tensor, "b c h w"]) -> dict[str, Any]:
        """What UNet2DConditionModel is called with beside latents and timestep.

        SDXL is told that the picture was never resized or cropped (original size = target size, offset 0), as
        StableDiffusionXLPipeline tells it unless told otherwise.
        """
        if self.pooled is None:
            return {"encoder_hidden_states": self.states}
        height, width = (side * self.vae_scale_factor for side in latents.shape[-2:])
        sizes = latents.new_tensor([height, width, 0, 0, height, width]).expand(len(latents), -1)
        added = {"text_embeds": self.pooled, "time_ids": sizes}
        return {"encoder_hidden_states": self.states, "added_cond_kwargs": added}


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


def vae_scale_factor(vae: Autoencoder) -> int:
    """Pixels per latent along each side: 8 for Stable Diffusion."""
    widths = vae.config.get("block_out_channels") or vae.config["encoder_block_out_channels"]
    return int(2 ** (len(widths) - 1))


def encode_unscaled(vae: Autoencoder, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b c h w"]:
    """Images in [-1, 1] to latents as the autoencoder has them.

    Of an autoencoder that answers with a distribution, the mean and not a sample, as the released code.
    """
    encoded = vae.encode(images)
    latents: Tensor = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latent
    return latents


def encode(vae: Autoencoder, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b c h w"]:
    """Images in [-1, 1] to scaled latents, which the noise predictor knows."""
    return encode_unscaled(vae, images) * float(vae.config["scaling_factor"])


def decode(vae: Autoencoder, latents: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 3 H W"]:
    """Scaled latents to images clamped to [-1, 1]."""
    images: Tensor = vae.decode(latents / float(vae.config["scaling_factor"])).sample
    return images.clamp(-1, 1)


def encode_text(
    tokenizer: PreTrainedTokenizerBase, text_encoder: CLIPTextModel, prompts: Sequence[str]
) -> Float[Tensor, "b n d"]:
    """Captions to the text encoder's last hidden states, padded to its window as in training."""
    states: Tensor = text_encoder(_tokens(tokenizer, prompts).to(text_encoder.device)).last_hidden_state
    return states


def encode_text_xl(
    tokenizers: Sequence[PreTrainedTokenizerBase],
    text_encoders: tuple[CLIPTextModel, CLIPTextModelWithProjection],
    prompts: Sequence[str],
) -> Condition:
    """Captions as SDXL wants them (Podell et al. 2023, §2.1; StableDiffusionXLPipeline's ``encode_prompt``).

    Returns:
        The last hidden states but one of both encoders side by side, and the second one's pooled projection.
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
    """epsilon_theta(x_t, c, t), whichever of epsilon or v the network was trained to predict."""
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
    """Noise prediction under one caption, without guidance: what inversion uses."""
    return lambda latents, timestep: predict_noise(unet, scheduler, latents, timestep, condition)


def guided(
    unet: UNet2DConditionModel,
    scheduler: DDIMScheduler,
    condition: Condition,
    unconditional: Condition,
    guidance_scale: float,
) -> NoisePredictor:
    """Classifier-free guidance, both halves in one batch."""
    both = Condition.cat([unconditional, condition])

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
    DDIMInverseScheduler do; sampling back then undoes it up to the change of the noise within a step. A network that
    predicts v is asked for the same noise, so that inversion depends on what it knows and not on how it says so;
    DDIMInverseScheduler reads v at level k-1's alpha there, which comes back with twice the error (T=50).
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
