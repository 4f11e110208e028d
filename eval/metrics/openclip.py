"""CLIP on open_clip (``models.clip.implementation=open_clip``), for checkpoints that transformers does not read."""

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from eval.metrics.base import Card, package
from eval.metrics.clip import ClipScorer
from instructedit.hub import OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS
from instructedit.types import ConfigError


class OpenClip(ClipScorer):
    """A model of open_clip, in a folder as the hub holds it and as open_clip's ``push_to_hf_hub`` writes it.

    The folder has ``open_clip_config.json``, ``open_clip_model.safetensors``, and a tokenizer where the configuration
    names one. Its own preprocessing (``crop``) is torchvision's: bicubic with antialiasing, and a centre crop unless
    the configuration says otherwise.

    Args:
        folder: On this machine; nothing is downloaded.
        checkpoint: Names the weights on the card; a hub id of open_clip's registry gives model and pretrained tag.
        revision: Of the checkpoint.
        device: Where to compute.
        dtype: Of the weights.

    Raises:
        ConfigError: The folder holds no such model.
    """

    def __init__(
        self,
        folder: Path,
        checkpoint: str,
        revision: str,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        for name in (OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS):
            if not (folder / name).is_file():
                raise ConfigError(f"CLIP {checkpoint}: implementation=open_clip needs {name}, which is missing")
        place = f"local-dir:{folder}"
        try:
            model, self._preprocess = open_clip.create_model_from_pretrained(place)
            self.tokenizer = open_clip.get_tokenizer(place)
        except (OSError, ValueError, RuntimeError) as error:
            message = str(error).splitlines()[0]
            raise ConfigError(f"open_clip cannot load {checkpoint}: {message}") from error
        settings = open_clip.get_model_preprocess_cfg(model)
        size = settings["size"]
        super().__init__(
            checkpoint, revision, size if isinstance(size, int) else int(size[0]), settings["mean"], settings["std"],
            int(self.tokenizer.context_length),
        )  # fmt: skip
        self.settings = {name: settings[name] for name in ("interpolation", "resize_mode")}
        self.architecture = registered(checkpoint, json.loads((folder / OPEN_CLIP_CONFIG).read_text())["model_cfg"])
        self.device, self.dtype = torch.device(device), dtype
        self.model: Any = model.to(device, dtype).eval().requires_grad_(False)

    def library_card(self) -> Card:
        """Names open_clip, the model and the pretrained tag."""
        names = {"implementation": package("open-clip-torch"), "dtype": str(self.dtype).removeprefix("torch.")}
        return names | self.architecture

    def crop_card(self) -> Card:
        """The settings of the checkpoint's preprocessing."""
        return {"by": "open_clip's image_transform", "size": self.size} | self.settings

    def cropped(self, image: Image.Image) -> Float[Tensor, "1 3 size size"]:
        """Through the checkpoint's own preprocessing."""
        pixels: Tensor = self._preprocess(image)
        return pixels[None]

    def image_features(self, pixels: Float[Tensor, "1 3 size size"]) -> Float[Tensor, "1 d"]:
        """See :class:`ClipScorer`."""
        features: Tensor = self.model.encode_image(pixels.to(self.device, self.dtype))
        return features

    def text_features(self, caption: str) -> tuple[Float[Tensor, "1 d"], int]:
        """See :class:`ClipScorer`; open_clip's tokenizers cut captions themselves and keep the end token."""
        features: Tensor = self.model.encode_text(self.tokenizer(caption).to(self.device))
        if isinstance(self.tokenizer, open_clip.SimpleTokenizer):
            return features, len(self.tokenizer.encode(caption)) + 2  # start and end
        return features, len(self.tokenizer.tokenizer(caption, verbose=False).input_ids)


def registered(checkpoint: str, configuration: dict[str, Any]) -> Card:
    """The model and the pretrained tag of open_clip's registry, by which readers know a checkpoint.

    Args:
        checkpoint: A hub id; that of a folder is in no registry.
        configuration: Of the architecture.

    Returns:
        ``model`` and ``pretrained``; None where the registry does not know them.
    """
    for model, tag in open_clip.list_pretrained():
        if str(open_clip.get_pretrained_cfg(model, tag).get("hf_hub", "")).rstrip("/") == checkpoint:
            return {"model": model, "pretrained": tag}
    models = [name for name in open_clip.list_models() if open_clip.get_model_config(name) == configuration]
    return {"model": models[0] if models else None, "pretrained": None}
