"""The paper's architectures at full size with seeded random weights, to measure memory and speed without downloads.

Tokenizers are picturebook's with the published maximum length; weights are written in float16.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import (
    BertTokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    PreTrainedTokenizerBase,
    SamConfig,
    SamImageProcessor,
    SamModel,
    SamProcessor,
    SamVisionConfig,
)

from instructedit.hub import FetchError

SEED = 0
SHIPPED = Path(__file__).resolve().parents[1] / "data" / "picturebook" / "models"
TEXT_WINDOW = 77
"""Maximum number of tokens of CLIP's text encoders."""


def unet(in_channels: int = 4) -> UNet2DConditionModel:
    """Return Stable Diffusion v1.5's UNet; with 8 input channels InstructPix2Pix's, with 9 the inpainting model's."""
    return UNet2DConditionModel(
        sample_size=64,
        in_channels=in_channels,
        block_out_channels=(320, 640, 1280, 1280),
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        layers_per_block=2,
        cross_attention_dim=768,
        attention_head_dim=8,
    )


def vae() -> AutoencoderKL:
    """Return Stable Diffusion's autoencoder."""
    return AutoencoderKL(
        sample_size=512,
        latent_channels=4,
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
    )


def text_encoder(tokenizer: PreTrainedTokenizerBase) -> CLIPTextModel:
    """Return CLIP ViT-L/14's text encoder with the tokenizer's special token ids."""
    ends = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        max_position_embeddings=TEXT_WINDOW,
        projection_dim=768,
        **ends,
    )
    return CLIPTextModel(config)


def grounding_dino() -> GroundingDinoForObjectDetection:
    """Return Grounding DINO with Swin-T and BERT-base, the library's defaults and the published tiny model."""
    return GroundingDinoForObjectDetection(GroundingDinoConfig())


def sam() -> SamModel:
    """Return SAM with ViT-H."""
    vision = SamVisionConfig(
        hidden_size=1280, num_hidden_layers=32, num_attention_heads=16, global_attn_indexes=[7, 15, 23, 31]
    )
    return SamModel(SamConfig(vision_config=vision))


def save_diffusion(folder: Path, in_channels: int = 4) -> None:
    """Write a Stable Diffusion folder."""
    tokenizer = CLIPTokenizer.from_pretrained(SHIPPED / "diffusion" / "tokenizer", model_max_length=TEXT_WINDOW)
    tokenizer.save_pretrained(folder / "tokenizer")
    DDIMScheduler.from_pretrained(SHIPPED / "diffusion" / "scheduler").save_pretrained(folder / "scheduler")
    _save(unet(in_channels), folder / "unet")
    _save(vae(), folder / "vae")
    _save(text_encoder(tokenizer), folder / "text_encoder")


def save_grounding_dino(folder: Path) -> None:
    """Write Grounding DINO with its processor."""
    _save(grounding_dino(), folder)
    GroundingDinoProcessor(
        GroundingDinoImageProcessor(), BertTokenizer.from_pretrained(SHIPPED / "grounding_dino")
    ).save_pretrained(folder)


def save_sam(folder: Path) -> None:
    """Write SAM with its processor."""
    _save(sam(), folder)
    SamProcessor(SamImageProcessor()).save_pretrained(folder)


ARCHITECTURES: Mapping[str, Callable[[Path], None]] = {
    "stable_diffusion": save_diffusion,
    "instruct_pix2pix": lambda folder: save_diffusion(folder, in_channels=8),
    "inpainting": lambda folder: save_diffusion(folder, in_channels=9),
    "grounding_dino": save_grounding_dino,
    "sam": save_sam,
}
"""Architectures that can follow ``random:`` in a checkpoint's source."""


def build(name: str, folder: Path) -> None:
    """Write a ``save_pretrained`` folder of random weights.

    Raises:
        FetchError: The architecture is unknown, or the folder cannot be written.
    """
    if name not in ARCHITECTURES:
        raise FetchError(f"source=random:{name}: architectures are {', '.join(ARCHITECTURES)}")
    torch.manual_seed(SEED)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # The folder is written under a temporary name and renamed, so that it is never incomplete.
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            ARCHITECTURES[name](Path(temporary) / folder.name)
            shutil.rmtree(folder, ignore_errors=True)
            (Path(temporary) / folder.name).rename(folder)
    except OSError as error:
        raise FetchError(f"{folder} cannot be written: {error}") from error


def _save(model: Any, folder: Path) -> None:
    model.half().save_pretrained(folder, max_shard_size="20GB")
