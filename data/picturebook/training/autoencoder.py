"""Picturebook's autoencoder: AutoencoderKL, f=8, 4 channels, as Stable Diffusion's."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

from data.picturebook.training.cards import write_card
from data.picturebook.training.loop import Component, TrainConfig
from data.picturebook.training.scenes import pictures, scene, to_tensor
from data.picturebook.world import SIZE

CROP = 64


class Autoencoder(Component):
    """Reconstruction (L1, L2 and L1 of image gradients) plus a light KL term.

    Three steps in four see crops around the things, where all that is hard lies; the rest see whole pictures. The net
    is convolutional throughout (no attention), so what it learns on crops holds for pictures.
    """

    name = "autoencoder"
    kl_weight = 1e-4

    def __init__(self, config: TrainConfig, work: Path, models: Path) -> None:
        super().__init__(config, work, models)
        self.model = AutoencoderKL(
            in_channels=3,
            out_channels=3,
            latent_channels=4,
            block_out_channels=(8, 16, 48, 96),
            layers_per_block=1,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            norm_num_groups=8,
            sample_size=SIZE,
            mid_block_add_attention=False,
        ).to(self.device)
        self.train_images = pictures("train", config.scenes, work.parent)
        self.held_out = to_tensor(pictures("held_out", config.held_out, work.parent))
        self.centres = [[(t.x, t.y, t.size) for t in scene("train", i).things] for i in range(config.scenes)]

    def modules(self) -> dict[str, nn.Module]:
        return {"vae": self.model}

    def _batch(self, step: int, generator: torch.Generator) -> Tensor:
        whole = step % 4 == 0
        count = self.config.batch_size // 4 if whole else self.config.batch_size
        indices = torch.randint(len(self.train_images), (count,), generator=generator).tolist()
        if whole:
            return to_tensor(self.train_images[sorted(indices)])
        crops = []
        for i in indices:
            things = self.centres[i] or [(SIZE / 2, SIZE / 2, SIZE)]
            pick, u, v = torch.rand(3, generator=generator).tolist()
            x, y, size = things[int(pick * len(things))]
            left = int(min(max(x + (u - 0.5) * 1.1 * size - CROP / 2, 0), SIZE - CROP))
            top = int(min(max(y + (v - 0.5) * 1.1 * size - CROP / 2, 0), SIZE - CROP))
            crops.append(to_tensor(self.train_images[i : i + 1, top : top + CROP, left : left + CROP]))
        return torch.cat(crops)

    def loss(self, step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        x = self._batch(step, generator).to(self.device)
        posterior = self.model.encode(x).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator).to(self.device)
        y = self.model.decode(posterior.mean + posterior.std * noise).sample
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        distance, shown = self._distance(x, y)
        return distance + self.kl_weight * kl, shown | {"kl": kl.item()}

    @staticmethod
    def _distance(x: Tensor, y: Tensor) -> tuple[Tensor, dict[str, float]]:
        slopes = (_dx(x) - _dx(y)).abs().mean() + (_dy(x) - _dy(y)).abs().mean()
        error = x - y
        return error.abs().mean() + 2 * error.pow(2).mean() + 0.5 * slopes, {"psnr": psnr(x, y).item()}

    def reconstruct(self, x: Tensor) -> Tensor:
        parts = [
            self.model.decode(self.model.encode(b).latent_dist.mode()).sample.cpu() for b in x.to(self.device).split(32)
        ]
        return torch.cat(parts).clamp(-1, 1)

    def evaluate(self) -> dict[str, float]:
        # A picture at a time, then the mean: the usual reading of "PSNR on a test set".
        y = self.reconstruct(self.held_out)
        latents = torch.cat([self.model.encode(b).latent_dist.mode() for b in self.held_out.to(self.device).split(32)])
        self.model.register_to_config(scaling_factor=round(1 / latents.std().item(), 5))
        each = torch.stack([psnr(a, b) for a, b in zip(self.held_out, y, strict=True)])
        return {"psnr_db": each.mean().item(), "psnr_db_pooled": psnr(self.held_out, y).item()}

    def sheet(self) -> Image.Image:
        x = self.held_out[:16]
        return to_pil_image(
            make_grid(torch.cat([x, self.reconstruct(x)]), nrow=16, normalize=True, value_range=(-1, 1))
        )

    def save(self, scores: dict[str, Any]) -> None:
        folder = self.models / "diffusion" / "vae"
        self.model.half().save_pretrained(folder)
        self.model.float()
        write_card(
            folder, "Picturebook autoencoder", "AutoencoderKL, f=8, 4 latent channels, 128 x 128 pixels.", scores
        )


class Decoder(Autoencoder):
    """The decoder alone, on frozen latents: sharper pictures while the UNet that knows these latents stays valid."""

    name = "decoder"

    def __init__(self, config: TrainConfig, work: Path, models: Path) -> None:
        super().__init__(config, work, models)
        folder = models / "diffusion" / "vae"
        self.model = AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32).to(self.device)
        self.model.encoder.requires_grad_(False)
        self.model.quant_conv.requires_grad_(False)
        self.scaling_factor = self.model.config["scaling_factor"]
        self.before = json.loads((folder / "card.json").read_text())

    def loss(self, step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        x = self._batch(step, generator).to(self.device)
        with torch.no_grad():
            z = self.model.encode(x).latent_dist.mode()
        return self._distance(x, self.model.decode(z).sample)

    def save(self, scores: dict[str, Any]) -> None:
        self.model.register_to_config(scaling_factor=self.scaling_factor)
        super().save(scores | {"before_decoder_phase": self.before})


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of pictures in [-1, 1]."""
    return -10 * ((x - y.clamp(-1, 1)) / 2).pow(2).mean().log10()


def _dx(a: Tensor) -> Tensor:
    return a[..., 1:] - a[..., :-1]


def _dy(a: Tensor) -> Tensor:
    return a[..., 1:, :] - a[..., :-1, :]
