"""Grounded SAM on groundingdino-py and segment-anything against transformers, on the same random weights.

Where neither resizes, boxes, scores and masks agree end to end. The two resize in different ways: groundingdino-py and
segment-anything by Pillow, transformers by torchvision on bytes, which rounds some pixels to the next of 256 levels;
and where the longer side is limited, the package may come out one pixel narrower. So with resizing the networks are
compared on one input, and the difference of the inputs is stated.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from segment_anything import SamPredictor, sam_model_registry
from torch import Tensor
from transformers import (
    BertConfig,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    SamConfig,
    SamImageProcessor,
    SamMaskDecoderConfig,
    SamModel,
    SamProcessor,
    SamPromptEncoderConfig,
    SamVisionConfig,
    SwinConfig,
)

from data.picturebook.training.tokenizers import bert_tokenizer
from instructedit.cache import StageCache
from instructedit.models import Checkpoint, Context, ModelPool
from instructedit.segmenter import GroundedSam, Segmentation, Segmenter
from instructedit.segmenter.original import OriginalGroundingDino, OriginalSam
from instructedit.types import Box, StageError
from tests import tiny

SHORT, LONG = 96, 160
IDENTITY = ((128, 96), (96, 128))
"""Sizes that neither detector nor SAM (of 128 pixels) resizes."""
PROMPTS = ("bigger cat", "Red scarf.", "dog on the left", "cat. dog")


def detector_name(name: str) -> str:
    """What transformers calls a parameter of groundingdino-py."""
    for pattern, replacement in (
        (r"^bert\.", "model.text_backbone."),
        (r"^feat_map\.", "model.text_projection."),
        (r"^input_proj\.", "model.input_proj_vision."),
        (r"^backbone\.0\.norm(\d)", lambda m: f"swin.hidden_states_norms.stage{int(m[1]) + 1}"),
        (r"^backbone\.0\.patch_embed\.proj", "swin.swin.embeddings.patch_embeddings.projection"),
        (r"^backbone\.0\.patch_embed\.norm", "swin.swin.embeddings.norm"),
        (r"^backbone\.0\.", "swin.swin.encoder."),
        (r"^swin\.", "model.backbone.conv_encoder.model."),
        (r"(blocks\.\d+)\.norm1", r"\1.layernorm_before"),
        (r"(blocks\.\d+)\.norm2", r"\1.layernorm_after"),
        (r"attn\.relative_position_bias_table", "attention.relative_position_bias.relative_position_bias_table"),
        (r"(blocks\.\d+)\.attn\.proj", r"\1.attention.o_proj"),
        (r"(blocks\.\d+)\.attn\.", r"\1.attention."),
        (r"^transformer\.enc_out_bbox_embed", "model.encoder_output_bbox_embed"),
        (r"^transformer\.tgt_embed", "model.query_position_embeddings"),
        (r"^transformer\.decoder\.norm", "model.decoder.layer_norm"),
        (r"^transformer\.decoder\.ref_point_head", "model.decoder.reference_points_head"),
        (r"^transformer\.encoder\.layers\.(\d+)\.", r"model.encoder.layers.\1.deformable_layer."),
        (r"^transformer\.encoder\.text_layers\.(\d+)\.", r"model.encoder.layers.\1.text_enhancer_layer."),
        (r"^transformer\.encoder\.fusion_layers\.(\d+)\.", r"model.encoder.layers.\1.fusion_layer."),
        (r"^transformer\.", "model."),
        (r"deformable_layer\.norm1", "deformable_layer.self_attn_layer_norm"),
        (r"deformable_layer\.norm2", "deformable_layer.final_layer_norm"),
        (r"text_enhancer_layer\.norm1", "text_enhancer_layer.layer_norm_before"),
        (r"text_enhancer_layer\.norm2", "text_enhancer_layer.layer_norm_after"),
        (r"fusion_layer\.gamma_v", "fusion_layer.vision_param"),
        (r"fusion_layer\.gamma_l", "fusion_layer.text_param"),
        (r"fusion_layer\.layer_norm_v\.", "fusion_layer.layer_norm_vision."),
        (r"fusion_layer\.layer_norm_l\.", "fusion_layer.layer_norm_text."),
        (r"(fusion_layer\.attn\.(?:\w+_)?)v_proj", r"\1vision_proj"),
        (r"(fusion_layer\.attn\.(?:\w+_)?)l_proj", r"\1text_proj"),
        (r"(decoder\.layers\.\d+)\.cross_attn", r"\1.encoder_attn"),
        (r"(decoder\.layers\.\d+)\.norm1", r"\1.encoder_attn_layer_norm"),
        (r"(decoder\.layers\.\d+)\.norm2", r"\1.self_attn_layer_norm"),
        (r"(decoder\.layers\.\d+)\.norm3", r"\1.final_layer_norm"),
        (r"(decoder\.layers\.\d+)\.ca_text", r"\1.encoder_attn_text"),
        (r"(decoder\.layers\.\d+)\.catext_norm", r"\1.encoder_attn_text_layer_norm"),
        (r"((?:decoder\.layers\.\d+|deformable_layer|text_enhancer_layer))\.linear([12])", r"\1.fc\2"),
    ):
        name = re.sub(pattern, replacement, name)
    return name


def detector_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of groundingdino-py as transformers keeps them: renamed, and queries, keys and values apart."""
    converted = {}
    for name, value in state.items():
        renamed = detector_name(name)
        if renamed.endswith("relative_position_index") or renamed.startswith("model.text_backbone.pooler."):
            continue  # a table that each computes, and a head that neither uses
        if joined := re.search(r"\.(?:qkv\.|in_proj_)(weight|bias)$", renamed):
            swin = ".blocks." in renamed
            names = ("q_proj", "k_proj", "v_proj") if swin else ("query", "key", "value")
            for part, chunk in zip(names, value.chunk(3), strict=True):
                converted[f"{renamed[: joined.start()]}.{part}.{joined[1]}"] = chunk.clone()
        else:
            converted[renamed] = value
    return converted


def save_detector(source: Path, folder: Path) -> Path:
    """The detector of ``source`` as a folder of transformers."""
    given = tiny.ORIGINAL_DINO
    model = GroundingDinoForObjectDetection(
        GroundingDinoConfig(
            backbone_config=SwinConfig(
                image_size=224, patch_size=4, embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24],
                window_size=7, out_features=["stage2", "stage3", "stage4"],
            ),
            text_config=BertConfig.from_pretrained(source / "text_encoder"),
            encoder_layers=given["enc_layers"], decoder_layers=given["dec_layers"], num_queries=given["num_queries"],
            encoder_ffn_dim=given["dim_feedforward"], decoder_ffn_dim=given["dim_feedforward"],
        )
    )  # fmt: skip
    fit = model.load_state_dict(detector_weights(load_file(source / "model.safetensors")), strict=False)
    assert not fit.unexpected_keys
    # transformers' Swin has one more norm, of a last stage that Grounding DINO does not ask for.
    assert all("swin.layernorm" in name for name in fit.missing_keys)
    model.save_pretrained(folder)
    size = {"shortest_edge": SHORT, "longest_edge": LONG}
    GroundingDinoProcessor(GroundingDinoImageProcessor(size=size), bert_tokenizer()).save_pretrained(folder)
    return folder


def sam_name(name: str) -> str:
    """What transformers calls a parameter of segment-anything."""
    for pattern, replacement in (
        (r"^image_encoder\.blocks", "vision_encoder.layers"),
        (r"^image_encoder", "vision_encoder"),
        (r"patch_embed\.proj\.", "patch_embed.projection."),
        (r"neck\.0", "neck.conv1"),
        (r"neck\.1", "neck.layer_norm1"),
        (r"neck\.2", "neck.conv2"),
        (r"neck\.3", "neck.layer_norm2"),
        (r"pe_layer\.positional_encoding_gaussian_matrix", "shared_embedding.positional_embedding"),
        (r"point_embeddings", "point_embed"),
        (r"mask_downscaling\.0", "mask_embed.conv1"),
        (r"mask_downscaling\.1", "mask_embed.layer_norm1"),
        (r"mask_downscaling\.3", "mask_embed.conv2"),
        (r"mask_downscaling\.4", "mask_embed.layer_norm2"),
        (r"mask_downscaling\.6", "mask_embed.conv3"),
        (r"output_upscaling\.0", "upscale_conv1"),
        (r"output_upscaling\.1", "upscale_layer_norm"),
        (r"output_upscaling\.3", "upscale_conv2"),
        (r"((?:mlps\.\d|iou_prediction_head))\.layers\.0", r"\1.proj_in"),
        (r"((?:mlps\.\d|iou_prediction_head))\.layers\.1", r"\1.layers.0"),
        (r"((?:mlps\.\d|iou_prediction_head))\.layers\.2", r"\1.proj_out"),
        (r"norm_final_attn", "layer_norm_final_attn"),
        (r"\.norm(\d)", r".layer_norm\1"),
    ):
        name = re.sub(pattern, replacement, name)
    return name


def save_masker(source: Path, folder: Path) -> Path:
    """The Sam of ``source`` as a folder of transformers."""
    config = SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=16, output_channels=16, num_hidden_layers=2, num_attention_heads=2, image_size=128,
            patch_size=16, window_size=4, global_attn_indexes=[1], mlp_dim=64, num_pos_feats=8,
        ),
        prompt_encoder_config=SamPromptEncoderConfig(
            hidden_size=16, image_size=128, patch_size=16, mask_input_channels=4
        ),
        mask_decoder_config=SamMaskDecoderConfig(
            hidden_size=16, mlp_dim=32, num_hidden_layers=2, num_attention_heads=2, iou_head_hidden_dim=16,
        ),
    )  # fmt: skip
    state = {sam_name(name): value for name, value in load_file(source / "model.safetensors").items()}
    state["shared_image_embedding.positional_embedding"] = state[
        "prompt_encoder.shared_embedding.positional_embedding"
    ].clone()
    model = SamModel(config)
    model.load_state_dict(state)
    model.save_pretrained(folder)
    SamProcessor(
        SamImageProcessor(
            size={"longest_edge": 128},
            mask_size={"longest_edge": 32},
            pad_size={"height": 128, "width": 128},
            mask_pad_size={"height": 32, "width": 32},
        )
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Makers of both segmenters from thresholds and selection, on one context."""
    root = tmp_path_factory.mktemp("original")
    context = Context(ModelPool(), StageCache(root / "cache"), torch.device("cpu"))
    dino, sam = tiny.save_grounding_dino_original(root / "dino"), tiny.save_sam_original(root / "sam")
    detector = partial(OriginalGroundingDino, checkpoint=Checkpoint(str(dino)), short_side=SHORT, long_side=LONG)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sam_model_registry, "tiny", tiny.original_sam)
        yield {
            "original": partial(Segmenter, context, detector, partial(OriginalSam, checkpoint=Checkpoint(str(sam)))),
            "transformers": partial(
                GroundedSam,
                context,
                Checkpoint(str(save_detector(dino, root / "dino_transformers"))),
                Checkpoint(str(save_masker(sam, root / "sam_transformers"))),
            ),
        }


def both(backends: dict[str, Any], image: Image.Image, prompt: str, **options: Any) -> list[Segmentation | StageError]:
    return [make(**options).segment([image], [prompt])[0] for make in backends.values()]


def numbers(boxes: tuple[Box, ...]) -> np.ndarray:
    return np.array([[box.x1, box.y1, box.x2, box.y2, box.score] for box in boxes])


def words(box: Box) -> str:
    """A phrase without what only the package's has, the tokens around a prompt, and only transformers', its dots."""
    return " ".join(re.sub(r"\[CLS\]|\[SEP\]|\.", " ", box.phrase).split())


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("size", IDENTITY)
def test_boxes_scores_and_masks_are_equal_where_nothing_is_resized(
    backends: dict[str, Any], size: tuple[int, int], prompt: str
) -> None:
    image = tiny.picture(PROMPTS.index(prompt), size)
    ours, theirs = both(backends, image, prompt, box_threshold=0.0)
    assert isinstance(ours, Segmentation)
    assert isinstance(theirs, Segmentation)
    np.testing.assert_allclose(numbers(ours.boxes), numbers(theirs.boxes), atol=1e-3)
    assert [words(box) for box in ours.boxes] == [words(box) for box in theirs.boxes]
    each = [make(box_threshold=0.0).masker.masks(image, ours.boxes) for make in backends.values()]
    assert (each[0] == each[1]).all()
    assert len({mask.tobytes() for mask in each[0]}) == len(ours.boxes) == tiny.ORIGINAL_DINO["num_queries"]
    assert (ours.mask == theirs.mask).all()
    assert 0.1 < ours.mask.mean() < 0.9


@pytest.mark.parametrize("select", ["union", "best", "first"])
def test_thresholds_and_selections_choose_the_same(backends: dict[str, Any], select: str) -> None:
    image = tiny.picture(3, IDENTITY[0])
    every = both(backends, image, "cat. dog", box_threshold=0.0)[0]
    assert isinstance(every, Segmentation)
    middle = float(np.median([box.score for box in every.boxes]))
    ours, theirs = both(backends, image, "cat. dog", box_threshold=middle, text_threshold=0.7, select=select)
    assert isinstance(ours, Segmentation)
    assert isinstance(theirs, Segmentation)
    assert len(ours.boxes) == len(theirs.boxes) == 3
    assert (ours.mask == theirs.mask).all()
    nothing = both(backends, image, "cat. dog", box_threshold=1.0)
    assert str(nothing[0]) == str(nothing[1]) == "no box found for 'cat. dog' above box_threshold=1.0"


@pytest.mark.filterwarnings("ignore::FutureWarning:groundingdino.*")
@pytest.mark.parametrize("size", [(200, 150), (640, 427), (300, 100), (64, 64)])
def test_networks_are_equal_on_equal_inputs(backends: dict[str, Any], size: tuple[int, int]) -> None:
    image = tiny.picture(5, size)
    ours, theirs = (make(box_threshold=0.0) for make in backends.values())
    context = ours.detector.context
    pixels = ours.detector.pixels(image)[None]
    processor = context.pool.processor(GroundingDinoProcessor, theirs.detector.checkpoint)
    text = processor.tokenizer("bigger cat.", return_tensors="pt")
    network = context.pool.model(GroundingDinoForObjectDetection, theirs.detector.checkpoint, context.device)
    with torch.no_grad():
        expected = network(pixel_values=pixels, **text)
        found = ours.detector._model()(pixels, captions=["bigger cat."])
    torch.testing.assert_close(found["pred_boxes"], expected.pred_boxes, atol=1e-5, rtol=0)
    torch.testing.assert_close(found["pred_logits"], expected.logits, atol=1e-4, rtol=0)

    boxes = ours.detector.detect(image, "bigger cat", 0.0, 0.25)
    predictor = SamPredictor(ours.masker._model())
    predictor.set_image(np.asarray(image))
    corners = torch.tensor([[box.x1, box.y1, box.x2, box.y2] for box in boxes])
    scaled = predictor.transform.apply_boxes_torch(corners, predictor.original_size)
    _, _, low = predictor.predict_torch(None, None, boxes=scaled, multimask_output=False)
    resized = torch.from_numpy(predictor.transform.apply_image(np.asarray(image))).permute(2, 0, 1)[None]
    sam = context.pool.model(SamModel, theirs.masker.checkpoint, context.device)
    with torch.no_grad():
        out = sam(
            pixel_values=predictor.model.preprocess(resized), input_boxes=scaled[None], multimask_output=False
        ).pred_masks
    torch.testing.assert_close(out[0], low, atol=1e-3, rtol=1e-4)


LEVEL = 1 / 255 / 0.224
"""One of 256 levels in the most stretched channel, after normalisation."""


@pytest.mark.parametrize("size", [(200, 150), (640, 427)])
def test_resizing_differs_by_single_levels(backends: dict[str, Any], size: tuple[int, int]) -> None:
    image = tiny.picture(5, size)
    ours, theirs = (make(box_threshold=0.0) for make in backends.values())
    processor = ours.detector.context.pool.processor(GroundingDinoProcessor, theirs.detector.checkpoint)
    pixels = ours.detector.pixels(image)
    difference = (pixels - processor.image_processor(images=image, return_tensors="pt").pixel_values[0]).abs()
    assert LEVEL / 2 < difference.max() < LEVEL * 1.01
    assert difference.mean() < 1e-4
    # Of masks from equal boxes, that moves less than 3 pixels in 1000.
    boxes = ours.detector.detect(image, "bigger cat", 0.0, 0.25)
    assert (ours.masker.masks(image, boxes) != theirs.masker.masks(image, boxes)).mean() < 3e-3


def test_a_limited_longer_side_may_come_out_a_pixel_narrower(backends: dict[str, Any]) -> None:
    image = tiny.picture(5, (300, 100))
    ours, theirs = (make(box_threshold=0.0) for make in backends.values())
    processor = ours.detector.context.pool.processor(GroundingDinoProcessor, theirs.detector.checkpoint)
    assert ours.detector.pixels(image).shape == (3, 53, 159)
    assert processor.image_processor(images=image, return_tensors="pt").pixel_values[0].shape == (3, 53, 160)
