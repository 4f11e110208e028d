"""Base of picturebook's noise predictors: cached latents, SD v1.5's noise schedule, and loss weights."""

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from diffusers import AutoModel, DDIMScheduler, UNet2DConditionModel
from jaxtyping import Float, Float32, UInt8
from torch import Tensor, nn
from tqdm import tqdm

from data.picturebook.training.loop import Component, TrainConfig
from data.picturebook.training.scenes import pictures, to_tensor
from data.picturebook.world import SIZE, Scene
from instructedit.cache import StageCache
from instructedit.diffusion import Autoencoder, encode, vae_scale_factor
from instructedit.models import Checkpoint, Context, ModelPool, folder_hash
from instructedit.types import ConfigError


def make_scheduler() -> DDIMScheduler:
    """Return Stable Diffusion v1.5's noise schedule with the settings of the released InstructEdit code."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def widened(unet: UNet2DConditionModel, channels: int) -> UNet2DConditionModel:
    """Return a copy of a network with more input channels; the new ones are initialised with zeros.

    InstructPix2Pix (Brooks et al. 2023, §3.2) and Stable Diffusion's inpainting model are initialised like this.
    """
    result: UNet2DConditionModel = UNet2DConditionModel.from_config(unet.config, in_channels=channels)
    state = unet.state_dict()
    weight = state["conv_in.weight"]
    state["conv_in.weight"] = weight.new_zeros((weight.shape[0], channels, *weight.shape[2:]))
    state["conv_in.weight"][:, : weight.shape[1]] = weight
    result.load_state_dict(state)
    return result


TIMESTEPS = ("uniform", "logit_normal")


@dataclass(frozen=True)
class NoiseOptions:
    """Distribution of timesteps and weights of the loss, which docs/picturebook.md compares."""

    timesteps: str = "uniform"
    """``uniform``, or ``logit_normal``, which favours the middle (Esser et al. 2024, mean 0, standard deviation 1)."""
    max_timestep: int = 1000
    """Upper bound of the timesteps, exclusive."""
    object_weight: float = 1.0
    """Weight of the loss inside the things' boxes, relative to outside; a picture's mean weight is 1."""

    def __post_init__(self) -> None:
        if self.timesteps not in TIMESTEPS:
            raise ConfigError(f"options.timesteps={self.timesteps!r}: accepted are {', '.join(TIMESTEPS)}")


class Denoising(Component):
    """Base of a network that predicts noise on the latents of the autoencoder in ``models``.

    Loss weights are min-SNR (Hang et al. 2023, gamma 5).
    """

    def __init__(
        self, config: TrainConfig, work: Path, models: Path, options: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        super().__init__(config, work, models)
        self.options = NoiseOptions(**options)
        self.scheduler = make_scheduler()
        self.vae: Autoencoder = self.shipped(AutoModel, "vae")
        self.channels = int(self.vae.config["latent_channels"])
        self.grid = SIZE // vae_scale_factor(self.vae)
        """Number of latents along each side of a picture."""
        snr = self.scheduler.alphas_cumprod / (1 - self.scheduler.alphas_cumprod)
        self.weights = (snr.clamp(max=5) / snr).clamp(min=0.05)

    def shipped(self, kind: Any, part: str) -> Any:
        """Return a part of the text-to-image model, frozen."""
        model: nn.Module = kind.from_pretrained(str(self.models / "diffusion" / part), torch_dtype=torch.float32)
        return model.to(self.device).requires_grad_(False).eval()

    @abstractmethod
    def save_parts(self, folder: Path, dtype: torch.dtype) -> None:
        """Write the parts that this component trained, in the layout of a Stable Diffusion folder."""

    @contextmanager
    def as_saved(self) -> Iterator[tuple[Context, Checkpoint]]:
        """Save the model to a temporary folder and yield its checkpoint, for evaluation through the public classes."""
        with TemporaryDirectory(dir=self.work) as folder:
            self.save_parts(Path(folder), torch.float32)
            context = Context(ModelPool(), StageCache(Path(folder) / "cache"), self.device)
            yield context, Checkpoint(folder, base=str(self.models / "diffusion"))

    @torch.no_grad()
    def latents_of(self, name: str, images: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n c h w"]:
        """Return the scaled latents of a series of pictures; they are encoded once and cached on disk."""
        version = hashlib.sha256(folder_hash(self.models / "diffusion" / "vae").encode() + images[:4].tobytes())
        path = self.work.parent / f"latents_{name}_{len(images)}_{version.hexdigest()[:8]}.npy"
        if not path.exists():
            aside = path.with_suffix(".part.npy")
            shape = (len(images), self.channels, self.grid, self.grid)
            encoded = np.lib.format.open_memmap(aside, "w+", np.float32, shape)
            for i in tqdm(range(0, len(images), 64), desc=f"encoding {name}", unit="x64", leave=False):
                encoded[i : i + 64] = encode(self.vae, to_tensor(images[i : i + 64]).to(self.device)).cpu().numpy()
            encoded.flush()
            aside.rename(path)
        latents: np.ndarray = np.load(path, mmap_mode="r")
        return latents

    def split_latents(self, split: str, count: int) -> Float32[np.ndarray, "n c h w"]:
        """Return the scaled latents of a split's scenes."""
        return self.latents_of(split, pictures(split, count, self.work.parent))

    def noised(self, z: Float[Tensor, "b c h w"], generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Return noisy latents, their noise and timesteps on the device; sampled on the CPU, equal for all devices."""
        below = self.options.max_timestep
        if self.options.timesteps == "uniform":
            t = torch.randint(below, (len(z),), generator=generator)
        else:
            t = (torch.randn(len(z), generator=generator).sigmoid() * below).long()
        noise = torch.randn(z.shape, generator=generator)
        noisy = self.scheduler.add_noise(z.cpu(), noise, t)
        return noisy.to(self.device), noise.to(self.device), t.to(self.device)

    def weighted(
        self, predicted: Tensor, noise: Tensor, t: Tensor, drawn: Sequence[Scene] | None = None
    ) -> Float[Tensor, " b"]:
        """Return the weighted loss of each sample; ``drawn`` are the scenes for ``object_weight``."""
        each = (predicted - noise).pow(2).mean(1)
        if drawn is not None and self.options.object_weight != 1:
            maps = np.stack([object_map(s, self.grid, self.options.object_weight) for s in drawn])
            each = each * torch.from_numpy(maps).to(each)
        return each.mean((1, 2)) * self.weights.to(self.device)[t]


def object_map(drawn: Scene, grid: int, weight: float) -> Float32[np.ndarray, "grid grid"]:
    """Return loss weights on the latent grid: ``weight`` in the things' boxes, 1 elsewhere, scaled to a mean of 1.

    A latent is in a box if its centre is. Boxes are larger than sprites by 1/8 on each side, to include worn parts.
    """
    centres = (np.arange(grid, dtype=np.float32) + 0.5) * SIZE / grid
    weights = np.ones((grid, grid), np.float32)
    for thing in drawn.things:
        reach = thing.size * (0.5 + 1 / 8)
        weights[np.ix_(abs(centres - thing.y) <= reach, abs(centres - thing.x) <= reach)] = weight
    return weights / weights.mean()
