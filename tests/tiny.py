"""Seeded tiny instances of the real classes, saved as a Stable Diffusion folder."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from safetensors.torch import save_file
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, TwoWayTransformer
from segment_anything.modeling import Sam as OriginalSamModel
from torch import nn
from transformers import (
    BertConfig,
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    BlipImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
    OPTConfig,
    Sam2Config,
    Sam2HieraDetConfig,
    Sam2ImageProcessor,
    Sam2MaskDecoderConfig,
    Sam2Model,
    Sam2Processor,
    Sam2PromptEncoderConfig,
    Sam2VisionConfig,
    SamConfig,
    SamImageProcessor,
    SamMaskDecoderConfig,
    SamModel,
    SamProcessor,
    SamPromptEncoderConfig,
    SamVisionConfig,
    SwinConfig,
    T5Config,
)

from data.picturebook.training.denoising import make_scheduler
from data.picturebook.training.tokenizers import TEXT_WINDOW, bert_tokenizer, clip_tokenizer, word_tokenizer
from instructedit.editor import Edited
from instructedit.types import StageError


def unet(in_channels: int = 4, out_channels: int = 4) -> UNet2DConditionModel:
    """Two levels, 8 x 8 latents."""
    torch.manual_seed(1)
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=in_channels,
        out_channels=out_channels,
        block_out_channels=(16, 32),
        layers_per_block=1,
        cross_attention_dim=32,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
    ).eval()


def vae() -> AutoencoderKL:
    """f=8, as Stable Diffusion's."""
    torch.manual_seed(2)
    return AutoencoderKL(
        latent_channels=4,
        block_out_channels=(8, 8, 16, 16),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        sample_size=64,
    ).eval()


def vae_dc() -> AutoencoderDC:
    """Return SANA's autoencoder, which encodes to latents and not to a distribution; 8 channels, f=4."""
    torch.manual_seed(2)
    return AutoencoderDC(
        latent_channels=8,
        attention_head_dim=8,
        encoder_block_out_channels=(8, 16, 16),
        decoder_block_out_channels=(8, 16, 16),
        encoder_layers_per_block=(0, 1, 1),
        decoder_layers_per_block=(0, 1, 1),
        encoder_qkv_multiscales=((),) * 3,
        decoder_qkv_multiscales=((),) * 3,
        scaling_factor=0.5,
    ).eval()


def text_encoder(layers: int = 1) -> CLIPTextModel:
    """With the tokenizer of picturebook."""
    torch.manual_seed(3)
    return CLIPTextModel(text_config(layers)).eval()


def text_config(layers: int) -> CLIPTextConfig:
    tokenizer = clip_tokenizer()
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=TEXT_WINDOW,
        projection_dim=24,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def scheduler(prediction_type: str = "epsilon") -> DDIMScheduler:
    """Return Stable Diffusion v1.5's scheduler with the released code's settings; v2.1's predicts v."""
    return DDIMScheduler.from_config(make_scheduler().config, prediction_type=prediction_type)


def save_diffusion(folder: Path, in_channels: int = 4, prediction_type: str = "epsilon") -> Path:
    """A whole Stable Diffusion folder; returns it."""
    unet(in_channels).save_pretrained(folder / "unet")
    vae().save_pretrained(folder / "vae")
    return _complete(folder, prediction_type)


def save_diffusion_dc(folder: Path, in_channels: int = 8) -> Path:
    """The same with :func:`vae_dc` and latents of 8 channels."""
    unet(in_channels, out_channels=8).save_pretrained(folder / "unet")
    vae_dc().save_pretrained(folder / "vae")
    return _complete(folder, "epsilon")


def _complete(folder: Path, prediction_type: str) -> Path:
    text_encoder().save_pretrained(folder / "text_encoder")
    clip_tokenizer().save_pretrained(folder / "tokenizer")
    scheduler(prediction_type).save_pretrained(folder / "scheduler")
    return folder


def sdxl() -> StableDiffusionXLPipeline:
    """Two text encoders of 32 dimensions, a pooled projection of 24, and the six sizes embedded in 8 each."""
    torch.manual_seed(1)
    network = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        cross_attention_dim=64,
        attention_head_dim=4,
        transformer_layers_per_block=(1, 2),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24 + 6 * 8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
    ).eval()
    torch.manual_seed(4)
    second = CLIPTextModelWithProjection(text_config(3)).eval()
    # SDXL is published with this scheduler; ours is built from its configuration.
    euler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, timestep_spacing="leading"
    )
    made = StableDiffusionXLPipeline(
        vae(), text_encoder(3), second, clip_tokenizer(), clip_tokenizer(), network, euler, add_watermarker=False
    )
    made.set_progress_bar_config(disable=True)
    return made


def save_sdxl(folder: Path) -> Path:
    """A whole SDXL folder, with its ``model_index.json``; returns it."""
    sdxl().save_pretrained(folder)
    return folder


def save_grounding_dino(folder: Path, newer: bool = False) -> Path:
    """A detector of random weights and its processor; returns the folder. ``newer``: MM Grounding DINO."""
    torch.manual_seed(4)
    tokenizer = bert_tokenizer()
    configure = MMGroundingDinoConfig if newer else GroundingDinoConfig
    model = (MMGroundingDinoForObjectDetection if newer else GroundingDinoForObjectDetection)(
        configure(
            backbone_config=SwinConfig(
                image_size=64, patch_size=8, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4,
                out_features=["stage1", "stage2"],
            ),
            text_config=BertConfig(
                vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                intermediate_size=32, max_position_embeddings=64,
            ),
            d_model=32, encoder_layers=1, decoder_layers=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
            encoder_attention_heads=2, decoder_attention_heads=2, num_queries=6, num_feature_levels=2, max_text_len=32,
        )
    )  # fmt: skip
    model.save_pretrained(folder)
    size = {"shortest_edge": 64, "longest_edge": 64}
    GroundingDinoProcessor(GroundingDinoImageProcessor(size=size), tokenizer).save_pretrained(folder)
    return folder


def save_sam(folder: Path) -> Path:
    """A SAM of random weights and its processor; returns the folder."""
    torch.manual_seed(5)
    vision = SamVisionConfig(
        hidden_size=16, output_channels=16, num_hidden_layers=1, num_attention_heads=2, image_size=64, patch_size=8,
        window_size=4, global_attn_indexes=[0], mlp_dim=32, num_pos_feats=8,
    )  # fmt: skip
    prompt = SamPromptEncoderConfig(hidden_size=16, image_size=64, patch_size=8, mask_input_channels=4)
    decoder = SamMaskDecoderConfig(
        hidden_size=16, mlp_dim=32, num_hidden_layers=1, num_attention_heads=2, iou_head_hidden_dim=16
    )
    SamModel(
        SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    ).save_pretrained(folder)
    SamProcessor(
        SamImageProcessor(
            size={"longest_edge": 64},
            mask_size={"longest_edge": 32},
            pad_size={"height": 64, "width": 64},
            mask_pad_size={"height": 32, "width": 32},
        )
    ).save_pretrained(folder)
    return folder


def save_blip2(folder: Path, encoder_decoder: bool = False) -> Path:
    """A BLIP-2 of random weights and its processor, on OPT or on T5; returns the folder."""
    torch.manual_seed(6)
    tokenizer = word_tokenizer(
        ["photo", "painting", "of", "a", "cat", "dog", "is", "this", "or", ",", "?"],
        ["<image>", "</s>"],
        model_max_length=64,
    )
    ends = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    vision = Blip2VisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8,
        initializer_range=0.5,
    )  # fmt: skip
    qformer = Blip2QFormerConfig(
        vocab_size=16, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        encoder_hidden_size=16, cross_attention_frequency=1, initializer_range=0.5,
    )  # fmt: skip
    text = (
        T5Config(
            vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_decoder_layers=1, num_heads=2,
            decoder_start_token_id=tokenizer.pad_token_id, initializer_factor=3.0, **ends,
        )
        if encoder_decoder
        else OPTConfig(
            vocab_size=len(tokenizer), hidden_size=16, word_embed_proj_dim=16, ffn_dim=32, num_hidden_layers=1,
            num_attention_heads=2, max_position_embeddings=64, bos_token_id=tokenizer.eos_token_id, init_std=0.5,
            **ends,
        )
    )  # fmt: skip
    model = Blip2ForConditionalGeneration(
        Blip2Config(
            vision_config=vision.to_dict(),
            qformer_config=qformer.to_dict(),
            text_config=text.to_dict(),
            num_query_tokens=4,
            image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        )
    )
    torch.nn.init.normal_(model.query_tokens)
    model.save_pretrained(folder)
    Blip2Processor(BlipImageProcessor(size={"height": 32, "width": 32}), tokenizer, 4).save_pretrained(folder)
    return folder


def save_sam2(folder: Path) -> Path:
    """A SAM 2 of random weights and its processor; returns the folder."""
    torch.manual_seed(9)
    backbone = Sam2HieraDetConfig(
        hidden_size=8, num_attention_heads=1, image_size=[64, 64], blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64], num_attention_heads_per_stage=[1, 1, 2, 2],
        window_size_per_stage=[4, 2, 2, 2], global_attention_blocks=[3],
        window_positional_embedding_background_size=[4, 4],
    )  # fmt: skip
    vision = Sam2VisionConfig(
        backbone_config=backbone, backbone_channel_list=[64, 32, 16, 8], fpn_hidden_size=16,
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
    )  # fmt: skip
    prompt = Sam2PromptEncoderConfig(hidden_size=16, image_size=64, patch_size=16, mask_input_channels=4)
    decoder = Sam2MaskDecoderConfig(
        hidden_size=16, mlp_dim=32, num_hidden_layers=1, num_attention_heads=2, iou_head_hidden_dim=16
    )
    model = Sam2Model(Sam2Config(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder))
    shake(model, 9, 0.2)
    model.save_pretrained(folder)
    size = {"height": 64, "width": 64}
    Sam2Processor(Sam2ImageProcessor(size=size, mask_size={"height": 16, "width": 16})).save_pretrained(folder)
    return folder


ORIGINAL_DINO = {
    "modelname": "groundingdino", "backbone": "swin_T_224_1k", "position_embedding": "sine", "pe_temperatureH": 20,
    "pe_temperatureW": 20, "return_interm_indices": [1, 2, 3], "backbone_freeze_keywords": None, "enc_layers": 1,
    "dec_layers": 2, "pre_norm": False, "dim_feedforward": 64, "hidden_dim": 256, "dropout": 0.0, "nheads": 8,
    "num_queries": 6, "query_dim": 4, "num_patterns": 0, "num_feature_levels": 4, "enc_n_points": 4, "dec_n_points": 4,
    "two_stage_type": "standard", "two_stage_bbox_embed_share": False, "two_stage_class_embed_share": False,
    "transformer_activation": "relu", "dec_pred_bbox_embed_share": True, "dn_box_noise_scale": 1.0,
    "dn_label_noise_ratio": 0.5, "embed_init_tgt": True, "dn_labelbook_size": 2000, "max_text_len": 256,
    "text_encoder_type": "bert-base-uncased", "use_text_enhancer": True, "use_fusion_layer": True,
    "use_checkpoint": True, "use_transformer_ckpt": True, "use_text_cross_attention": True, "text_dropout": 0.0,
    "fusion_dropout": 0.0, "fusion_droppath": 0.1, "sub_sentence_present": True,
}  # fmt: skip
"""Settings of groundingdino-py's GroundingDINO_SwinT_OGC.py, fewer and narrower layers; its Swin comes in set sizes."""


def shake(model: nn.Module, seed: int, amount: float = 0.05) -> None:
    """Perturb every parameter, because initial values of zeros or ones could hide errors."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=amount)


def save_grounding_dino_original(folder: Path) -> Path:
    """A detector of groundingdino-py of random weights, its settings and BERT's tokenizer; returns the folder."""
    from groundingdino.models import build_model
    from groundingdino.util.slconfig import SLConfig

    from instructedit.segmenter.original import mended

    torch.manual_seed(6)
    tokenizer = bert_tokenizer()
    tokenizer.save_pretrained(folder / "text_encoder")
    BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64,
    ).save_pretrained(folder / "text_encoder")  # fmt: skip
    with mended():
        model = build_model(SLConfig(ORIGINAL_DINO | {"text_encoder_type": str(folder / "text_encoder")}))
    shake(model, 6)
    with torch.no_grad():  # else each score would be 0 or 1
        model.transformer.decoder.norm.weight.mul_(0.1)
        model.transformer.decoder.norm.bias.mul_(0.1)
    (folder / "config.json").write_text(json.dumps(ORIGINAL_DINO))
    save_file({name: value.clone() for name, value in model.state_dict().items()}, folder / "model.safetensors")
    return folder


def original_sam() -> OriginalSamModel:
    """Return a small Sam built from segment-anything's parts, as its registry has fixed sizes only."""
    return OriginalSamModel(
        ImageEncoderViT(
            img_size=128, patch_size=16, embed_dim=16, depth=2, num_heads=2, out_chans=16, qkv_bias=True,
            norm_layer=partial(nn.LayerNorm, eps=1e-6), use_rel_pos=True, window_size=4, global_attn_indexes=(1,),
        ),
        PromptEncoder(embed_dim=16, image_embedding_size=(8, 8), input_image_size=(128, 128), mask_in_chans=4),
        MaskDecoder(
            transformer_dim=16, iou_head_hidden_dim=16,
            transformer=TwoWayTransformer(depth=2, embedding_dim=16, num_heads=2, mlp_dim=32),
        ),
    )  # fmt: skip


def save_sam_original(folder: Path) -> Path:
    """A Sam of segment-anything of random weights, of the type ``tiny``; returns the folder."""
    torch.manual_seed(8)
    model = original_sam()
    shake(model, 8, 0.2)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "tiny"}')
    save_file(model.state_dict(), folder / "model.safetensors")
    return folder


def picture(seed: int, size: tuple[int, int] = (64, 64)) -> Image.Image:
    """Soft coloured blobs."""
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def square_mask(size: int = 64) -> np.ndarray:
    """True in a box of an eighth of the picture."""
    mask = np.zeros((size, size), bool)
    mask[size // 4 : size // 2, size // 4 : size * 3 // 4] = True
    return mask


def edits(answers: Sequence[Edited | StageError]) -> list[Edited]:
    """Return an editor's results, and check that none is an error."""
    edited = [a for a in answers if isinstance(a, Edited)]
    assert len(edited) == len(answers), answers
    return edited


def images(answers: Sequence[Edited | StageError]) -> list[Image.Image]:
    """The images of :func:`edits`."""
    return [e.image for e in edits(answers)]
