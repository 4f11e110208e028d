"""Download weights that are not on the hub as safetensors: those of LPIPS, BRISQUE and PIE-Bench's DINO."""

import json
import pickle
import re
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from eval.metrics import brisque_weights
from instructedit.files import write_aside
from instructedit.hub import FetchError


def features(weights: Path, id_: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the feature layers of one of torchvision's networks, which LPIPS uses, and facts about the weights."""
    state = torch.load(weights, map_location="cpu", weights_only=True)
    layers = {name: value.contiguous() for name, value in state.items() if name.startswith("features.")}
    return layers, {"id": f"torchvision {id_}", "licence": "BSD-3-Clause"}


_DINO = (
    (r"^cls_token$", "embeddings.cls_token"), (r"^pos_embed$", "embeddings.position_embeddings"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."), (r"^blocks\.", "encoder.layer."),
    (r"\.norm1\.", ".layernorm_before."), (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.proj\.", ".attention.output.dense."), (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."), (r"^norm\.", "layernorm."),
)  # fmt: skip
"""Names of DINO's parameters as regular expressions, and the names of the hub's ViT checkpoints."""
DINO_CONFIG = {
    "model_type": "vit", "architectures": ["ViTModel"], "hidden_size": 768, "num_hidden_layers": 12,
    "num_attention_heads": 12, "intermediate_size": 3072, "image_size": 224, "patch_size": 8, "layer_norm_eps": 1e-6,
    "qkv_bias": True,
}  # fmt: skip
"""Configuration of DINO's ViT-B/8; the epsilon is that of the authors' code."""


def dino(weights: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the parameters of the authors' DINO under the names of transformers' ViTModel, and facts about them."""
    return dino_as_vit(torch.load(weights, map_location="cpu", weights_only=True)), {
        "id": "facebookresearch/dino dino_vitb8", "licence": "Apache-2.0",
    }  # fmt: skip


def dino_as_vit(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename DINO's parameters, and split the joint projection to queries, keys and values."""
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.startswith("head."):
            continue
        for pattern, new in _DINO:
            name = re.sub(pattern, new, name)
        parts = zip(("query", "key", "value"), value.chunk(3), strict=True) if ".attn.qkv." in name else [("", value)]
        renamed |= {name.replace(".attn.qkv.", f".attention.attention.{k}."): part.contiguous() for k, part in parts}
    return renamed


CONVERTERS: Mapping[str, Callable[[Path], tuple[dict[str, Tensor], dict[str, Any]]]] = {
    "alexnet-owt-7be5be79.pth": partial(features, id_="AlexNet_Weights.IMAGENET1K_V1"),
    "squeezenet1_1-b8a52dc0.pth": partial(features, id_="SqueezeNet1_1_Weights.IMAGENET1K_V1"),
    "dino_vitbase8_pretrain.pth": dino,
    "brisque_svm_weights.pt": brisque_weights.from_piq,
}
"""By file name: functions from pickled weights to tensors and facts about the weights."""


CONFIGURATIONS = {"dino_vitbase8_pretrain.pth": DINO_CONFIG}
"""By file name: what is written as ``config.json`` beside the weights."""


def convert(url: str, folder: Path) -> None:
    """Download pickled weights, load them without running code, and write ``folder/model.safetensors``.

    Raises:
        FetchError: The download or conversion failed; the message gives the reason and the remedy.
    """
    name = url.rpartition("/")[2]
    if name not in CONVERTERS:
        raise FetchError(f"source={url}: files that are converted are {', '.join(CONVERTERS)}")
    digest = re.search(r"-([0-9a-f]{8,})\.", name)  # torchvision's file names contain a hash of the content
    with tempfile.TemporaryDirectory() as temporary:
        try:
            torch.hub.download_url_to_file(url, f"{temporary}/{name}", digest and digest.group(1), progress=False)
            tensors, about = CONVERTERS[name](Path(temporary) / name)
        except OSError as error:
            raise FetchError(
                f"{url}: {error}; try again, or download it elsewhere and name it by source=file:///path/{name}"
            ) from error
        except (RuntimeError, pickle.UnpicklingError, ValueError, AttributeError) as error:
            raise FetchError(f"{url}: not the expected file ({str(error).splitlines()[0]})") from error
    if name in CONFIGURATIONS:
        with write_aside(folder / "config.json") as file:
            file.write(json.dumps(CONFIGURATIONS[name], indent=2).encode())
    with write_aside(folder / "model.safetensors") as file:
        file.write(save(tensors, metadata={"about": json.dumps(about | {"source": url}, sort_keys=True)}))
