"""What an edit left alone and what it was to change: PSNR, SSIM, MSE and LPIPS outside the true mask, CLIP inside.

As PIE-Bench (Ju et al., ICLR 2024) asks, but never by setting pixels to zero, which puts an edge into both pictures and
counts the mask's pixels as right: every average here is over the pixels outside alone. Where a value looks around
itself (SSIM's window, AlexNet's receptive field), the region of the edited image is filled from the input first, so
that nothing that happened inside is seen from outside.
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
from eval.metrics.lpips import MINIMUM_SIDE, Lpips, signed
from eval.metrics.mask_iou import THRESHOLD
from instructedit.models import Checkpoint, Context
from instructedit.types import Captions, EditResult, Sample

MARGIN = 0.15
"""Of the box's longer side, on each side of the square that CLIP sees: a thing without its surroundings is harder."""
WINDOW = 11
"""Pixels a side of SSIM's Gaussian window (sigma 1.5), the least side of an image."""

Region = Bool[np.ndarray, "h w"]
"""True where the edit belongs."""


def true_region(sample: Sample, size: tuple[int, int]) -> Region:
    """Read a sample's true mask.

    Args:
        sample: with or without truth.
        size: of the image, width and height.

    Raises:
        MetricUndefined: there is no mask, it is of another size, or it covers all or nothing.
    """
    if sample.truth.mask is None:
        raise MetricUndefined("the sample has no true mask")
    image = read_truth(sample.truth.mask)
    if image.size != size:
        raise MetricUndefined(f"the true mask is {image.size}, the image {size} (width, height)")
    region = np.asarray(image.convert("L")) >= THRESHOLD
    if region.all() or not region.any():
        raise MetricUndefined(f"the true mask covers {'all' if region.any() else 'nothing'} of the image")
    return region


def unit_pixels(image: Image.Image) -> Float[np.ndarray, "h w 3"]:
    """RGB in [0, 1], float64."""
    return np.asarray(image.convert("RGB"), dtype=np.float64) / 255


def restored(source: Image.Image, edited: Image.Image, region: Region) -> Image.Image:
    """The edited image, the region filled from the source: what differs still, differs outside.

    An edit that kept the outside shows no seam; one that did not shows it where its outside meets the region.
    """
    return Image.composite(source.convert("RGB"), edited.convert("RGB"), Image.fromarray(region))


def mse_outside(source: Image.Image, edited: Image.Image, region: Region) -> float:
    """Mean squared difference over channels and the pixels outside, of RGB in [0, 1]; in [0, 1]."""
    squared = (unit_pixels(source) - unit_pixels(edited)) ** 2
    return float(squared[~region].mean())


def psnr_outside(source: Image.Image, edited: Image.Image, region: Region) -> float:
    """Peak signal-to-noise ratio of the pixels outside, in dB with a peak of 1.

    Raises:
        MetricUndefined: they are equal.
    """
    error = mse_outside(source, edited, region)
    if error == 0:
        raise MetricUndefined("outside the mask the images are equal, so the ratio is infinite")
    return float(-10 * np.log10(error))


def ssim_outside(source: Image.Image, edited: Image.Image, region: Region) -> float:
    """Mean over channels and the pixels outside of the SSIM map (Wang et al., IEEE TIP 2004), in [-1, 1]."""
    images = (unit_pixels(source), unit_pixels(restored(source, edited, region)))
    first, second = (torch.from_numpy(image).permute(2, 0, 1)[None] for image in images)
    _, similarity = structural_similarity_index_measure(first, second, data_range=1.0, return_full_image=True)
    assert isinstance(similarity, Tensor)
    return float(similarity[0].mean(dim=0)[torch.from_numpy(~region)].mean())


@torch.inference_mode()
def lpips_outside(network: lpips.LPIPS, source: Image.Image, edited: Image.Image, region: Region) -> float:
    """Mean over the pixels outside of the map of LPIPS distances, 0 if they are equal."""
    # A shallow copy shares the weights; the switch is the package's own.
    spatial = copy.copy(network)
    spatial.spatial = True
    device = next(network.parameters()).device
    pair = (signed(image).to(device) for image in (source, restored(source, edited, region)))
    distances: Tensor = spatial(*pair)[0, 0].cpu().double()
    return float(distances[torch.from_numpy(~region)].mean())


def square_around(region: Region, margin: float = MARGIN) -> tuple[int, int, int, int]:
    """A square around a region's box, wider by ``margin`` on each side and kept inside the picture.

    Returns:
        Left, upper, right and lower, as PIL crops; where the picture is too narrow for it, its shorter side decides.
    """
    height, width = region.shape
    ys, xs = np.nonzero(region)
    x1, y1, x2, y2 = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
    side = min(width, height, float(max(x2 - x1, y2 - y1)) * (1 + 2 * margin))
    left = min(max(float(x1 + x2 - side) / 2, 0), width - side)
    top = min(max(float(y1 + y2 - side) / 2, 0), height - side)
    return round(left), round(top), round(left + side), round(top + side)


class RegionMetric(Metric):
    """A number of the part of an image that the true mask tells from the rest."""

    def applies(self, sample: Sample) -> bool:
        """Only where the true mask is known."""
        return sample.truth.mask is not None


class OutsideMetric(RegionMetric):
    """Compares input and edited image where nothing should have changed."""

    fills: ClassVar[bool] = False
    """Whether a value looks beyond its own pixel, so that the region is filled from the input first."""

    @abstractmethod
    def compare(self, source: Image.Image, edited: Image.Image, region: Region) -> float:
        """Compare what lies outside the region; in the metric's unit."""

    def region_card(self) -> Card:
        """The part of a card that the metrics outside share."""
        inside = "filled from the input before the map is made" if self.fills else "not read"
        averaged = "pixels outside, none set to zero"
        return {"region": {"truth": f"PNG, >= {THRESHOLD}", "averaged over": averaged, "inside": inside}}

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Compare the edited image with the input outside the true mask."""
        require_same_size(source, result.image)
        return Score(self.compare(source, result.image, true_region(sample, source.size)))


class MseOutside(OutsideMetric):
    """Squared error outside."""

    name = "mse_outside"
    unit = "1e-4"
    bounds = (0.0, 1e4)
    higher_is_better = False

    def details(self) -> Card:
        """The scale is PIE-Bench's."""
        return {"implementation": "own, float64", "pixels": "RGB in [0, 1]", "resize": "none"} | self.region_card()

    def compare(self, source: Image.Image, edited: Image.Image, region: Region) -> float:
        """Squared error of pixels in [0, 1], times 10,000."""
        return 1e4 * mse_outside(source, edited, region)


class PsnrOutside(OutsideMetric):
    """Peak signal-to-noise ratio outside; has no value where nothing changed, as ``mse_outside`` then says by 0."""

    name = "psnr_outside"
    unit = "dB"
    bounds = (0.0, None)
    higher_is_better = True

    def details(self) -> Card:
        """Of each image; the mean of ratios is not the ratio of the mean."""
        own = {"implementation": "own, float64", "pixels": "RGB in [0, 1], peak 1", "resize": "none"}
        return own | {"equal images": "undefined"} | self.region_card()

    def compare(self, source: Image.Image, edited: Image.Image, region: Region) -> float:
        """The ratio in dB."""
        return psnr_outside(source, edited, region)


class SsimOutside(OutsideMetric):
    """Structural similarity outside."""

    name = "ssim_outside"
    unit = ""
    bounds = (-1.0, 1.0)
    higher_is_better = True
    fills = True

    def details(self) -> Card:
        """Names the window and the constants, in which implementations differ."""
        window = f"Gaussian {WINDOW} x {WINDOW}, sigma 1.5, reflected at the rim; k1 0.01, k2 0.03, data range 1"
        own = {"implementation": f"{package('torchmetrics')}, float64", "window": window, "resize": "none"}
        return own | {"pixels": "RGB in [0, 1], mean over channels"} | self.region_card()

    def compare(self, source: Image.Image, edited: Image.Image, region: Region) -> float:
        """The mean of the map."""
        if min(source.size) < WINDOW:
            raise MetricUndefined(f"the image is {source.size}, SSIM's window needs {WINDOW} pixels a side")
        return ssim_outside(source, edited, region)


class LpipsOutside(OutsideMetric):
    """Perceptual distance outside."""

    name = "lpips_outside"
    unit = ""
    bounds = (0.0, None)
    higher_is_better = False
    fills = True

    def __init__(self, whole: Lpips) -> None:
        """Share the network of the metric of the whole image."""
        self.whole = whole

    @classmethod
    def from_checkpoint(cls, context: Context, checkpoint: Checkpoint, calibration: str) -> "LpipsOutside":
        """The metric on the network that :meth:`Lpips.from_checkpoint` loads."""
        return cls(Lpips.from_checkpoint(context, checkpoint, calibration))

    def details(self) -> Card:
        """As of the whole image, but that each layer's distances are brought to the image's size before the mean."""
        return self.whole.details() | {"map": "spatial, bilinear to the image's size"} | self.region_card()

    def compare(self, source: Image.Image, edited: Image.Image, region: Region) -> float:
        """The mean of the map."""
        if min(source.size) < MINIMUM_SIDE:
            raise MetricUndefined(f"the image is {source.size}, AlexNet needs {MINIMUM_SIDE} pixels a side")
        return lpips_outside(self.whole.network, source, edited, region)


class ClipInside(RegionMetric):
    """Does the edited region show what the edited caption says?"""

    name = "clip_inside"
    unit = "100 cos"
    bounds = (-100.0, 100.0)
    higher_is_better = True

    def __init__(self, scorer: ClipScorer) -> None:
        """Score with a scorer that other metrics may share."""
        self.scorer = scorer

    @classmethod
    def from_checkpoint(cls, context: Context, checkpoint: Checkpoint) -> "ClipInside":
        """The metric on a CLIP checkpoint, see :func:`eval.metrics.clip.clip_scorer`."""
        return cls(clip_scorer(context, checkpoint))

    def details(self) -> Card:
        """Names the crop: PIE-Bench blackens what lies outside instead, which is no picture that CLIP was shown."""
        crop = f"square around the box, {MARGIN:.0%} wider on each side, kept inside the image, nothing set to zero"
        text = {"text": "edited caption, no prefix", "clamped": False}
        return self.scorer.card() | text | {"region": {"truth": f"PNG, >= {THRESHOLD}", "crop": crop}}

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """100 * cos(square of the edited image around the true mask, edited caption)."""
        if captions is None:
            raise MetricUndefined("there are no captions to score against")
        crop = result.image.crop(square_around(true_region(sample, result.image.size)))
        text = self.scorer.text(captions.edited)
        return Score(100 * cosine(self.scorer.image(crop), text.features), text.note)
