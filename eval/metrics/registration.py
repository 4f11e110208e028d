"""Registration of the edit to the input, and the metrics outside the mask after it.

Some models shift or zoom the whole picture (Qwen-Image-Edit-2509 does). Metrics outside the mask then compare pixels
that do not correspond. This module measures the displacement and gives the metrics on the registered edit, beside
those of :mod:`eval.metrics.region` on the edit as it is.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from eval.metrics.base import Card, Metric, MetricUndefined, Score, package, require_same_size
from eval.metrics.region import (
    LpipsOutside,
    MseOutside,
    OutsideMetric,
    PsnrOutside,
    Region,
    SsimOutside,
    true_region,
)
from instructedit.types import Captions, EditResult, Sample

SIDES = (128, 512)
"""Longest sides in pixels at which the transform is estimated, from coarse to fine."""
CRITERIA = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-6)
LEAST_CORRELATION = 0.5
"""Edits whose outside correlates less with the input's after registration are not registered: the scene is another."""
NEGLIGIBLE = 0.05
"""Mean displacements in pixels below this are not corrected, because resampling would change the pixels more."""


@dataclass(frozen=True)
class Alignment:
    """An affine transform from the input's pixel coordinates to the edit's."""

    matrix: Float[np.ndarray, "2 3"]
    correlation: float
    """Correlation coefficient of the input and the registered edit outside the mask."""
    size: tuple[int, int]
    """Width and height of the pictures."""

    @cached_property
    def displacement(self) -> Float[np.ndarray, "h w 2"]:
        """By how many pixels the edit's content is displaced from that of the input, to the right and down."""
        width, height = self.size
        y, x = np.mgrid[:height, :width]
        moved = np.stack([x, y, np.ones_like(x)], axis=-1) @ self.matrix.T
        return moved - np.stack([x, y], axis=-1)

    @property
    def zoom(self) -> float:
        """Magnification of the edit over the input; 1 for none."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix[:, :2]))))

    def register(self, edited: Image.Image) -> tuple[Image.Image, Bool[np.ndarray, "h w"]]:
        """Resample the edit so that it corresponds to the input.

        Returns:
            The registered edit, and where it has pixels of the edit.
        """
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        pixels = cv2.warpAffine(
            np.asarray(edited.convert("RGB")), self.matrix, self.size, flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        width, height = self.size
        y, x = np.mgrid[:height, :width]
        place = self.displacement + np.stack([x, y], axis=-1)
        valid = ((place >= 0) & (place <= np.array([width - 1, height - 1]))).all(axis=-1)
        return Image.fromarray(pixels), valid


def align(source: Image.Image, edited: Image.Image, region: Region | None = None) -> Alignment:
    """Estimate how an edit is displaced from its input.

    A translation by phase correlation (Kuglin and Hines 1975) initialises an affine transform, which maximises the
    enhanced correlation coefficient (Evangelidis and Psarakis, PAMI 2008) of the grey pictures, from coarse to fine.

    Args:
        source: The input.
        edited: The edit, of the same size.
        region: The pixels to ignore, because they were to be edited; True inside.

    Raises:
        MetricUndefined: No transform was found under which the pictures correlate.
    """
    size = source.size
    outside = np.ones(size[::-1], bool) if region is None else ~region
    total, correlation = np.eye(3), 0.0
    for step, side in enumerate(SIDES):
        scale = min(1.0, side / max(size))
        small = max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)
        greys = [np.asarray(p.convert("L").resize(small, Image.Resampling.BOX), np.float32) for p in (source, edited)]
        kept = cv2.resize(outside.astype(np.uint8), small, interpolation=cv2.INTER_NEAREST)
        to_full = _scaling(size, small)
        start = np.linalg.inv(to_full) @ total @ to_full
        if step == 0:
            window = cv2.createHanningWindow(small, cv2.CV_32F)
            filled = [np.where(kept, grey, grey[kept > 0].mean()).astype(np.float32) for grey in greys]
            (start[0, 2], start[1, 2]), _ = cv2.phaseCorrelate(filled[0], filled[1], window)
        try:
            correlation, found = cv2.findTransformECC(
                greys[0], greys[1], start[:2].astype(np.float32), cv2.MOTION_AFFINE, CRITERIA, kept, 5
            )
        except cv2.error as error:
            raise MetricUndefined("the edit could not be registered to the input: no correlation was found") from error
        total = to_full @ np.vstack([found, [0, 0, 1]]) @ np.linalg.inv(to_full)
    if not correlation >= LEAST_CORRELATION:
        raise MetricUndefined(f"the registered edit and the input correlate by {correlation:.2f} only")
    return Alignment(total[:2], float(correlation), size)


def _scaling(size: tuple[int, int], small: tuple[int, int]) -> Float[np.ndarray, "3 3"]:
    """Return the transform from pixel coordinates of a reduced picture to those of the picture."""
    x, y = size[0] / small[0], size[1] / small[1]
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def registration_card() -> Card:
    """Return the part of a card that describes the registration."""
    method = "phase correlation, then affine ECC on grey pictures outside the ground-truth mask"
    sides = f"longest sides {', '.join(map(str, SIDES))}"
    return {"registration": {"method": method, "implementation": package("opencv-python-headless"), "sizes": sides}}


class Shift(Metric):
    """Mean displacement of the edit's content from the input's, in pixels, outside the ground-truth mask, if any."""

    name = "shift"
    unit = "px"
    bounds = (0.0, None)
    higher_is_better = False

    def details(self) -> Card:
        """See :class:`Metric`."""
        return registration_card()

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Register the edit; the note has the mean displacement to the right and down, and the zoom."""
        require_same_size(source, result.image)
        region = None if sample.truth.mask is None else true_region(sample, source.size)
        found = align(source, result.image, region)
        moved = found.displacement if region is None else found.displacement[~region]
        moved = moved.reshape(-1, 2)
        right, down = moved.mean(axis=0)
        note = f"right {right:+.2f} px, down {down:+.2f} px, zoom {found.zoom:.4f}"
        return Score(float(np.linalg.norm(moved, axis=-1).mean()), note)


class RegisteredMetric(OutsideMetric):
    """Base of the metrics outside the mask after registration. Pixels that the edit lacks after it are left out."""

    def region_card(self) -> Card:
        """See :class:`OutsideMetric`."""
        return super().region_card() | registration_card() | {"not corrected below": f"{NEGLIGIBLE} px"}

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Compare the registered edit with the input outside the ground-truth mask."""
        require_same_size(source, result.image)
        region = true_region(sample, source.size)
        found = align(source, result.image, region)
        if np.linalg.norm(found.displacement[~region], axis=-1).mean() < NEGLIGIBLE:
            return Score(self.compare(source, result.image, region))
        edited, valid = found.register(result.image)
        return Score(self.compare(source, edited, region | ~valid))


class MseRegistered(RegisteredMetric, MseOutside):
    """Mean squared error outside the mask after registration."""

    name = "mse_registered"


class PsnrRegistered(RegisteredMetric, PsnrOutside):
    """Peak signal-to-noise ratio outside the mask after registration."""

    name = "psnr_registered"


class SsimRegistered(RegisteredMetric, SsimOutside):
    """Mean structural similarity outside the mask after registration."""

    name = "ssim_registered"


class LpipsRegistered(RegisteredMetric, LpipsOutside):
    """Mean spatial LPIPS outside the mask after registration."""

    name = "lpips_registered"
