"""Tiny random instances of the real pipeline classes, saved as diffusers saves them; their tokenizers are made here."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    Flux2Transformer2DModel,
    FluxTransformer2DModel,
    LongCatImageTransformer2DModel,
    OmniGenTransformer2DModel,
    QwenImageTransformer2DModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
    ZImageTransformer2DModel,
)
from tokenizers import pre_tokenizers
from torch import nn
from transformers import (
    CLIPTextModelWithProjection,
    LlamaTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from data.picturebook.training.tokenizers import clip_tokenizer
from tests import tiny

VISION = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
CHAT = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"


def qwen_tokenizer() -> Qwen2Tokenizer:
    """One token per byte, and Qwen's special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *VISION]
    vocab = {token: i for i, token in enumerate([*special, *alphabet])}
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=[], model_max_length=4096, chat_template=CHAT)
    tokenizer.add_special_tokens({"additional_special_tokens": special[1:]})
    return tokenizer


def t5_tokenizer() -> T5Tokenizer:
    """One token per character."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    letters = [(c, -3.0) for c in "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    return T5Tokenizer(vocab=[*pieces, *letters], extra_ids=0, model_max_length=64)


def llama_tokenizer() -> LlamaTokenizer:
    """One token per byte."""
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    letters = [c for c in "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ<>|/_1:.\n"]
    return LlamaTokenizer(vocab={token: i for i, token in enumerate([*special, *letters])}, merges=[])


def t5(width: int = 32) -> T5EncoderModel:
    torch.manual_seed(11)
    tokenizer = t5_tokenizer()
    config = T5Config(
        vocab_size=len(tokenizer), d_model=width, d_kv=8, d_ff=32, num_layers=1, num_heads=2, initializer_factor=3.0,
        pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
    )  # fmt: skip
    return T5EncoderModel(config).eval()


def vae(channels: int, levels: int = 4, **others: Any) -> AutoencoderKL:
    """An autoencoder of f = 2^(levels - 1)."""
    torch.manual_seed(12)
    return AutoencoderKL(
        latent_channels=channels,
        block_out_channels=(8,) * levels,
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        norm_num_groups=4,
        mid_block_add_attention=False,
        **others,
    ).eval()


def flow() -> FlowMatchEulerDiscreteScheduler:
    return FlowMatchEulerDiscreteScheduler(shift=3.0)


def vision_language() -> dict[str, Any]:
    """Qwen2.5-VL, its tokenizer and its processor, which reduces each picture to a few tokens."""
    torch.manual_seed(13)
    tokenizer = qwen_tokenizer()
    ids = dict(zip(VISION, tokenizer.convert_tokens_to_ids(list(VISION)), strict=True))
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 4096,
            "rope_parameters": {"mrope_section": [2, 3, 3], "rope_type": "default", "rope_theta": 10000.0},
        },
        vision_config={
            "depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32,
            "fullatt_block_indexes": [0],
        },
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
    )  # fmt: skip
    pixels = {"shortest_edge": 56 * 56, "longest_edge": 112 * 112}
    processor = Qwen2VLProcessor(
        Qwen2VLImageProcessor(size=pixels), tokenizer, Qwen2VLVideoProcessor(size=pixels), chat_template=CHAT
    )
    return {
        "text_encoder": Qwen2_5_VLForConditionalGeneration(config).eval(),
        "tokenizer": tokenizer,
        "processor": processor,
    }


def qwen3(kind: Any, layers: int) -> Any:
    torch.manual_seed(14)
    config = Qwen3Config(
        vocab_size=len(qwen_tokenizer()), hidden_size=16, intermediate_size=16, num_hidden_layers=layers,
        num_attention_heads=2, num_key_value_heads=2, head_dim=8, max_position_embeddings=1024,
    )  # fmt: skip
    return kind(config).eval()


def stable_diffusion(in_channels: int) -> dict[str, Any]:
    return {
        "unet": tiny.unet(in_channels),
        "vae": tiny.vae(),
        "text_encoder": tiny.text_encoder(),
        "tokenizer": clip_tokenizer(),
        "scheduler": tiny.scheduler(),
        "safety_checker": None,
        "feature_extractor": None,
    }


def sdxl(in_channels: int) -> dict[str, Any]:
    parts = tiny.sdxl().components
    if in_channels != 4:
        torch.manual_seed(15)
        config = dict(parts["unet"].config) | {"in_channels": in_channels}
        parts["unet"] = UNet2DConditionModel.from_config(config).eval()
    kept = ("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "scheduler")
    return {name: parts[name] for name in kept}


def flux(in_channels: int, out_channels: int) -> dict[str, Any]:
    torch.manual_seed(16)
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=in_channels, out_channels=out_channels, num_layers=1, num_single_layers=1,
        attention_head_dim=16, num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=32,
        guidance_embeds=True, axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    return {
        "transformer": transformer,
        "vae": vae(out_channels // 4, shift_factor=0.1, scaling_factor=0.5),
        "text_encoder": tiny.text_encoder(),
        "tokenizer": clip_tokenizer(),
        "text_encoder_2": t5(),
        "tokenizer_2": t5_tokenizer(),
        "scheduler": flow(),
    }


def qwen_image() -> dict[str, Any]:
    """With an autoencoder of f=16, because the condition is always about 1024 x 1024 pixels."""
    torch.manual_seed(17)
    transformer = QwenImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    autoencoder = AutoencoderKLQwenImage(
        base_dim=2, z_dim=4, dim_mult=[1, 1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, False, True, True],
        latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
    ).eval()  # fmt: skip
    return {"transformer": transformer, "vae": autoencoder, "scheduler": flow(), **vision_language()}


def longcat() -> dict[str, Any]:
    torch.manual_seed(18)
    transformer = LongCatImageTransformer2DModel(
        patch_size=1, in_channels=64, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    parts = vision_language()
    parts["text_processor"] = parts.pop("processor")
    autoencoder = vae(16, levels=6, shift_factor=0.1, scaling_factor=0.5)
    return {"transformer": transformer, "vae": autoencoder, "scheduler": flow(), **parts}


def omnigen() -> dict[str, Any]:
    torch.manual_seed(19)
    tokenizer = llama_tokenizer()
    transformer = OmniGenTransformer2DModel(
        in_channels=4, patch_size=2, hidden_size=32, num_layers=1, num_attention_heads=2, num_key_value_heads=2,
        intermediate_size=32, vocab_size=len(tokenizer), pad_token_id=0,
        max_position_embeddings=4096, original_max_position_embeddings=4096, time_step_dim=32,
        rope_scaling={"long_factor": [1.0] * 8, "short_factor": [1.0] * 8, "type": "su"},
    )  # fmt: skip
    return {"transformer": transformer, "vae": vae(4), "scheduler": flow(), "tokenizer": tokenizer}


def klein() -> dict[str, Any]:
    torch.manual_seed(20)
    transformer = Flux2Transformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=48, timestep_guidance_channels=32, axes_dims_rope=(4, 4, 4, 4), guidance_embeds=False,
    )  # fmt: skip
    autoencoder = AutoencoderKLFlux2(
        latent_channels=4, block_out_channels=(8,) * 4, layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, norm_num_groups=4,
        mid_block_add_attention=False,
    ).eval()  # fmt: skip
    return {
        "transformer": transformer,
        "vae": autoencoder,
        "scheduler": flow(),
        "text_encoder": qwen3(Qwen3ForCausalLM, 28),  # hidden states of layers 9, 18 and 27 are read
        "tokenizer": qwen_tokenizer(),
    }


def sd3() -> dict[str, Any]:
    torch.manual_seed(21)
    transformer = SD3Transformer2DModel(
        sample_size=8, patch_size=1, in_channels=16, out_channels=16, num_layers=1, attention_head_dim=8,
        num_attention_heads=4, joint_attention_dim=64, caption_projection_dim=32, pooled_projection_dim=48,
    )  # fmt: skip
    encoders = [CLIPTextModelWithProjection(tiny.text_config(2)).eval() for _ in range(2)]
    return {
        "transformer": transformer,
        "vae": vae(16, shift_factor=0.1, scaling_factor=0.5),
        "scheduler": flow(),
        "text_encoder": encoders[0],
        "tokenizer": clip_tokenizer(),
        "text_encoder_2": encoders[1],
        "tokenizer_2": clip_tokenizer(),
        "text_encoder_3": t5(64),
        "tokenizer_3": t5_tokenizer(),
    }


def z_image() -> dict[str, Any]:
    torch.manual_seed(22)
    transformer = ZImageTransformer2DModel(
        all_patch_size=(2,), all_f_patch_size=(1,), in_channels=4, dim=32, n_layers=1, n_refiner_layers=1, n_heads=2,
        n_kv_heads=2, cap_feat_dim=16, axes_dims=[8, 4, 4], axes_lens=[1024, 64, 64],
    )  # fmt: skip
    return {
        "transformer": transformer,
        "vae": vae(4, shift_factor=0.1, scaling_factor=0.5),
        "scheduler": flow(),
        "text_encoder": qwen3(Qwen3Model, 2),
        "tokenizer": qwen_tokenizer(),
    }


def ledits() -> dict[str, Any]:
    """With attention at a quarter of the latents' resolution, where LEDITS++ reads its maps."""
    torch.manual_seed(23)
    network = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 16, 32),
        layers_per_block=1,
        cross_attention_dim=32,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
    )
    return stable_diffusion(4) | {"unet": network}


PARTS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "StableDiffusionInstructPix2PixPipeline": lambda: stable_diffusion(8),
    "StableDiffusionXLInstructPix2PixPipeline": lambda: sdxl(8),
    "FluxKontextPipeline": lambda: flux(16, 16),
    "QwenImageEditPipeline": qwen_image,
    "QwenImageEditPlusPipeline": qwen_image,
    "LongCatImageEditPipeline": longcat,
    "OmniGenPipeline": omnigen,
    "Flux2KleinPipeline": klein,
    "LEditsPPPipelineStableDiffusion": ledits,
    "StableDiffusionXLInpaintPipeline": lambda: sdxl(9),
    "StableDiffusion3InpaintPipeline": sd3,
    "FluxFillPipeline": lambda: flux(16 + 16 + 4 * 64, 16),
    "QwenImageEditInpaintPipeline": qwen_image,
    "ZImageInpaintPipeline": z_image,
}
"""The parts of each pipeline class that a preset names."""


def save(class_name: str, folder: Path) -> Path:
    """Save a pipeline whose parts are perturbed, because initial values of zeros or ones could hide errors."""
    parts = PARTS[class_name]()
    for seed, name in enumerate(sorted(parts)):
        if isinstance(parts[name], nn.Module):
            tiny.shake(parts[name].eval(), seed, 0.02)
    getattr(diffusers, class_name)(**parts).save_pretrained(folder)
    return folder
