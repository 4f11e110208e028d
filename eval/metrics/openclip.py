"""CLIP with open_clip (``models.clip.implementation=open_clip``), for checkpoints that transformers cannot load."""

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
    """A model of open_clip, in a folder of the hub or written by open_clip's ``push_to_hf_hub``.

    The folder has ``open_clip_config.json``, ``open_clip_model.safetensors``, and a tokenizer if the configuration
    names one. The preprocessing of ``crop`` is torchvision's: a bicubic resize with antialiasing, and a centre crop
    unless the configuration sets another.

    Args:
        folder: A local folder; nothing is downloaded.
        checkpoint: Id of the weights for the card; the model and pretrained tag of a hub id are looked up in
            open_clip's registry.
        revision: Revision of the checkpoint.
        device: Device of the model.
        dtype: Dtype of the weights.

    Raises:
        ConfigError: The folder does not contain such a model.
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
        """Return open_clip's version, the dtype, the model and the pretrained tag."""
        names = {"implementation": package("open-clip-torch"), "dtype": str(self.dtype).removeprefix("torch.")}
        return names | self.architecture

    def crop_card(self) -> Card:
        """Return the settings of the checkpoint's preprocessing."""
        return {"by": "open_clip's image_transform", "size": self.size} | self.settings

    def cropped(self, image: Image.Image) -> Float[Tensor, "1 3 size size"]:
        """Preprocess an image with the checkpoint's own preprocessing."""
        pixels: Tensor = self._preprocess(image)
        return pixels[None]

    def image_features(self, pixels: Float[Tensor, "1 3 size size"]) -> Float[Tensor, "1 d"]:
        """See :class:`ClipScorer`."""
        features: Tensor = self.model.encode_image(pixels.to(self.device, self.dtype))
        return features

    def text_features(self, caption: str) -> tuple[Float[Tensor, "1 d"], int]:
        """See :class:`ClipScorer`; open_clip's tokenizers truncate captions and keep the end token."""
        features: Tensor = self.model.encode_text(self.tokenizer(caption).to(self.device))
        if isinstance(self.tokenizer, open_clip.SimpleTokenizer):
            return features, len(self.tokenizer.encode(caption)) + 2  # start and end
        return features, len(self.tokenizer.tokenizer(caption, verbose=False).input_ids)


def registered(checkpoint: str, configuration: dict[str, Any]) -> Card:
    """Return the model and the pretrained tag of a checkpoint in open_clip's registry.

    Args:
        checkpoint: A hub id, or a folder, which is not in the registry.
        configuration: Configuration of the architecture.

    Returns:
        ``model`` and ``pretrained``; None if they are not in the registry.
    """
    for model, tag in open_clip.list_pretrained():
        if str(open_clip.get_pretrained_cfg(model, tag).get("hf_hub", "")).rstrip("/") == checkpoint:
            return {"model": model, "pretrained": tag}
    models = [name for name in open_clip.list_models() if open_clip.get_model_config(name) == configuration]
    return {"model": models[0] if models else None, "pretrained": None}
