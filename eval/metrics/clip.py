"""CLIP score and CLIP directional similarity, on transformers here and on open_clip in :mod:`eval.metrics.openclip`.

``ClipScore`` is 100 * cos(image, edited caption), raw for each sample: torchmetrics' scale, but torchmetrics clamps the
average at 0; Hessel et al. scale by 2.5 and prefix the caption. ``ClipDirectional`` follows InstructPix2Pix's
``clip_similarity``: raw captions, features of unit length before the differences are taken, pictures squeezed to CLIP's
square.

A picture reaches CLIP's square in one of two ways (``resize``). ``crop`` is CLIP's own preprocessing, PIL's bicubic on
the short side and a centre crop: what happens at the ends of a wide picture is not seen. ``squeeze`` resamples both
sides to the square, bicubic without antialiasing: all of the picture is seen, in another aspect.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel, CLIPTextConfig, PreTrainedTokenizerBase

from eval.metrics.base import Card, Metric, MetricUndefined, Score, package
from instructedit.checks import require_one_of
from instructedit.models import DTYPES, Checkpoint, Context
from instructedit.types import Captions, ConfigError, EditResult, Sample

SMALLEST_DIFFERENCE = 1e-6
"""Length of a difference of unit vectors under which its direction is rounding error."""
RESIZES = ("crop", "squeeze")
LEGACY_EOS = 2
"""The eos id in the configurations of OpenAI's checkpoints: transformers then pools at the highest token id."""


def cosine(a: Float[Tensor, " d"], b: Float[Tensor, " d"]) -> float:
    """Cosine of the angle between two vectors that are not zero, in [-1, 1]."""
    return float(torch.dot(a, b) / (a.norm() * b.norm()))


def directional_similarity(
    source: Float[Tensor, " d"], edited: Float[Tensor, " d"], before: Float[Tensor, " d"], after: Float[Tensor, " d"]
) -> float:
    """cos(edited - source, after - before): images first, captions second, each vector of unit length.

    Raises:
        MetricUndefined: the images or the captions are the same to CLIP.
    """
    images, texts = edited - source, after - before
    for what, difference in (("images", images), ("captions", texts)):
        if difference.norm() < SMALLEST_DIFFERENCE:
            raise MetricUndefined(f"the two {what} are the same to CLIP, so their difference has no direction")
    return cosine(images, texts)


def squeeze(image: Image.Image, size: int) -> Float[Tensor, "1 3 size size"]:
    """An RGB image in [0, 1], squeezed to a square as InstructPix2Pix's ``clip_similarity`` does.

    Bicubic without antialiasing, so that values may lie a little outside [0, 1].
    """
    pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].float() / 255
    return functional.interpolate(pixels, size=(size, size), mode="bicubic", align_corners=False)


def check_resize(resize: str) -> str:
    """Refuse what is no way to CLIP's square."""
    require_one_of("resize", resize, RESIZES)
    return resize


def truncate(tokens: list[int], window: int, end: int) -> list[int]:
    """Cut a caption to the model's window as OpenAI's and open_clip's tokenizers do: the last place is the end token's.

    By hand, because not every tokenizer keeps the end token when it truncates, and the features sit on it.
    """
    return tokens if len(tokens) <= window else [*tokens[: window - 1], end]


def text_config(model: CLIPModel) -> CLIPTextConfig:
    """The text tower's half of a configuration."""
    config = model.config.text_config
    assert isinstance(config, CLIPTextConfig)
    return config


@dataclass(frozen=True)
class Text:
    """A caption's place in CLIP's space."""

    features: Float[Tensor, " d"]
    note: str
    """Says how much was cut; empty if nothing was."""


class ClipScorer(ABC):
    """Embeds images and captions in one space, each of them once; metrics share one scorer.

    Args:
        checkpoint: Names the weights on the card.
        revision: Of the checkpoint.
        size: Side in pixels of the square that the model sees.
        mean: Of the three channels, in [0, 1], which is subtracted.
        deviation: Of the three channels, by which the difference is divided.
        window: Longest caption in tokens.
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
        # 3 kB an entry at 768 float32 numbers; a sweep sees the same sources and captions again and again.
        self._images: dict[str, Float[Tensor, " d"]] = {}
        self._texts: dict[str, Text] = {}

    @abstractmethod
    def library_card(self) -> Card:
        """The library, the model and its dtype."""

    @abstractmethod
    def crop_card(self) -> Card:
        """How the library's own preprocessing resizes."""

    @abstractmethod
    def cropped(self, image: Image.Image) -> Float[Tensor, "1 3 size size"]:
        """An RGB image through the library's own preprocessing."""

    @abstractmethod
    def image_features(self, pixels: Float[Tensor, "1 3 size size"]) -> Float[Tensor, "1 d"]:
        """Projected features of preprocessed pixels, of any length."""

    @abstractmethod
    def text_features(self, caption: str) -> tuple[Float[Tensor, "1 d"], int]:
        """Projected features of a caption cut to the window, of any length, and its tokens before the cut."""

    def card(self, resize: str = "crop") -> Card:
        """The part of a card that all CLIP metrics share."""
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
        """Unit-length features of an RGB image, float64 on the CPU.

        Args:
            image: Of any size.
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
        """Unit-length features of a caption, float64 on the CPU, cut to the model's window."""
        if caption not in self._texts:
            features, tokens = self.text_features(caption)
            is_cut = tokens > self.window
            note = f"caption truncated to {self.window} tokens, it has {tokens}" if is_cut else ""
            self._texts[caption] = Text(_unit(features), note)
        return self._texts[caption]


class TransformersClip(ClipScorer):
    """A CLIPModel of transformers.

    Args:
        model: Loaded.
        image_processor: Of the checkpoint.
        tokenizer: Of the checkpoint.
        checkpoint: Names the weights on the card.
        revision: Of the checkpoint.
        device: Where to compute.

    Raises:
        ConfigError: The model would read a caption's features at the wrong token.
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
        """Load a ``save_pretrained`` folder, from disk only."""
        # PIL's bicubic, as in OpenAI's own preprocessing; a tensor resize gives slightly other features.
        processor = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = CLIPModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=dtype)
        return cls(model, processor, tokenizer, checkpoint, revision, device)

    def _check_end_token(self) -> None:
        """A caption is pooled at its end token; transformers falls back on token 0 in silence if there is none."""
        configured, end = text_config(self.model).eos_token_id, self.tokenizer.eos_token_id
        pooled = len(self.tokenizer) - 1 if configured == LEGACY_EOS else configured
        if end != pooled or self.tokenizer("").input_ids[-1:] != [end]:
            raise ConfigError(
                f"CLIP {self.checkpoint}: the model reads a caption at token {pooled}, its tokenizer ends it with {end}"
            )

    def library_card(self) -> Card:
        """Names transformers."""
        dtype = str(self.model.dtype).removeprefix("torch.")
        return {"implementation": f"{package('transformers')} CLIPModel", "dtype": dtype}

    def crop_card(self) -> Card:
        """The processor's settings, and where its centre crop differs from OpenAI's."""
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
        """Through the checkpoint's CLIPImageProcessor."""
        # uint8 in: the processor rescales by 1/255 itself.
        pixels: Tensor = self.image_processor(images=image, return_tensors="pt").pixel_values
        return pixels

    def image_features(self, pixels: Float[Tensor, "1 3 size size"]) -> Float[Tensor, "1 d"]:
        """See :class:`ClipScorer`."""
        return _tensor(self.model.get_image_features(pixels.to(self.model.device, self.model.dtype)))

    def text_features(self, caption: str) -> tuple[Float[Tensor, "1 d"], int]:
        """See :class:`ClipScorer`."""
        tokens = self.tokenizer(caption, verbose=False).input_ids
        cut = truncate(tokens, self.window, self.tokenizer.eos_token_id)
        return _tensor(self.model.get_text_features(torch.tensor([cut], device=self.model.device))), len(tokens)


def clip_scorer(context: Context, checkpoint: Checkpoint) -> ClipScorer:
    """The scorer of a checkpoint on the library that it names; all metrics of a process share it."""

    def load() -> ClipScorer:
        place = checkpoint.folder, checkpoint.id, checkpoint.version, context.device, DTYPES[checkpoint.dtype]
        if checkpoint.implementation == "open_clip":
            from eval.metrics.openclip import OpenClip  # takes seconds to import

            return OpenClip(*place)
        return TransformersClip.from_folder(*place)

    return context.pool.get((ClipScorer, checkpoint, str(context.device)), load)


def _tensor(output: Any) -> Float[Tensor, "1 d"]:
    """The projected features: transformers 5 wraps in an output object what 4 returned as a tensor."""
    features: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return features


def _unit(features: Float[Tensor, "1 d"]) -> Float[Tensor, " d"]:
    unit: Tensor = features[0].double().cpu()
    return unit / unit.norm()


class ClipScore(Metric):
    """Does the edited image show what the edited caption says?"""

    name = "clip_score"
    unit = "100 cos"
    bounds = (-100.0, 100.0)
    higher_is_better = True

    def __init__(self, scorer: ClipScorer, resize: str = "crop") -> None:
        """Score with a scorer that other metrics may share.

        Args:
            scorer: Embeds pictures and captions.
            resize: ``crop`` or ``squeeze``: how a picture reaches CLIP's square, see this module.
        """
        self.scorer, self.resize = scorer, check_resize(resize)

    @classmethod
    def from_checkpoint(cls, context: Context, checkpoint: Checkpoint, resize: str) -> "ClipScore":
        """The metric on a CLIP checkpoint, see :func:`clip_scorer`."""
        return cls(clip_scorer(context, checkpoint), resize)

    def details(self) -> Card:
        """Names the backbone and the text, which the paper leaves open."""
        return self.scorer.card(self.resize) | {"text": "edited caption, no prefix", "clamped": False}

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """100 * cos(edited image, edited caption)."""
        if captions is None:
            raise MetricUndefined("there are no captions to score against")
        text = self.scorer.text(captions.edited)
        return Score(100 * cosine(self.scorer.image(result.image, self.resize), text.features), text.note)


class ClipDirectional(Metric):
    """Did the image change as the captions did?"""

    name = "clip_directional"
    unit = "cos"
    bounds = (-1.0, 1.0)
    higher_is_better = True

    def __init__(self, scorer: ClipScorer, resize: str = "squeeze") -> None:
        """Score with a scorer that other metrics may share.

        Args:
            scorer: Embeds pictures and captions.
            resize: ``crop`` or ``squeeze``: how a picture reaches CLIP's square, see this module.
        """
        self.scorer, self.resize = scorer, check_resize(resize)

    @classmethod
    def from_checkpoint(cls, context: Context, checkpoint: Checkpoint, resize: str) -> "ClipDirectional":
        """The metric on a CLIP checkpoint, see :func:`clip_scorer`."""
        return cls(clip_scorer(context, checkpoint), resize)

    def details(self) -> Card:
        """Raw captions: StyleGAN-NADA, whose name the metric shares, averages prompt templates instead."""
        return self.scorer.card(self.resize) | {"text": "input and edited caption, no templates"}

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Cosine between the change of the image and the change of the caption."""
        if captions is None:
            raise MetricUndefined("there are no captions to score against")
        before, after = self.scorer.text(captions.input), self.scorer.text(captions.edited)
        first, second = (self.scorer.image(i, self.resize) for i in (source, result.image))
        value = directional_similarity(first, second, before.features, after.features)
        return Score(value, "; ".join(dict.fromkeys(note for note in (before.note, after.note) if note)))
