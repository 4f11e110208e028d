"""Picturebook's text encoder and UNet, trained jointly, with Stable Diffusion v1.5's classes and noise schedule.

Latents are encoded once. Captions are sampled in every step, and one in ten is dropped for classifier-free guidance.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid
from transformers import CLIPTextConfig, CLIPTextModel

from data.picturebook.judge import diffusion_scores
from data.picturebook.phrases import sample_caption
from data.picturebook.training.cards import write_card
from data.picturebook.training.denoising import Denoising
from data.picturebook.training.loop import TrainConfig
from data.picturebook.training.scenes import scene
from data.picturebook.training.tokenizers import clip_tokenizer
from data.picturebook.world import Scene
from instructedit.diffusion import Condition, decode, encode_text, guided, make_schedule, sample

TEXT_WINDOW = 32
"""Maximum number of tokens; a full description of three things that wear something has up to 27."""
JUDGED_RATIOS = (0.7, 0.9)
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

    def __init__(
        self,
        config: TrainConfig,
        work: Path,
        models: Path,
        options: Mapping[str, Any] = MappingProxyType({}),
        block_out_channels: Sequence[int] = (48, 96, 160),
    ) -> None:
        super().__init__(config, work, models, options)
        torch.manual_seed(config.seed)
        self.tokenizer = clip_tokenizer(window=TEXT_WINDOW)
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
            sample_size=self.grid,
            in_channels=self.channels,
            out_channels=self.channels,
            block_out_channels=tuple(block_out_channels),
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

    def _denoise(
        self, z: np.ndarray, captions: list[str], generator: torch.Generator, drawn: Sequence[Scene] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the weighted loss of each sample and its timestep."""
        noisy, noise, t = self.noised(torch.from_numpy(np.array(z)), generator)
        states = encode_text(self.tokenizer, self.text_encoder, captions)
        return self.weighted(self.unet(noisy, t, encoder_hidden_states=states).sample, noise, t, drawn), t.cpu()

    def loss(self, step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        picks = torch.randint(len(self.latents), (self.config.batch_size,), generator=generator).tolist()
        rng = np.random.default_rng([self.config.seed, step])
        drawn = [self.scenes[i] for i in picks]
        captions = ["" if rng.random() < 0.1 else sample_caption(s, rng) for s in drawn]
        each, _ = self._denoise(self.latents[picks], captions, generator, drawn)
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
        } | self._judge()

    def _judge(self) -> dict[str, float]:
        """Return the shares of correct edits of the saved model."""
        with self.as_saved() as (context, checkpoint):
            return diffusion_scores(context, checkpoint, JUDGED_RATIOS, self.config.judged)

    def sheet(self) -> Image.Image:
        generator, texts = torch.Generator().manual_seed(0), SHOWN[: self.config.held_out]
        x = torch.randn(len(texts), self.channels, self.grid, self.grid, generator=generator).to(self.device)
        captions = Condition(encode_text(self.tokenizer, self.text_encoder, texts))
        empty = Condition(encode_text(self.tokenizer, self.text_encoder, [""] * len(texts)))
        predict = guided(self.unet, self.scheduler, captions, empty, guidance_scale=5.0)
        images = decode(self.vae, sample(predict, x, make_schedule(self.scheduler, 30)))
        return to_pil_image(make_grid(images, nrow=8, normalize=True, value_range=(-1, 1)))

    def save(self, scores: dict[str, Any]) -> None:
        folder = self.models / "diffusion"
        self.save_parts(folder, torch.float16)
        text = "CLIPTextModel + UNet2DConditionModel, epsilon prediction, Stable Diffusion v1.5's noise schedule."
        write_card(folder / "unet", "Picturebook text-to-image UNet", text, scores)

    def save_parts(self, folder: Path, dtype: torch.dtype) -> None:
        for name, module in (("unet", self.unet), ("text_encoder", self.text_encoder)):
            module.to(dtype).save_pretrained(folder / name, max_shard_size="15MB")
            module.float()
        self.tokenizer.save_pretrained(folder / "tokenizer")
        self.scheduler.save_pretrained(folder / "scheduler")
