"""Region metrics: PSNR, SSIM, MSE and LPIPS outside the ground-truth mask, and CLIP score inside it.

They follow PIE-Bench (Ju et al., ICLR 2024), but do not set pixels to zero, which adds an edge to both images and
counts the masked pixels as correct. Every average is over the outside pixels only. For metrics with a receptive field
(SSIM's window, AlexNet), the masked region of the edited image is first replaced by the input, so that changes inside
do not affect values outside.
"""

import copy
from abc import abstractmethod
from typing import ClassVar

import lpips
import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from eval.metrics.base import Card, Metric, MetricUndefined, Score, package, read_truth, require_same_size
from eval.metrics.clip import ClipScorer, clip_scorer, cosine
from eval.metrics.lpips import Lpips, signed
from eval.metrics.mask_iou import THRESHOLD
from instructedit.models import Checkpoint, Context
from instructedit.perceptual import MINIMUM_SIDE
from instructedit.types import Captions, EditResult, Sample

MARGIN = 0.15
"""Margin on each side of CLIP's crop, relative to the longer side of the box, to include some surroundings."""
WINDOW = 11
"""Side of SSIM's Gaussian window (sigma 1.5) in pixels, which is the minimum side of an image."""

Region = Bool[np.ndarray, "h w"]
"""A mask, True inside."""


def true_region(sample: Sample, size: tuple[int, int]) -> Region:
    """Read a sample's ground-truth mask.

    Args:
        sample: The sample.
        size: Width and height of the image.

    Raises:
        MetricUndefined: There is no mask, it has another size, or it is empty or full.
    """
    if sample.truth.mask is None:
        raise MetricUndefined("the sample has no ground-truth mask")
    image = read_truth(sample.truth.mask)
    if image.size != size:
        raise MetricUndefined(f"the ground-truth mask is {image.size}, the image {size} (width, height)")
    region = np.asarray(image.convert("L")) >= THRESHOLD
    if region.all() or not region.any():
        raise MetricUndefined(f"the ground-truth mask covers {'all' if region.any() else 'nothing'} of the image")
    return region


def unit_pixels(image: Image.Image) -> Float[np.ndarray, "h w 3"]:
    """Return RGB in [0, 1], float64."""
    return np.asarray(image.convert("RGB"), dtype=np.float64) / 255


def restored(source: Image.Image, edited: Image.Image, region: Region) -> Image.Image:
    """Return the edited image with the region replaced by the source, so that only the outside can differ.

    If the edit changed the outside, there is a seam at the region's boundary.
    """
    return Image.composite(source.convert("RGB"), edited.convert("RGB"), Image.fromarray(region))


def mse_outside(source: Image.Image, edited: Image.Image, region: Region) -> float:
    """Return the mean squared difference of RGB in [0, 1] over channels and outside pixels; in [0, 1]."""
    squared = (unit_pixels(source) - unit_pixels(edited)) ** 2
    return float(squared[~region].mean())


def psnr_outside(source: Image.Image, edited: Image.Image, region: Region) -> float:
    """Return the peak signal-to-noise ratio of the outside pixels, in dB with a peak of 1.

    Raises:
        MetricUndefined: The outside pixels are equal.
    """
    error = mse_outside(source, edited, region)
    if error == 0:
        raise MetricUndefined("outside the mask the images are equal, so the ratio is infinite")
    return float(-10 * np.log10(error))


def ssim_outside(source: Image.Image, edited: Image.Image, region: Region) -> float:
    """Return the mean of the SSIM map (Wang et al., IEEE TIP 2004) over channels and outside pixels, in [-1, 1]."""
    images = (unit_pixels(source), unit_pixels(restored(source, edited, region)))
    first, second = (torch.from_numpy(image).permute(2, 0, 1)[None] for image in images)
    _, similarity = structural_similarity_index_measure(first, second, data_range=1.0, return_full_image=True)
    assert isinstance(similarity, Tensor)
    return float(similarity[0].mean(dim=0)[torch.from_numpy(~region)].mean())


@torch.inference_mode()
def lpips_outside(network: lpips.LPIPS, source: Image.Image, edited: Image.Image, region: Region) -> float:
    """Return the mean of the spatial LPIPS map over outside pixels; 0 if they are equal."""
    # A shallow copy shares the weights; ``spatial`` is an option of the package.
    spatial = copy.copy(network)
    spatial.spatial = True
    device = next(network.parameters()).device
    pair = (signed(image).to(device) for image in (source, restored(source, edited, region)))
    distances: Tensor = spatial(*pair)[0, 0].cpu().double()
    return float(distances[torch.from_numpy(~region)].mean())


def square_around(region: Region, margin: float = MARGIN) -> tuple[int, int, int, int]:
    """Return a square around a region's box, wider by ``margin`` on each side and inside the picture.

    Returns:
        Left, upper, right and lower edges, as for PIL's crop. The side is at most the picture's shorter side.
    """
    height, width = region.shape
    ys, xs = np.nonzero(region)
    x1, y1, x2, y2 = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
    side = min(width, height, float(max(x2 - x1, y2 - y1)) * (1 + 2 * margin))
    left = min(max(float(x1 + x2 - side) / 2, 0), width - side)
    top = min(max(float(y1 + y2 - side) / 2, 0), height - side)
    return round(left), round(top), round(left + side), round(top + side)


class RegionMetric(Metric):
    """Base of metrics on the inside or outside of the ground-truth mask."""

    def applies(self, sample: Sample) -> bool:
        """Return whether the sample has a ground-truth mask."""
        return sample.truth.mask is not None


class OutsideMetric(RegionMetric):
    """Base of metrics that compare input and edited image outside the ground-truth mask."""

    fills: ClassVar[bool] = False
    """Whether the metric has a receptive field, so that the region is replaced by the input first."""

    @abstractmethod
    def compare(self, source: Image.Image, edited: Image.Image, region: Region) -> float:
        """Compare the outside pixels and return the value in the metric's unit."""

    def region_card(self) -> Card:
        """Return the part of a card that the metrics outside the mask share."""
        inside = "filled from the input before the map is made" if self.fills else "not read"
        averaged = "pixels outside, none set to zero"
        return {"region": {"truth": f"PNG, >= {THRESHOLD}", "averaged over": averaged, "inside": inside}}

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Compare the edited image with the input outside the ground-truth mask."""
        require_same_size(source, result.image)
        return Score(self.compare(source, result.image, true_region(sample, source.size)))


class MseOutside(OutsideMetric):
    """Mean squared error outside the mask."""

    name = "mse_outside"
    unit = "1e-4"
    bounds = (0.0, 1e4)
    higher_is_better = False

    def details(self) -> Card:
        """See :class:`Metric`; the scale is PIE-Bench's."""
        return {"implementation": "own, float64", "pixels": "RGB in [0, 1]", "resize": "none"} | self.region_card()

    def compare(self, source: Image.Image, edited: Image.Image, region: Region) -> float:
        """Return 10,000 times the mean squared error of RGB in [0, 1]."""
        return 1e4 * mse_outside(source, edited, region)


class PsnrOutside(OutsideMetric):
    """Peak signal-to-noise ratio outside the mask; undefined if nothing changed (then ``mse_outside`` is 0)."""

    name = "psnr_outside"
    unit = "dB"
    bounds = (0.0, None)
    higher_is_better = True

    def details(self) -> Card:
        """See :class:`Metric`; the mean of PSNR over images is not the PSNR of the mean error."""
        card: Card = {"implementation": "own, float64", "pixels": "RGB in [0, 1], peak 1", "resize": "none"}
        return card | {"equal images": "undefined"} | self.region_card()

    def compare(self, source: Image.Image, edited: Image.Image, region: Region) -> float:
        """Return PSNR in dB."""
        return psnr_outside(source, edited, region)


class SsimOutside(OutsideMetric):
    """Mean structural similarity outside the mask."""

    name = "ssim_outside"
    unit = ""
    bounds = (-1.0, 1.0)
    higher_is_better = True
    fills = True

    def details(self) -> Card:
        """See :class:`Metric`; implementations differ in window and constants."""
        window = f"Gaussian {WINDOW} x {WINDOW}, sigma 1.5, reflected at the rim; k1 0.01, k2 0.03, data range 1"
        card: Card = {"implementation": f"{package('torchmetrics')}, float64", "window": window, "resize": "none"}
        return card | {"pixels": "RGB in [0, 1], mean over channels"} | self.region_card()

    def compare(self, source: Image.Image, edited: Image.Image, region: Region) -> float:
        """Return the mean SSIM."""
        if min(source.size) < WINDOW:
            raise MetricUndefined(f"the image is {source.size}, SSIM's window needs {WINDOW} pixels per side")
        return ssim_outside(source, edited, region)


class LpipsOutside(OutsideMetric):
    """Mean spatial LPIPS outside the mask."""

    name = "lpips_outside"
    unit = ""
    bounds = (0.0, None)
    higher_is_better = False
    fills = True

    def __init__(self, whole: Lpips) -> None:
        """Use the network of ``whole``, the metric of the whole image."""
        self.whole = whole

    @classmethod
    def from_checkpoint(cls, context: Context, checkpoint: Checkpoint, calibration: str) -> "LpipsOutside":
        """Return the metric with the network of :meth:`Lpips.from_checkpoint`."""
        return cls(Lpips.from_checkpoint(context, checkpoint, calibration))

    def details(self) -> Card:
        """See :class:`Metric`; each layer's distances are interpolated to the image's size before the mean."""
        return self.whole.details() | {"map": "spatial, bilinear to the image's size"} | self.region_card()

    def compare(self, source: Image.Image, edited: Image.Image, region: Region) -> float:
        """Return the mean of the spatial LPIPS map."""
        if min(source.size) < MINIMUM_SIDE:
            raise MetricUndefined(f"the image is {source.size}, AlexNet needs {MINIMUM_SIDE} pixels per side")
        return lpips_outside(self.whole.network, source, edited, region)


class ClipInside(RegionMetric):
    """CLIP score of a square around the ground-truth mask and the edited caption."""

    name = "clip_inside"
    unit = "100 cos"
    bounds = (-100.0, 100.0)
    higher_is_better = True

    def __init__(self, scorer: ClipScorer) -> None:
        """Score with a scorer that other metrics may share."""
        self.scorer = scorer

    @classmethod
    def from_checkpoint(cls, context: Context, checkpoint: Checkpoint) -> "ClipInside":
        """Return the metric with a CLIP checkpoint, see :func:`eval.metrics.clip.clip_scorer`."""
        return cls(clip_scorer(context, checkpoint))

    def details(self) -> Card:
        """See :class:`Metric`; PIE-Bench sets the outside to black instead, which is unlike CLIP's training images."""
        crop = f"square around the box, {MARGIN:.0%} wider on each side, kept inside the image, nothing set to zero"
        text = {"text": "edited caption, no prefix", "clamped": False}
        return self.scorer.card() | text | {"region": {"truth": f"PNG, >= {THRESHOLD}", "crop": crop}}

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Return 100 * cos(square of the edited image around the ground-truth mask, edited caption)."""
        if captions is None:
            raise MetricUndefined("there are no captions to score against")
        crop = result.image.crop(square_around(true_region(sample, result.image.size)))
        text = self.scorer.text(captions.edited)
        return Score(100 * cosine(self.scorer.image(crop), text.features), text.note)
