"""A CLIPModel of 60,000 parameters with a character tokenizer: the real classes with seeded weights."""

import string

import torch
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from eval.metrics.clip import TransformersClip

WINDOW = 16
IMAGE = 32
PATCH = 8
HIDDEN = 32
LAYERS = 2
PROJECTION = 16


def tokenizer() -> CLIPTokenizer:
    """Return one token per letter, between start and end tokens."""
    letters = [*string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase)]
    words = [*letters, "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: index for index, word in enumerate(words)}, merges=[])


def config(eos_token_id: int | None = None) -> CLIPConfig:
    """For the tokenizer above, whose last id ends a caption."""
    words = len(tokenizer())
    tower = {
        "hidden_size": HIDDEN, "intermediate_size": 4 * HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
        "projection_dim": PROJECTION,
    }  # fmt: skip
    text = {
        "vocab_size": words, "max_position_embeddings": WINDOW, "bos_token_id": words - 2,
        "eos_token_id": words - 1 if eos_token_id is None else eos_token_id, "pad_token_id": words - 1,
    }  # fmt: skip
    vision = {"image_size": IMAGE, "patch_size": PATCH}
    return CLIPConfig(text_config=tower | text, vision_config=tower | vision, projection_dim=PROJECTION)


def model(eos_token_id: int | None = None) -> CLIPModel:
    """For the tokenizer above."""
    return seeded(config(eos_token_id))


def seeded(configuration: CLIPConfig) -> CLIPModel:
    """Return weights large enough that different pictures and captions have different features."""
    with torch.random.fork_rng(devices=[]):
        clip = CLIPModel(configuration)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in sorted(clip.named_parameters()):
            norm_scale = float("norm" in name and name.endswith("weight"))
            parameter.copy_(norm_scale + 0.2 * torch.randn(parameter.shape, generator=generator))
    return clip.eval()


def image_processor() -> CLIPImageProcessorPil:
    """CLIP's own preprocessing at the small size."""
    return CLIPImageProcessorPil(size={"shortest_edge": IMAGE}, crop_size={"height": IMAGE, "width": IMAGE})


def scorer() -> TransformersClip:
    """Return a scorer with model, tokenizer and image processor."""
    return TransformersClip(model(), image_processor(), tokenizer(), "tiny-clip", "1")
