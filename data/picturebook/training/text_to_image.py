"""Picturebook's text encoder and UNet, trained together: Stable Diffusion v1.5's classes and noise schedule.

Latents are encoded once; captions are sampled anew each time; one in ten is dropped, for classifier-free guidance.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid
from transformers import CLIPTextConfig, CLIPTextModel

from data.picturebook.phrases import sample_caption
from data.picturebook.training.cards import write_card
from data.picturebook.training.denoising import Denoising
from data.picturebook.training.loop import TrainConfig
from data.picturebook.training.scenes import scene
from data.picturebook.training.tokenizers import TEXT_WINDOW, clip_tokenizer
from instructedit.diffusion import Condition, decode, encode_text, guided, make_schedule, sample

SHOWN = (
    "photo of a cat", "photo of a lion on sand", "photo of a dog with sunglasses", "photo of an apple and a lemon",
    "painting of a panda with a hat on grass", "drawing of a fox with a blue scarf", "photo of a red car at night",
    "photo of two zebras on grass", "photo of a horse and a tree on sand", "photo of three oranges on snow",
    "photo of a bear with a crown at night", "photo of a pink balloon", "photo of a mix of a cat and a lion",
    "photo of a strawberry, a shrimp and a cake", "painting of a rose and a house", "photo of an empty background",
)  # fmt: skip


class TextToImage(Denoising):
    """Noise prediction on latents (paper Eq. 1)."""

    name = "text_to_image"

    def __init__(self, config: TrainConfig, work: Path, models: Path) -> None:
        super().__init__(config, work, models)
        self.tokenizer = clip_tokenizer()
        self.text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(self.tokenizer),
                hidden_size=128,
                intermediate_size=384,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=TEXT_WINDOW,
                bos_token_id=self.tokenizer.bos_token_id,
                eos_token_id=self.tokenizer.eos_token_id,
                pad_token_id=self.tokenizer.pad_token_id,
            )
        ).to(self.device)
        self.unet = UNet2DConditionModel(
            sample_size=16,
            in_channels=4,
            out_channels=4,
            block_out_channels=(48, 96, 160),
            layers_per_block=1,
            cross_attention_dim=128,
            attention_head_dim=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            norm_num_groups=16,
        ).to(self.device)
        self.latents = self.split_latents("train", config.scenes)
        self.held_out = self.split_latents("held_out", config.held_out)
        self.scenes = [scene("train", i) for i in range(config.scenes)]

    def modules(self) -> dict[str, nn.Module]:
        return {"unet": self.unet, "text_encoder": self.text_encoder}

    def _denoise(self, z: Tensor, captions: list[str], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The weighted loss of each sample, and the timesteps drawn."""
        noisy, noise, t = self.noised(z, generator)
        states = encode_text(self.tokenizer, self.text_encoder, captions)
        return self.weighted(self.unet(noisy, t, encoder_hidden_states=states).sample, noise, t), t.cpu()

    def loss(self, step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        picks = torch.randint(len(self.latents), (self.config.batch_size,), generator=generator)
        rng = np.random.default_rng([self.config.seed, step])
        captions = ["" if rng.random() < 0.1 else sample_caption(self.scenes[i], rng) for i in picks.tolist()]
        each, _ = self._denoise(self.latents[picks], captions, generator)
        return each.mean(), {}

    def evaluate(self) -> dict[str, float]:
        generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
        captions = [sample_caption(scene("held_out", i), rng) for i in range(len(self.held_out))]
        losses, steps = self._denoise(self.held_out, captions, generator)
        generator.manual_seed(0)
        without, _ = self._denoise(self.held_out, [""] * len(captions), generator)
        late = steps >= 500
        return {
            "weighted_loss": losses.mean().item(),
            "weighted_loss_noisy_half": losses[late].mean().item(),
            "weighted_loss_noisy_half_without_caption": without[late].mean().item(),
        }

    def sheet(self) -> Image.Image:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(len(SHOWN), 4, 16, 16, generator=generator).to(self.device)
        captions = Condition(encode_text(self.tokenizer, self.text_encoder, SHOWN))
        empty = Condition(encode_text(self.tokenizer, self.text_encoder, [""] * len(SHOWN)))
        predict = guided(self.unet, self.scheduler, captions, empty, guidance_scale=5.0)
        images = decode(self.vae, sample(predict, x, make_schedule(self.scheduler, 30)))
        return to_pil_image(make_grid(images, nrow=8, normalize=True, value_range=(-1, 1)))

    def save(self, scores: dict[str, Any]) -> None:
        folder = self.models / "diffusion"
        for name, module in (("unet", self.unet), ("text_encoder", self.text_encoder)):
            module.half().save_pretrained(folder / name)
            module.float()
        self.tokenizer.save_pretrained(folder / "tokenizer")
        self.scheduler.save_pretrained(folder / "scheduler")
        text = "CLIPTextModel + UNet2DConditionModel, epsilon prediction, Stable Diffusion v1.5's noise schedule."
        write_card(folder / "unet", "Picturebook text-to-image UNet", text, scores)
