"""Metrics of scenes whose views are a strip: held-out views against the reference edit, and view-to-view consistency.

A field is trained on some views; the others are held out (``scenes/<id>/transforms.json`` says which). An edit is a
strip of the edited field's renders. The region inside is the ground-truth mask together with the pixels in which the
reference edit differs from the input, so that the new object's outline counts as inside.
"""

from collections.abc import Callable

import lpips
import numpy as np
from jaxtyping import Bool
from PIL import Image

from eval.metrics.base import Card, Metric, MetricUndefined, Score, package, read_truth, require_same_size
from eval.metrics.clip import SMALLEST_DIFFERENCE, ClipScorer, check_resize, clip_scorer, cosine
from eval.metrics.lpips import Lpips
from eval.metrics.mask_iou import THRESHOLD, MaskIoU, mask_iou
from eval.metrics.region import lpips_outside, psnr_outside, ssim_outside, true_region
from instructedit.applications.nerf.scenes import TRANSFORMS, Scene, read_strip
from instructedit.applications.strips import unrolled
from instructedit.checks import require_one_of
from instructedit.models import Checkpoint, Context
from instructedit.types import Captions, ConfigError, EditResult, Sample

INSIDE, OUTSIDE = REGIONS = ("inside", "outside")
_REGION = "the ground-truth mask and where the reference edit differs from the input"


def posed(sample: Sample, strip: Image.Image) -> Scene:
    """Return a sample's scene, with a strip as its views; the poses lie beside the images.

    Raises:
        MetricUndefined: The poses cannot be read, or the strip has another number of views.
    """
    try:
        return read_strip(sample.image.parent.parent / "scenes" / sample.id / TRANSFORMS, strip.convert("RGB"))
    except (ConfigError, ValueError) as error:
        raise MetricUndefined(f"the views cannot be told apart: {error}") from None


class SceneMetric(Metric):
    """Base of metrics that need the reference edit of a scene."""

    def applies(self, sample: Sample) -> bool:
        """Return whether the sample has a mask and a reference edit."""
        return sample.truth.mask is not None and sample.truth.edited is not None


class HeldOut(SceneMetric):
    """A comparison of held-out views with the reference edit, inside or outside the edited region.

    Args:
        compare: Compares two pictures outside of a region.
        region: ``inside`` or ``outside``.
    """

    measure = ""

    def __init__(self, compare: Callable[[Image.Image, Image.Image, np.ndarray], float], region: str) -> None:
        require_one_of("region", region, REGIONS)
        self.compare, self.region = compare, region
        # The name is the instance's: one class measures both regions.
        self.name = f"reference_{self.measure}_{region}"  # type: ignore[misc]

    def details(self) -> Card:
        """See :class:`Metric`."""
        card: Card = {"compares": "held-out views of the edited field with the reference edit", "resize": "none"}
        return card | {"region": f"{self.region}: {_REGION}", "averaged over": "held-out views that have the region"}

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Return the mean over the held-out views in which the region is neither empty nor full."""
        assert sample.truth.edited is not None
        require_same_size(source, result.image)
        truth = read_truth(sample.truth.edited)
        require_same_size(truth, result.image)
        scene = posed(sample, result.image)
        count = len(scene.names)
        masks = unrolled(Image.fromarray(true_region(sample, source.size)), count)
        before, after = unrolled(source.convert("RGB"), count), unrolled(truth, count)
        inside = masks | (before != after).any(-1)
        values = []
        for view in scene.held_out:
            excluded: Bool[np.ndarray, "h w"] = inside[view] if self.region == OUTSIDE else ~inside[view]
            if excluded.all() or not excluded.any():
                continue
            pair = Image.fromarray(after[view]), Image.fromarray(scene.pictures[view])
            values.append(self.compare(*pair, excluded))
        if not values:
            raise MetricUndefined(f"no held-out view has anything {self.region} the region")
        return Score(float(np.mean(values)))


class HeldOutPsnr(HeldOut):
    """PSNR against the reference edit; undefined if a view equals it there."""

    measure = "psnr"
    unit = "dB"
    bounds = (0.0, None)
    higher_is_better = True

    def __init__(self, region: str) -> None:
        super().__init__(psnr_outside, region)

    def details(self) -> Card:
        """See :class:`Metric`."""
        return {"implementation": "own, float64", "pixels": "RGB in [0, 1], peak 1"} | super().details()


class HeldOutSsim(HeldOut):
    """Mean SSIM against the reference edit; the other region is replaced by the reference edit before."""

    measure = "ssim"
    unit = ""
    bounds = (-1.0, 1.0)
    higher_is_better = True

    def __init__(self, region: str) -> None:
        super().__init__(ssim_outside, region)

    def details(self) -> Card:
        """See :class:`Metric`."""
        return {"implementation": f"{package('torchmetrics')}, float64", "window": "11 x 11"} | super().details()


class HeldOutLpips(HeldOut):
    """Mean spatial LPIPS against the reference edit; the other region is replaced by the reference edit before."""

    measure = "lpips"
    unit = ""
    bounds = (0.0, None)
    higher_is_better = False

    def __init__(self, whole: Lpips, region: str) -> None:
        network: lpips.LPIPS = whole.network
        super().__init__(lambda truth, edited, excluded: lpips_outside(network, truth, edited, excluded), region)
        self.whole = whole

    @classmethod
    def from_checkpoint(cls, context: Context, checkpoint: Checkpoint, calibration: str, region: str) -> "HeldOutLpips":
        """Return the metric with the network of :meth:`Lpips.from_checkpoint`."""
        return cls(Lpips.from_checkpoint(context, checkpoint, calibration), region)

    def details(self) -> Card:
        """See :class:`Metric`."""
        return self.whole.details() | {"map": "spatial, bilinear to the image's size"} | super().details()


class TrainingMaskIoU(MaskIoU):
    """IoU of the masks of the latest edits with the ground-truth masks, over the training views together."""

    def details(self) -> Card:
        """See :class:`Metric`."""
        return super().details() | {"views": "training views together; a view that is not edited has an empty mask"}

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Compare the masks."""
        if result.mask is None:
            raise MetricUndefined("the method has no mask")
        assert sample.truth.mask is not None
        scene = posed(sample, source)
        truth = np.asarray(read_truth(sample.truth.mask).convert("L")) >= THRESHOLD
        if truth.shape != result.mask.shape:
            raise MetricUndefined(f"the mask is {result.mask.shape}, the ground truth {truth.shape} (height, width)")
        train, count = list(scene.train), len(scene.names)
        masks, truths = (v.reshape(count, -1)[train] for v in (result.mask, truth))
        unedited = int((~masks.any(axis=1)).sum())
        return Score(mask_iou(masks, truths), f"{unedited} training views are not edited" if unedited else "")


class DirectionConsistency(Metric):
    """CLIP direction consistency (Instruct-NeRF2NeRF, §4): whether neighbouring views change in the same direction.

    The cosine of C(e_i) - C(o_i) and C(e_i+1) - C(o_i+1), where C are CLIP's features, e the edited and o the original
    views, and i and i+1 neighbours on the camera's path.
    """

    name = "clip_direction_consistency"
    unit = "cos"
    bounds = (-1.0, 1.0)
    higher_is_better = True

    def __init__(self, scorer: ClipScorer, frames: int, resize: str) -> None:
        self.scorer, self.frames, self.resize = scorer, frames, check_resize(resize)

    @classmethod
    def from_checkpoint(
        cls, context: Context, checkpoint: Checkpoint, frames: int, resize: str = "squeeze"
    ) -> "DirectionConsistency":
        """Return the metric with a CLIP checkpoint."""
        return cls(clip_scorer(context, checkpoint), frames, resize)

    def details(self) -> Card:
        """See :class:`Metric`."""
        return self.scorer.card(self.resize) | {"frames": self.frames, "originals": "the input's views, not renders"}

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Return the mean cosine over neighbouring views."""
        require_same_size(source, result.image)
        try:
            pairs = [unrolled(image.convert("RGB"), self.frames) for image in (source, result.image)]
        except ValueError as error:
            raise MetricUndefined(str(error)) from None
        before, after = ([self.scorer.image(Image.fromarray(v), self.resize) for v in views] for views in pairs)
        changes = [b - a for a, b in zip(before, after, strict=True)]
        if any(float(change.norm()) < SMALLEST_DIFFERENCE for change in changes):
            raise MetricUndefined("a view is the same to CLIP as before the edit, so its change has no direction")
        return Score(float(np.mean([cosine(a, b) for a, b in zip(changes, changes[1:], strict=False)])))
