"""PIE-Bench's own metrics (Ju et al., PnP Inversion, ICLR 2024), as its ``evaluation/matrics_calculator.py`` has them.

They are for comparison with published numbers; :mod:`eval.metrics.region` has the same quantities without the
peculiarities: here the pixels of the mask are set to zero in both images and then counted as correct, LPIPS uses
SqueezeNet, the CLIP score is clamped at 0, and DINO receives pixels in [0, 255] under ImageNet's normalisation for
[0, 1]. Values have the units of PIE-Bench's tables.
"""

from abc import abstractmethod

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.image import structural_similarity_index_measure
from torchvision.transforms.v2 import functional as transforms
from transformers import ViTModel

from eval.metrics.base import Card, Metric, MetricUndefined, Score, package, require_same_size
from eval.metrics.clip import ClipScorer, clip_scorer, cosine
from eval.metrics.lpips import Lpips
from eval.metrics.mask_iou import THRESHOLD
from eval.metrics.region import WINDOW, Region, RegionMetric, true_region
from instructedit.models import Checkpoint, Context
from instructedit.perceptual import MINIMUM_SIDE
from instructedit.types import Captions, EditResult, Sample

DINO_SIDE, DINO_LONGEST = 224, 480
"""Shorter side of DINO's input in pixels, and the greatest longer side."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, for pixels in [0, 1]."""
ZEROED = "RGB in [0, 1], the mask's pixels set to 0 in both images and averaged over too"


def zeroed(image: Image.Image, region: Region) -> Float[Tensor, "1 3 h w"]:
    """Return RGB in [0, 1], float32, with the region set to 0."""
    pixels = np.asarray(image.convert("RGB")).astype(np.float32) / 255 * ~region[..., None]
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def self_similarity(keys: Float[Tensor, "tokens d"]) -> Float[Tensor, "tokens tokens"]:
    """Return the cosine similarities of all pairs of tokens."""
    norm = keys.norm(dim=1, keepdim=True)
    return keys @ keys.T / (norm @ norm.T).clamp(min=1e-8)


@torch.inference_mode()
def dino_keys(model: ViTModel, image: Image.Image, antialias: bool) -> Float[Tensor, "tokens d"]:
    """Return the keys of all heads in the last layer of a DINO vision transformer, for each token.

    The shorter side becomes 224 pixels, or less if the longer one would exceed 480.
    """
    pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float()
    pixels = transforms.resize(pixels, [DINO_SIDE], max_size=DINO_LONGEST, antialias=antialias)
    pixels = transforms.normalize(pixels, list(MEAN), list(DEVIATION))[None].to(model.device, model.dtype)
    found: list[Tensor] = []
    key = model.layers[-1].attention.k_proj
    handle = key.register_forward_hook(lambda module, inputs, output: found.append(output))
    try:
        model(pixels, interpolate_pos_encoding=True)
    finally:
        handle.remove()
    return found[0][0].float().cpu()


class StructureDistance(Metric):
    """Mean squared difference of DINO's self-similarities of input and edit (Splice ViT, Tumanyan et al., 2022)."""

    name = "pie_structure_distance"
    unit = "1e-3"
    bounds = (0.0, 4e3)
    higher_is_better = False

    def __init__(self, model: ViTModel, checkpoint: str, revision: str, antialias: bool) -> None:
        """Use a DINO model; ``checkpoint`` and ``revision`` are for the card.

        ``antialias`` filters before the image is made smaller; the torchvision of PIE-Bench's time did not for tensors.
        """
        self.model, self.antialias = model, antialias
        self._backbone = {"id": checkpoint, "revision": revision}

    @classmethod
    def from_checkpoint(cls, context: Context, checkpoint: Checkpoint, antialias: bool) -> "StructureDistance":
        """Return the metric with a checkpoint's model, which is loaded once per process."""
        model = context.pool.model(ViTModel, checkpoint, context.device)
        return cls(model, checkpoint.id, checkpoint.version, antialias)

    def details(self) -> Card:
        """See :class:`Metric`."""
        resize = f"shorter side to {DINO_SIDE}, longer side at most {DINO_LONGEST}, bilinear"
        return {
            "implementation": f"own, with {package('transformers')} ViTModel",
            "backbone": self._backbone,
            "features": "keys of the last layer, all heads joined, all tokens with [CLS]",
            "pixels": "RGB in [0, 255] under ImageNet's mean and deviation for [0, 1], as in PIE-Bench's code",
            "resize": f"{resize}, {'with' if self.antialias else 'without'} antialiasing",
        }

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Return 1,000 times the distance."""
        require_same_size(source, result.image)
        before, after = (self_similarity(dino_keys(self.model, i, self.antialias)) for i in (source, result.image))
        return Score(1e3 * float(functional.mse_loss(after, before)))


class Unedited(RegionMetric):
    """Base of the metrics on what PIE-Bench calls the unedited part."""

    @abstractmethod
    def compare(self, edited: Float[Tensor, "1 3 h w"], source: Float[Tensor, "1 3 h w"]) -> float:
        """Compare the images, whose masks' pixels are 0, and return the value in the metric's unit."""

    def details(self) -> Card:
        """See :class:`Metric`."""
        return {"pixels": ZEROED, "resize": "none (PIE-Bench's pictures are 512 x 512)", "mask": f"PNG, >= {THRESHOLD}"}

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Compare edit and input."""
        require_same_size(source, result.image)
        region = true_region(sample, source.size)
        return Score(self.compare(zeroed(result.image, region), zeroed(source, region)))


class PieMse(Unedited):
    """Mean squared error with the mask set to zero."""

    name = "pie_mse"
    unit = "1e-4"
    bounds = (0.0, 1e4)
    higher_is_better = False

    def compare(self, edited: Float[Tensor, "1 3 h w"], source: Float[Tensor, "1 3 h w"]) -> float:
        """Return 10,000 times the mean over all pixels."""
        return 1e4 * float(functional.mse_loss(edited, source))


class PiePsnr(Unedited):
    """Peak signal-to-noise ratio with the mask set to zero."""

    name = "pie_psnr"
    unit = "dB"
    bounds = (0.0, None)
    higher_is_better = True

    def compare(self, edited: Float[Tensor, "1 3 h w"], source: Float[Tensor, "1 3 h w"]) -> float:
        """Return the ratio for a peak of 1."""
        error = float(functional.mse_loss(edited, source))
        if error == 0:
            raise MetricUndefined("outside the mask the images are equal, so the ratio is infinite")
        return float(-10 * np.log10(error))


class PieSsim(Unedited):
    """Structural similarity with the mask set to zero."""

    name = "pie_ssim"
    unit = "1e-2"
    bounds = (-100.0, 100.0)
    higher_is_better = True

    def details(self) -> Card:
        """See :class:`Metric`."""
        window = f"Gaussian {WINDOW} x {WINDOW}, sigma 1.5; k1 0.01, k2 0.03, data range 1"
        return super().details() | {"implementation": package("torchmetrics"), "window": window}

    def compare(self, edited: Float[Tensor, "1 3 h w"], source: Float[Tensor, "1 3 h w"]) -> float:
        """Return 100 times the mean over all pixels."""
        if min(edited.shape[-2:]) < WINDOW:
            raise MetricUndefined(f"SSIM's window needs {WINDOW} pixels per side")
        value = structural_similarity_index_measure(edited, source, data_range=1.0)
        assert isinstance(value, Tensor)
        return 100 * float(value)


class PieLpips(Unedited):
    """LPIPS with SqueezeNet, the mask set to zero."""

    name = "pie_lpips"
    unit = "1e-3"
    bounds = (0.0, None)
    higher_is_better = False

    def __init__(self, whole: Lpips) -> None:
        """Use the network of ``whole``."""
        self.whole = whole

    @classmethod
    def from_checkpoint(cls, context: Context, checkpoint: Checkpoint, calibration: str, net: str) -> "PieLpips":
        """Return the metric with the network of :meth:`Lpips.from_checkpoint`."""
        return cls(Lpips.from_checkpoint(context, checkpoint, calibration, net))

    def details(self) -> Card:
        """See :class:`Metric`."""
        return self.whole.details() | super().details()

    @torch.inference_mode()
    def compare(self, edited: Float[Tensor, "1 3 h w"], source: Float[Tensor, "1 3 h w"]) -> float:
        """Return 1,000 times the distance of the whole images."""
        if min(edited.shape[-2:]) < MINIMUM_SIDE:
            raise MetricUndefined(f"the network needs {MINIMUM_SIDE} pixels per side")
        network = self.whole.network
        device = next(network.parameters()).device
        return 1e3 * float(network(edited.to(device) * 2 - 1, source.to(device) * 2 - 1))


class PieClipWhole(Metric):
    """CLIP score of the edit and the edited caption, clamped at 0."""

    name = "pie_clip_whole"
    unit = "100 cos"
    bounds = (0.0, 100.0)
    higher_is_better = True

    def __init__(self, scorer: ClipScorer) -> None:
        """Score with a scorer that other metrics may share."""
        self.scorer = scorer

    @classmethod
    def from_checkpoint(cls, context: Context, checkpoint: Checkpoint) -> "PieClipWhole":
        """Return the metric with a CLIP checkpoint, see :func:`eval.metrics.clip.clip_scorer`."""
        return cls(clip_scorer(context, checkpoint))

    def details(self) -> Card:
        """See :class:`Metric`."""
        return self.scorer.card() | {"text": "edited caption, no prefix", "clamped": "at 0, as torchmetrics does"}

    def shown(self, sample: Sample, image: Image.Image) -> Image.Image:
        """Return the image to score."""
        return image

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Return max(0, 100 cos(image, edited caption))."""
        if captions is None:
            raise MetricUndefined("there are no captions to score against")
        text = self.scorer.text(captions.edited)
        value = 100 * cosine(self.scorer.image(self.shown(sample, result.image)), text.features)
        return Score(max(0.0, value), text.note)


class PieClipEdited(PieClipWhole):
    """CLIP score of the edited part: everything outside the mask is black."""

    name = "pie_clip_edited"

    def applies(self, sample: Sample) -> bool:
        """Return whether the sample has a ground-truth mask."""
        return sample.truth.mask is not None

    def details(self) -> Card:
        """See :class:`Metric`."""
        return super().details() | {"region": f"PNG, >= {THRESHOLD}; pixels outside are black"}

    def shown(self, sample: Sample, image: Image.Image) -> Image.Image:
        """Return the image with black pixels outside the ground-truth mask."""
        region = Image.fromarray(true_region(sample, image.size))
        return Image.composite(image.convert("RGB"), Image.new("RGB", image.size), region)
