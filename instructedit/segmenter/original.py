"""Grounding DINO and SAM on the packages that the released code uses, groundingdino-py and segment-anything.

Their .pth files are pickles and must be converted to folders of safetensors first::

    python -m scripts.convert grounding_dino groundingdino_swint_ogc.pth FOLDER --text_encoder BERT
    python -m scripts.convert sam sam_vit_h_4b8939.pth FOLDER --model_type vit_h
"""

import io
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from segment_anything import SamPredictor, sam_model_registry
from torch import Tensor, nn
from torchvision.ops import box_convert
from transformers import AutoTokenizer, BertConfig, BertModel

from instructedit.cache import StageCache, hash_image
from instructedit.checks import require_whole
from instructedit.models import Checkpoint, Context
from instructedit.segmenter.base import boxes_inside, required
from instructedit.types import Box, ConfigError, Stage

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its imports from timm are deprecated
        import groundingdino.config
        import groundingdino.models.GroundingDINO.groundingdino as network
        from groundingdino.datasets import transforms
        from groundingdino.models import build_model
        from groundingdino.util import get_tokenlizer
        from groundingdino.util.inference import preprocess_caption
        from groundingdino.util.slconfig import SLConfig
        from groundingdino.util.utils import get_phrases_from_posmap
except ImportError as missing:
    raise ConfigError(
        f"segmenter=grounded_sam_original needs groundingdino-py ({missing}): pip install -e '.[original]'"
    ) from missing

SETTINGS = Path(groundingdino.config.__file__).parent
"""Folder of the package's settings: GroundingDINO_SwinT_OGC.py and GroundingDINO_SwinB_cfg.py."""
CONFIG, WEIGHTS, TEXT_ENCODER = "config.json", "model.safetensors", "text_encoder"
UNUSED = {"label_enc.weight", "bert.embeddings.position_ids"}
"""Keys of the published Grounding DINO weights that no model of the package has: used in training or by older BERTs."""


class TextEncoder(BertModel):
    """BERT with an attention mask for each pair of words, so that phrases do not attend to each other."""

    def forward(self, attention_mask: Bool[Tensor, "batch words words"], **rest: Any) -> Any:
        """Run BertModel with a heads dimension added to the mask."""
        return super().forward(attention_mask=attention_mask[:, None], **rest)


@contextmanager
def mended() -> Iterator[None]:
    """Patch groundingdino-py 0.4.0 to work with transformers 5 and offline.

    The package's BertModelWarper copies BertModel's forward of transformers 4, which calls
    ``get_extended_attention_mask`` and ``get_head_mask``; transformers 5 has neither. :class:`TextEncoder` calls the
    current forward instead and has the same parameter names. The package would also download BERT's weights and then
    overwrite them with the checkpoint's; here BERT is built from its configuration only. Tokenizer and configuration
    are read from the folder, and the package's prints and warnings are suppressed.
    """
    replaced = (
        (network, "BertModelWarper", lambda bert_model: bert_model),
        (get_tokenlizer, "get_pretrained_language_model", lambda path: TextEncoder(BertConfig.from_pretrained(path))),
    )
    originals = [getattr(module, name) for module, name, _ in replaced]
    for module, name, new in replaced:
        setattr(module, name, new)
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for (module, name, _), original in zip(replaced, originals, strict=True):
            setattr(module, name, original)


class OriginalGroundingDino:
    """Boxes by groundingdino-py, as its ``util.inference.predict`` returns them.

    Phrases are the package's too: they contain BERT's [CLS] and [SEP] if these score above the text threshold, and no
    dots.

    Args:
        context: Models, cache and device.
        checkpoint: A folder written by :mod:`instructedit.segmenter.convert`.
        short_side: Length in pixels to which the image's short side is resized, as in the package's ``load_image``.
        long_side: Maximum length in pixels of the long side.
    """

    def __init__(
        self, context: Context, checkpoint: Checkpoint | None, short_side: int = 800, long_side: int = 1333
    ) -> None:
        self.context = context
        self.checkpoint = _folder(required(checkpoint, "grounding_dino_original", "folder of scripts.convert"))
        for name, value in (("short_side", short_side), ("long_side", long_side)):
            require_whole(f"segmenter.detector.{name}", value, 32)
        self.short_side, self.long_side = short_side, long_side

    @torch.no_grad()
    def detect(self, image: Image.Image, prompt: str, box_threshold: float, text_threshold: float) -> list[Box]:
        """Return the boxes above ``box_threshold`` in query order; raw scores are cached, so all thresholds share them.

        See :class:`instructedit.segmenter.base.Detector`.
        """
        caption = preprocess_caption(prompt.strip().strip("."))
        key = StageCache.key(
            Stage.BOXES,
            1,
            package="groundingdino-py",
            image=hash_image(image),
            text=caption,
            model=self.checkpoint.fingerprint,
            sides=[self.short_side, self.long_side],
        )
        (raw,), _ = self.context.cache.once(Stage.BOXES, [key], lambda _: [self._raw(image, caption)])
        scores = raw["logits"].sigmoid()
        is_detected = scores.max(dim=1).values > box_threshold
        scale = torch.tensor([image.width, image.height, image.width, image.height])
        corners = box_convert(raw["pred_boxes"][is_detected], "cxcywh", "xyxy") * scale
        tokenizer = self.context.pool.processor(AutoTokenizer, self.checkpoint, TEXT_ENCODER)
        words = tokenizer(caption)
        phrases = [
            get_phrases_from_posmap(row > text_threshold, words, tokenizer).replace(".", "").strip()
            for row in scores[is_detected]
        ]
        return boxes_inside(image, corners, scores[is_detected].max(dim=1).values, phrases)

    def _raw(self, image: Image.Image, caption: str) -> dict[str, Tensor]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated calls of meshgrid and autocast
            out = self._model()(self.pixels(image)[None].to(self.context.device), captions=[caption])
        return {"logits": out["pred_logits"][0].cpu(), "pred_boxes": out["pred_boxes"][0].cpu()}

    def pixels(self, image: Image.Image) -> Float[Tensor, "3 h w"]:
        """Return the network's input, preprocessed as by the package's ``load_image``."""
        # The package's RandomResize would draw from the global generator to choose among a single size.
        resized, _ = transforms.resize(image.convert("RGB"), None, self.short_side, self.long_side)
        steps = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
        )
        normalised: Tensor = steps(resized, None)[0]
        return normalised

    def _model(self) -> nn.Module:
        return self.context.pool.get(
            (type(self), self.checkpoint, str(self.context.device)),
            lambda: load_grounding_dino(Path(self.checkpoint.id)).to(self.context.device),
        )


class OriginalSam:
    """Masks by segment-anything, one for each box (``multimask_output=False``, as the released code).

    Args:
        context: Models, cache and device.
        checkpoint: A folder written by :mod:`instructedit.segmenter.convert`.
    """

    def __init__(self, context: Context, checkpoint: Checkpoint | None) -> None:
        self.context = context
        self.checkpoint = _folder(required(checkpoint, "sam_original", "folder of scripts.convert"))

    @torch.no_grad()
    def masks(self, image: Image.Image, boxes: Sequence[Box]) -> Bool[np.ndarray, "n h w"]:
        """Return one mask per box, of the image's size."""
        corners = [[box.x1, box.y1, box.x2, box.y2] for box in boxes]
        key = StageCache.key(
            Stage.MASKS,
            1,
            package="segment-anything",
            image=hash_image(image),
            boxes=corners,
            model=self.checkpoint.fingerprint,
        )
        (entry,), _ = self.context.cache.once(Stage.MASKS, [key], lambda _: [{"masks": self._masks(image, corners)}])
        result: np.ndarray = entry["masks"].numpy()
        return result

    def _masks(self, image: Image.Image, corners: list[list[float]]) -> Bool[Tensor, "n h w"]:
        predictor = SamPredictor(self._model())
        predictor.set_image(np.asarray(image.convert("RGB")))
        prompts = predictor.transform.apply_boxes_torch(torch.tensor(corners), predictor.original_size)
        masks, _, _ = predictor.predict_torch(None, None, boxes=prompts.to(self.context.device), multimask_output=False)
        found: Tensor = masks[:, 0].cpu()
        return found

    def _model(self) -> nn.Module:
        return self.context.pool.get(
            (type(self), self.checkpoint, str(self.context.device)),
            lambda: load_sam(Path(self.checkpoint.id)).to(self.context.device),
        )


def load_grounding_dino(folder: Path) -> nn.Module:
    """Load the package's GroundingDINO in evaluation mode, without gradients.

    Args:
        folder: A folder with ``config.json`` (the package's SLConfig), ``model.safetensors``, and BERT's configuration
            and tokenizer in ``text_encoder``.

    Raises:
        ConfigError: A file is missing or does not match; the message names it.
    """
    _config(folder)
    settings = SLConfig.fromfile(str(folder / CONFIG))
    settings.text_encoder_type = str(folder / TEXT_ENCODER)
    # Activation checkpointing is for training; without gradients it only warns.
    settings.use_checkpoint = settings.use_transformer_ckpt = False
    try:
        with mended():
            model = build_model(settings)
    except (OSError, ValueError, AttributeError, TypeError, KeyError, AssertionError) as error:
        raise ConfigError(f"{folder} does not describe a Grounding DINO: {_line(error)}") from error
    return _filled(model, folder, UNUSED)


def load_sam(folder: Path) -> nn.Module:
    """Load the package's Sam in evaluation mode, without gradients.

    Args:
        folder: A folder with ``config.json``, such as ``{"model_type": "vit_h"}``, and ``model.safetensors``.

    Raises:
        ConfigError: A file is missing or does not match; the message names it.
    """
    kind = _config(folder).get("model_type")
    if kind not in sam_model_registry:
        raise ConfigError(
            f"{folder / CONFIG}: model_type={kind!r}; accepted are {', '.join(k for k in sam_model_registry)}"
        )
    return _filled(sam_model_registry[kind](), folder, set())


def _config(folder: Path) -> Mapping[str, Any]:
    try:
        values = json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder / CONFIG} cannot be read: {_line(error)}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{folder / CONFIG} is not a mapping")
    return values


def _filled(model: nn.Module, folder: Path, unused: set[str]) -> nn.Module:
    path = folder / WEIGHTS
    try:
        state = load_file(path)
        fit = model.load_state_dict({k: v for k, v in state.items() if k not in unused}, strict=False)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ConfigError(f"{path} cannot be loaded: {_line(error)}") from error
    if fit.missing_keys or fit.unexpected_keys:
        names = ", ".join((fit.missing_keys or fit.unexpected_keys)[:3])
        raise ConfigError(f"{path} {'lacks' if fit.missing_keys else 'has, but the model lacks,'} {names}")
    return model.eval().requires_grad_(False)


def _folder(checkpoint: Checkpoint) -> Checkpoint:
    if not Path(checkpoint.id).is_dir():
        raise ConfigError(f"checkpoint {checkpoint.id!r}: the original packages load a folder of scripts.convert")
    if checkpoint.dtype != "float32":
        raise ConfigError(f"checkpoint {checkpoint.id!r}: dtype={checkpoint.dtype}; the original packages want float32")
    return checkpoint


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
