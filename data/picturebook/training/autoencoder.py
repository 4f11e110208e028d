"""Picturebook's autoencoder: AutoencoderDC (Chen et al. 2024, SANA's), f=8, 8 channels, 128 x 128 pixels.

At this size Stable Diffusion's class, AutoencoderKL, is worse than a linear code with as many channels. Here, residual
shortcuts with pixel (un)shuffling provide the linear code, and the network learns the residual.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderDC
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

from data.picturebook.training.cards import write_card
from data.picturebook.training.loop import Component, TrainConfig
from data.picturebook.training.scenes import pictures, scene, to_tensor
from data.picturebook.world import SIZE

CHANNELS = 8
CROP = 64
LATENT_STD = 0.5
"""Standard deviation of scaled latents. With 1, as in Stable Diffusion, eight channels retain so much of a picture at
every noise level that edits keep the old shape."""
MAGNITUDE_WEIGHT, MEAN_WEIGHT = 1e-4, 0.1
"""Loss weights of the squared latents, and of the channels' squared means relative to the variance, because the class
has no shift."""
LATENT_NOISE = 0.03
"""Standard deviation, relative to the latents', of noise added before decoding: it makes the decoder robust to
generated latents."""


class Autoencoder(Component):
    """Reconstruction with L1 loss, L2 loss and L1 loss of image gradients.

    Three of four steps use crops around things, which are hard to reconstruct; the others use whole pictures. The
    network is convolutional, without attention, so it generalises from crops to pictures.
    """

    name = "autoencoder"

    def __init__(self, config: TrainConfig, work: Path, models: Path) -> None:
        super().__init__(config, work, models)
        torch.manual_seed(config.seed)
        self.model = AutoencoderDC(
            in_channels=3,
            latent_channels=CHANNELS,
            attention_head_dim=8,
            encoder_block_types="ResBlock",
            decoder_block_types="ResBlock",
            encoder_block_out_channels=(16, 32, 64, 128),
            decoder_block_out_channels=(16, 32, 64, 128),
            encoder_layers_per_block=(0, 1, 1, 2),
            decoder_layers_per_block=(0, 1, 1, 2),
            encoder_qkv_multiscales=((),) * 4,
            decoder_qkv_multiscales=((),) * 4,
            upsample_block_type="pixel_shuffle",
            downsample_block_type="pixel_unshuffle",
            decoder_norm_types="rms_norm",
            decoder_act_fns="silu",
        ).to(self.device, memory_format=torch.channels_last)  # 1/6 faster on CPU
        self.train_images = pictures("train", config.scenes, work.parent)
        self.held_out = to_tensor(pictures("held_out", config.held_out, work.parent))
        self.centres = [[(t.x, t.y, t.size) for t in scene("train", i).things] for i in range(config.scenes)]

    def modules(self) -> dict[str, nn.Module]:
        return {"vae": self.model}

    def _batch(self, step: int, generator: torch.Generator) -> Tensor:
        whole = step % 4 == 0
        count = max(1, self.config.batch_size // 4) if whole else self.config.batch_size
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
        z = self.model.encode(x).latent
        noise = torch.randn(z.shape, generator=generator).to(self.device)
        y = self.model.decode(z + LATENT_NOISE * z.detach().std() * noise).sample
        off_centre = z.mean((0, 2, 3)).pow(2).mean() / z.detach().var()
        regular = MAGNITUDE_WEIGHT * z.pow(2).mean() + MEAN_WEIGHT * off_centre
        slopes = (_dx(x) - _dx(y)).abs().mean() + (_dy(x) - _dy(y)).abs().mean()
        error = x - y
        distance = error.abs().mean() + 2 * error.pow(2).mean() + 0.5 * slopes
        return distance + regular, {"psnr": psnr(x, y).item()}

    def encode(self, x: Tensor) -> Tensor:
        """Encode pictures in [-1, 1] to unscaled latents."""
        return torch.cat([self.model.encode(b).latent for b in x.to(self.device).split(32)])

    def reconstruct(self, x: Tensor) -> Tensor:
        """Encode and decode pictures in [-1, 1]."""
        parts = [self.model.decode(z).sample.cpu() for z in self.encode(x).split(32)]
        return torch.cat(parts).clamp(-1, 1)

    def evaluate(self) -> dict[str, float]:
        # The PSNR is averaged over pictures, as usual for a test set.
        y, latents = self.reconstruct(self.held_out), self.encode(self.held_out)
        self.model.register_to_config(scaling_factor=round(LATENT_STD / latents.std().item(), 5))
        each = torch.stack([psnr(a, b) for a, b in zip(self.held_out, y, strict=True)])
        means = latents.mean((0, 2, 3)) / latents.std()
        return {
            "psnr_db": each.mean().item(),
            "psnr_db_pooled": psnr(self.held_out, y).item(),
            "largest_channel_mean_in_stds": means.abs().max().item(),
        }

    def sheet(self) -> Image.Image:
        x = self.held_out[:16]
        return to_pil_image(
            make_grid(torch.cat([x, self.reconstruct(x)]), nrow=16, normalize=True, value_range=(-1, 1))
        )

    def save(self, scores: dict[str, Any]) -> None:
        folder = self.models / "diffusion" / "vae"
        self.model.half().save_pretrained(folder)
        self.model.float()
        text = (
            f"AutoencoderDC, f=8, {CHANNELS} latent channels, {SIZE} x {SIZE} pixels. The class is SANA's, not Stable "
            "Diffusion's: at this size AutoencoderKL is worse than a linear code."
        )
        write_card(folder, "Picturebook autoencoder", text, scores)


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio in dB of pictures in [-1, 1]."""
    return -10 * ((x - y.clamp(-1, 1)) / 2).pow(2).mean().log10()


def _dx(a: Tensor) -> Tensor:
    return a[..., 1:] - a[..., :-1]


def _dy(a: Tensor) -> Tensor:
    return a[..., 1:, :] - a[..., :-1, :]
