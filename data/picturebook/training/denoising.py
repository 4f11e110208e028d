"""What all of picturebook's noise predictors share: frozen latents, SD v1.5's noise, and the weights of the loss."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from data.picturebook.training.loop import Component, TrainConfig
from data.picturebook.training.scenes import pictures, to_tensor
from instructedit.diffusion import encode


def make_scheduler() -> DDIMScheduler:
    """Stable Diffusion v1.5's noise schedule, as the released InstructEdit code sets it up."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def widened(unet: UNet2DConditionModel, channels: int) -> UNet2DConditionModel:
    """The same network with more input channels, the new ones zero-initialised.

    As InstructPix2Pix (Brooks et al. 2023, §3.2) and Stable Diffusion's inpainting model start from text-to-image.
    """
    made: UNet2DConditionModel = UNet2DConditionModel.from_config(unet.config, in_channels=channels)
    state = unet.state_dict()
    known = state["conv_in.weight"]
    state["conv_in.weight"] = known.new_zeros((known.shape[0], channels, *known.shape[2:]))
    state["conv_in.weight"][:, : known.shape[1]] = known
    made.load_state_dict(state)
    return made


class Denoising(Component):
    """A network that predicts noise on the latents of the shipped autoencoder.

    Loss weights are min-SNR (Hang et al. 2023, gamma 5).
    """

    def __init__(self, config: TrainConfig, work: Path, models: Path) -> None:
        super().__init__(config, work, models)
        self.scheduler = make_scheduler()
        self.vae: AutoencoderKL = self.shipped(AutoencoderKL, "vae")
        snr = self.scheduler.alphas_cumprod / (1 - self.scheduler.alphas_cumprod)
        self.weights = (snr.clamp(max=5) / snr).clamp(min=0.05)

    def shipped(self, kind: Any, part: str) -> Any:
        """A part of the text-to-image model, frozen."""
        made: nn.Module = kind.from_pretrained(self.models / "diffusion" / part, torch_dtype=torch.float32)
        return made.to(self.device).requires_grad_(False).eval()

    def pipeline(self, kind: Any) -> Any:
        """The model as a pipeline of diffusers, to draw samples with."""
        made = kind(
            **{part: getattr(self, part) for part in ("vae", "text_encoder", "tokenizer", "unet", "scheduler")},
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        made.set_progress_bar_config(disable=True)
        return made

    def copy_shipped(self, folder: Path, *parts: str) -> None:
        """Complete a model's folder with parts of the text-to-image model that it shares."""
        for part in parts:
            shutil.copytree(self.models / "diffusion" / part, folder / part, dirs_exist_ok=True)

    @torch.no_grad()
    def latents_of(self, name: str, images: UInt8[np.ndarray, "n h w 3"]) -> Float[Tensor, "n 4 16 16"]:
        """The scaled latents of a series of pictures, encoded once and kept beside them."""
        path = self.work.parent / f"latents_{name}_{len(images)}.pt"
        if not path.exists():
            starts = range(0, len(images), 64)
            parts = [encode(self.vae, to_tensor(images[i : i + 64]).to(self.device)).cpu() for i in starts]
            torch.save(torch.cat(parts), path)
        latents: Tensor = torch.load(path, weights_only=True)
        return latents

    def split_latents(self, split: str, count: int) -> Float[Tensor, "n 4 16 16"]:
        """The scaled latents of a split's scenes."""
        return self.latents_of(split, pictures(split, count, self.work.parent))

    def noised(self, z: Float[Tensor, "b 4 h w"], generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Noisy latents, the noise in them and the timesteps, on the device; drawn on the CPU, alike everywhere."""
        t = torch.randint(len(self.weights), (len(z),), generator=generator)
        noise = torch.randn(z.shape, generator=generator)
        noisy = self.scheduler.add_noise(z.cpu(), noise, t)
        return noisy.to(self.device), noise.to(self.device), t.to(self.device)

    def weighted(self, predicted: Tensor, noise: Tensor, t: Tensor) -> Float[Tensor, " b"]:
        """The weighted loss of each sample."""
        return (predicted - noise).pow(2).mean((1, 2, 3)) * self.weights.to(self.device)[t]
