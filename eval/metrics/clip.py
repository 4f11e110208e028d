"""CLIP score and CLIP directional similarity, with transformers, or with open_clip (:mod:`eval.metrics.openclip`).

``ClipScore`` is 100 * cos(image, edited caption), not clamped, for each sample. torchmetrics has the same scale but
clamps the average at 0; Hessel et al. scale by 2.5 and prefix the caption. ``ClipDirectional`` follows
InstructPix2Pix's ``clip_similarity``: raw captions, unit-length features before the differences, and pictures resized
to CLIP's square.

``resize`` selects how a picture is resized to CLIP's square. ``crop`` is CLIP's own preprocessing: PIL's bicubic resize
of the short side and a centre crop, which cuts off the ends of a wide picture. ``squeeze`` resizes both sides to the
square, by bicubic interpolation without antialiasing, which changes the aspect ratio.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel, CLIPTextConfig, PreTrainedTokenizerBase

from eval.metrics.base import Card, Metric, MetricUndefined, Score, package
from instructedit.checks import require_one_of
from instructedit.models import Checkpoint, Context
from instructedit.types import Captions, ConfigError, EditResult, Sample

SMALLEST_DIFFERENCE = 1e-6
"""Differences of unit vectors shorter than this have no reliable direction."""
RESIZES = ("crop", "squeeze")
LEGACY_EOS = 2
"""The eos id in the configurations of OpenAI's checkpoints, with which transformers pools at the highest token id."""


def cosine(a: Float[Tensor, " d"], b: Float[Tensor, " d"]) -> float:
    """Return the cosine of the angle between two nonzero vectors, in [-1, 1]."""
    return float(torch.dot(a, b) / (a.norm() * b.norm()))


def directional_similarity(
    source: Float[Tensor, " d"], edited: Float[Tensor, " d"], before: Float[Tensor, " d"], after: Float[Tensor, " d"]
) -> float:
    """Return cos(edited - source, after - before), in [-1, 1].

    Args:
        source: Unit-length features of the input image.
        edited: Unit-length features of the edited image.
        before: Unit-length features of the input caption.
        after: Unit-length features of the edited caption.

    Raises:
        MetricUndefined: The images or the captions have equal features.
    """
    images, texts = edited - source, after - before
    for what, difference in (("images", images), ("captions", texts)):
        if difference.norm() < SMALLEST_DIFFERENCE:
            raise MetricUndefined(f"the two {what} are the same to CLIP, so their difference has no direction")
    return cosine(images, texts)


def squeeze(image: Image.Image, size: int) -> Float[Tensor, "1 3 size size"]:
    """Resize an RGB image to a square as InstructPix2Pix's ``clip_similarity`` does, with values in about [0, 1].

    The interpolation is bicubic without antialiasing, so values may be slightly outside [0, 1].
    """
    pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].float() / 255
    return functional.interpolate(pixels, size=(size, size), mode="bicubic", align_corners=False)


def check_resize(resize: str) -> str:
    """Return ``resize`` if it is one of :data:`RESIZES`.

    Raises:
        ConfigError: It is not.
    """
    require_one_of("resize", resize, RESIZES)
    return resize


def truncate(tokens: list[int], window: int, end: int) -> list[int]:
    """Truncate a caption to the model's window and keep the end token, as OpenAI's and open_clip's tokenizers do.

    The features are read at the end token, which some tokenizers drop when they truncate.
    """
    return tokens if len(tokens) <= window else [*tokens[: window - 1], end]


def text_config(model: CLIPModel) -> CLIPTextConfig:
    """Return the configuration of the text encoder."""
    config = model.config.text_config
    assert isinstance(config, CLIPTextConfig)
    return config


@dataclass(frozen=True)
class Text:
    """A caption's CLIP features."""

    features: Float[Tensor, " d"]
    """Unit-length features."""
    note: str
    """States the truncation; empty if the caption was not truncated."""


class ClipScorer(ABC):
    """Computes CLIP features of images and captions; they are cached, and metrics share a scorer.

    Args:
        checkpoint: Id of the weights for the card.
        revision: Revision of the checkpoint.
        size: Side of the model's square input in pixels.
        mean: Mean of the three channels, in [0, 1].
        deviation: Standard deviation of the three channels.
        window: Maximum number of tokens of a caption.
    """

    def __init__(
        self,
        checkpoint: str,
        revision: str,
        size: int,
        mean: Sequence[float],
        deviation: Sequence[float],
        window: int,
    ) -> None:
        self.checkpoint, self.revision, self.size, self.window = checkpoint, revision, size, window
        self.mean, self.deviation = (torch.tensor(values).view(3, 1, 1) for values in (mean, deviation))
        # A sweep scores the same sources and captions many times; an entry of 768 numbers takes a few kB.
        self._images: dict[str, Float[Tensor, " d"]] = {}
        self._texts: dict[str, Text] = {}

    @abstractmethod
    def library_card(self) -> Card:
        """Return the library, the model and its dtype."""

    @abstractmethod
    def crop_card(self) -> Card:
        """Return the settings of the library's own preprocessing."""

    @abstractmethod
    def cropped(self, image: Image.Image) -> Float[Tensor, "1 3 size size"]:
        """Preprocess an RGB image with the library's own preprocessing."""

    @abstractmethod
    def image_features(self, pixels: Float[Tensor, "1 3 size size"]) -> Float[Tensor, "1 d"]:
        """Return projected features of preprocessed pixels, not normalised."""

    @abstractmethod
    def text_features(self, caption: str) -> tuple[Float[Tensor, "1 d"], int]:
        """Return projected features of a truncated caption, not normalised, and its number of tokens before that."""

    def card(self, resize: str = "crop") -> Card:
        """Return the part of a card that all CLIP metrics share."""
        return self.library_card() | {
            "backbone": {"id": self.checkpoint, "revision": self.revision},
            "resize": self.crop_card() if resize == "crop" else self._squeeze_card(),
            "truncation": f"captions over {self.window} tokens are cut, the end token kept",
        }

    def _squeeze_card(self) -> Card:
        return {
            "by": "torch.nn.functional.interpolate",
            "size": {"height": self.size, "width": self.size},
            "resample": "bicubic, no antialiasing",
            "centre crop": None,
        }

    @torch.inference_mode()
    def image(self, image: Image.Image, resize: str = "crop") -> Float[Tensor, " d"]:
        """Return unit-length features of an image, float64 on the CPU.

        Args:
            image: An image of any size.
            resize: ``crop`` or ``squeeze``, see this module.
        """
        image = image.convert("RGB")
        key = sha256(f"{resize}{image.size!r}".encode() + image.tobytes()).hexdigest()
        if key not in self._images:
            is_crop = resize == "crop"
            pixels = self.cropped(image) if is_crop else (squeeze(image, self.size) - self.mean) / self.deviation
            self._images[key] = _unit(self.image_features(pixels))
        return self._images[key]

    @torch.inference_mode()
    def text(self, caption: str) -> Text:
        """Return unit-length features of a caption, float64 on the CPU, truncated to the model's window."""
        if caption not in self._texts:
            features, tokens = self.text_features(caption)
            is_cut = tokens > self.window
            note = f"caption truncated to {self.window} tokens, it has {tokens}" if is_cut else ""
            self._texts[caption] = Text(_unit(features), note)
        return self._texts[caption]


class TransformersClip(ClipScorer):
    """A CLIPModel of transformers.

    Args:
        model: The loaded model.
        image_processor: The checkpoint's image processor.
        tokenizer: The checkpoint's tokenizer.
        checkpoint: Id of the weights for the card.
        revision: Revision of the checkpoint.
        device: Device of the model.

    Raises:
        ConfigError: The model reads a caption's features at another token than the tokenizer's end token.
    """

    def __init__(
        self,
        model: CLIPModel,
        image_processor: Any,
        tokenizer: PreTrainedTokenizerBase,
        checkpoint: str,
        revision: str,
        device: str | torch.device = "cpu",
    ) -> None:
        super().__init__(
            checkpoint, revision, int(model.config.vision_config.image_size), image_processor.image_mean,
            image_processor.image_std, int(text_config(model).max_position_embeddings),
        )  # fmt: skip
        self.model = model.to(device).eval().requires_grad_(False)
        self.image_processor, self.tokenizer = image_processor, tokenizer
        self._check_end_token()

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        checkpoint: str,
        revision: str,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> "TransformersClip":
        """Load a local ``save_pretrained`` folder."""
        # PIL's bicubic resize, as in OpenAI's preprocessing; a tensor resize gives slightly different features.
        processor = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = CLIPModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=dtype)
        return cls(model, processor, tokenizer, checkpoint, revision, device)

    def _check_end_token(self) -> None:
        """Check that the model pools captions at the tokenizer's end token.

        Without an end token, transformers pools at token 0 without a warning.
        """
        configured, end = text_config(self.model).eos_token_id, self.tokenizer.eos_token_id
        pooled = len(self.tokenizer) - 1 if configured == LEGACY_EOS else configured
        if end != pooled or self.tokenizer("").input_ids[-1:] != [end]:
            raise ConfigError(
                f"CLIP {self.checkpoint}: the model reads a caption at token {pooled}, its tokenizer ends it with {end}"
            )

    def library_card(self) -> Card:
        """See :class:`ClipScorer`."""
        dtype = str(self.model.dtype).removeprefix("torch.")
        return {"implementation": f"{package('transformers')} CLIPModel", "dtype": dtype}

    def crop_card(self) -> Card:
        """Return the processor's settings, and how its centre crop differs from OpenAI's."""
        processor = self.image_processor
        # OpenAI's preprocessing crops with torchvision, which rounds half of an odd margin to even.
        offset = "half of the margin, rounded down; torchvision's is a pixel more where the margin is 3 modulo 4"
        return {
            "by": type(processor).__name__,
            "size": dict(processor.size),
            "resample": int(processor.resample),
            "centre crop": dict(processor.crop_size) | {"offset": offset} if processor.do_center_crop else None,
        }

    def cropped(self, image: Image.Image) -> Float[Tensor, "1 3 size size"]:
        """Preprocess an image with the checkpoint's CLIPImageProcessor."""
        # The image is uint8, because the processor rescales by 1/255.
        pixels: Tensor = self.image_processor(images=image, return_tensors="pt").pixel_values
        return pixels

    def image_features(self, pixels: Float[Tensor, "1 3 size size"]) -> Float[Tensor, "1 d"]:
        """See :class:`ClipScorer`."""
        return _tensor(self.model.get_image_features(pixels.to(self.model.device, self.model.dtype)))

    def text_features(self, caption: str) -> tuple[Float[Tensor, "1 d"], int]:
        """See :class:`ClipScorer`."""
        tokens = self.tokenizer(caption, verbose=False).input_ids
        ids = truncate(tokens, self.window, self.tokenizer.eos_token_id)
        return _tensor(self.model.get_text_features(torch.tensor([ids], device=self.model.device))), len(tokens)


def clip_scorer(context: Context, checkpoint: Checkpoint) -> ClipScorer:
    """Return the scorer of a checkpoint with its library; all metrics of a process share it."""

    def load() -> ClipScorer:
        dtype: torch.dtype = getattr(torch, checkpoint.dtype)
        place = checkpoint.folder, checkpoint.id, checkpoint.version, context.device, dtype
        if checkpoint.implementation == "open_clip":
            from eval.metrics.openclip import OpenClip  # takes seconds to import

            return OpenClip(*place)
        return TransformersClip.from_folder(*place)

    return context.pool.get((ClipScorer, checkpoint, str(context.device)), load)


def _tensor(output: Any) -> Float[Tensor, "1 d"]:
    """Return the projected features as a tensor; transformers 5 returns an output object, transformers 4 a tensor."""
    features: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return features


def _unit(features: Float[Tensor, "1 d"]) -> Float[Tensor, " d"]:
    unit: Tensor = features[0].double().cpu()
    return unit / unit.norm()


class _ClipMetric(Metric):
    """A metric of CLIP features.

    Args:
        scorer: Computes features of pictures and captions; metrics may share it.
        resize: ``crop`` or ``squeeze``, see this module; None selects the metric's default.
    """

    default_resize: ClassVar[str]

    def __init__(self, scorer: ClipScorer, resize: str | None = None) -> None:
        self.scorer, self.resize = scorer, check_resize(self.default_resize if resize is None else resize)

    @classmethod
    def from_checkpoint(cls, context: Context, checkpoint: Checkpoint, resize: str) -> "_ClipMetric":
        """Return the metric with a CLIP checkpoint, see :func:`clip_scorer`."""
        return cls(clip_scorer(context, checkpoint), resize)

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Score one edit.

        Raises:
            MetricUndefined: There are no captions, or they have no direction.
        """
        if captions is None:
            raise MetricUndefined("there are no captions to score against")
        return self.compare(source, result.image, captions)

    @abstractmethod
    def compare(self, source: Image.Image, edited: Image.Image, captions: Captions) -> Score:
        """Score an edited image."""


class ClipScore(_ClipMetric):
    """CLIP score: similarity of the edited image and the edited caption."""

    name = "clip_score"
    unit = "100 cos"
    bounds = (-100.0, 100.0)
    higher_is_better = True
    default_resize = "crop"

    def details(self) -> Card:
        """See :class:`Metric`; the card names backbone and text, which the paper does not state."""
        return self.scorer.card(self.resize) | {"text": "edited caption, no prefix", "clamped": False}

    def compare(self, source: Image.Image, edited: Image.Image, captions: Captions) -> Score:
        """Return 100 * cos(edited image, edited caption)."""
        text = self.scorer.text(captions.edited)
        return Score(100 * cosine(self.scorer.image(edited, self.resize), text.features), text.note)


class ClipDirectional(_ClipMetric):
    """CLIP directional similarity: cosine between the change of the image and the change of the caption."""

    name = "clip_directional"
    unit = "cos"
    bounds = (-1.0, 1.0)
    higher_is_better = True
    default_resize = "squeeze"

    def details(self) -> Card:
        """See :class:`Metric`; captions are raw, whereas StyleGAN-NADA's metric averages prompt templates."""
        return self.scorer.card(self.resize) | {"text": "input and edited caption, no templates"}

    def compare(self, source: Image.Image, edited: Image.Image, captions: Captions) -> Score:
        """Return the cosine between the change of the image and the change of the caption."""
        before, after = self.scorer.text(captions.input), self.scorer.text(captions.edited)
        first, second = (self.scorer.image(image, self.resize) for image in (source, edited))
        value = directional_similarity(first, second, before.features, after.features)
        return Score(value, "; ".join(dict.fromkeys(note for note in (before.note, after.note) if note)))
