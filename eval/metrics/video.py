"""Metrics of clips that are filmstrips: temporal consistency, reconstruction, and the paper's metrics over frames.

A filmstrip has a clip's frames below each other. The warp error (Lai et al., ECCV 2018) compares each frame with the
next one, warped back by the flow of the *unedited* clip: the ground-truth flow, if the benchmark has it
(``flow/<id>.png``), else OpenCV's DIS flow.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from eval.metrics.base import Card, Metric, MetricUndefined, Score, package, read_truth, require_same_size
from eval.metrics.clip import ClipScorer, check_resize, clip_scorer, cosine
from eval.metrics.region import true_region
from instructedit.applications.strips import unrolled
from instructedit.applications.video.flow import dis, positions
from instructedit.applications.video.flow import sample as warped
from instructedit.models import Checkpoint, Context
from instructedit.types import Captions, EditResult, Sample

FINE = 64
"""Steps of a stored flow in a pixel."""
ZERO = 2048
"""What stands for no motion in a stored flow; 0 stands for no flow."""
AGREES = 0.5
"""Largest distance in pixels between a DIS flow and its inverse at which it counts, plus a share of both lengths."""
SHARE = 0.01
INSIDE, OUTSIDE = "inside", "outside"
TRUE, DIS = "true", "dis"


def encoded_flow(flow: Float[np.ndarray, "t h w 2"]) -> UInt8[np.ndarray, "t h w 3"]:
    """Return a flow as 24 bits a pixel: 12 for x and 12 for y, in 1/64 pixel plus 2048; 0 where it is NaN.

    Raises:
        ValueError: A component is beyond ±31 pixels.
    """
    if np.nanmax(np.abs(flow)) > 31:
        raise ValueError("a flow of more than 31 pixels cannot be stored")
    whole = np.where(np.isnan(flow), 0, np.round(np.nan_to_num(flow) * FINE) + ZERO).astype(np.uint32)
    bits = whole[..., 0] << 12 | whole[..., 1]
    return np.stack([bits >> 16, bits >> 8 & 255, bits & 255], axis=-1).astype(np.uint8)


def decoded_flow(stored: UInt8[np.ndarray, "t h w 3"]) -> Float[np.ndarray, "t h w 2"]:
    """Return a flow in pixels from :func:`encoded_flow`, NaN where there is none."""
    red, green, blue = (stored[..., i].astype(np.uint32) for i in range(3))
    bits = red << 16 | green << 8 | blue
    flow = (np.stack([bits >> 12, bits & 4095], axis=-1).astype(np.float64) - ZERO) / FINE
    flow[bits == 0] = np.nan
    return flow


def dis_flow(frames: UInt8[np.ndarray, "t h w 3"]) -> Float[np.ndarray, "t h w 2"]:
    """Return the DIS flow from each frame to the next, NaN where the flow back does not lead to the same place."""
    found = []
    own = positions(*frames.shape[1:3])
    for first, second in zip(frames[:-1], frames[1:], strict=True):
        forward, backward = dis(first, second), dis(second, first)
        returned = warped(backward, own + forward)
        lengths = np.linalg.norm(forward, axis=-1) + np.linalg.norm(returned, axis=-1)
        is_off = np.linalg.norm(forward + returned, axis=-1) > AGREES + SHARE * lengths
        at = own + forward
        leaves = (at < 0).any(-1) | (at > (frames.shape[2] - 1, frames.shape[1] - 1)).any(-1)
        found.append(np.where((is_off | leaves)[..., None], np.nan, forward))
    return np.stack(found)


def warp_error(
    frames: UInt8[np.ndarray, "t h w 3"], flow: Float[np.ndarray, "t1 h w 2"], region: Bool[np.ndarray, "t h w"]
) -> float:
    """Return the mean squared difference of RGB in [0, 1] between each frame and the next one warped back.

    Args:
        frames: The edited clip.
        flow: From each frame to the next, NaN where it is unknown.
        region: The pixels that count, of each frame.

    Raises:
        MetricUndefined: No pixel counts.
    """
    total, count = 0.0, 0
    own = positions(*frames.shape[1:3])
    for t, offset in enumerate(flow):
        counts = region[t] & np.isfinite(offset).all(-1)
        at = (own + np.nan_to_num(offset)).astype(np.float32)
        after = warped(frames[t + 1].astype(np.float32), at)
        squared = (((frames[t].astype(np.float64) - after) / 255) ** 2).mean(-1)
        total, count = total + float(squared[counts].sum()), count + int(counts.sum())
    if not count:
        raise MetricUndefined("no pixel of the region has a flow")
    return total / count


class ClipMetric(Metric):
    """Base of metrics of filmstrips.

    Args:
        frames: Number of frames of a filmstrip.
    """

    def __init__(self, frames: int) -> None:
        self.frames = frames

    def unrolled(self, image: Image.Image) -> Any:
        """Return the frames of a filmstrip.

        Raises:
            MetricUndefined: It has no such number of frames.
        """
        try:
            return unrolled(image.convert("RGB"), self.frames)
        except ValueError as error:
            raise MetricUndefined(str(error)) from None

    def details(self) -> Card:
        """See :class:`Metric`."""
        return {"implementation": "own, float64", "frames": self.frames, "resize": "none"}


class WarpError(ClipMetric):
    """Warp error inside or outside the ground-truth mask, or in the whole frame where a sample has no mask."""

    unit = "1e-4"
    bounds = (0.0, 1e4)
    higher_is_better = False

    def __init__(self, frames: int, region: str, flow: str) -> None:
        super().__init__(frames)
        self.region, self.flow = region, flow
        # The name is the instance's: one class measures both regions under both flows.
        self.name = f"warp_error_{region}" + ("" if flow == TRUE else f"_{flow}")  # type: ignore[misc]

    def details(self) -> Card:
        """See :class:`Metric`."""
        estimated = f"{package('opencv-python-headless')} DIS, medium, where forward and backward agree"
        source = f"of the unedited clip, {'the true one' if self.flow == TRUE else estimated}"
        return super().details() | {"region": f"{self.region} the ground-truth mask", "flow": source}

    def applies(self, sample: Sample) -> bool:
        """Return whether the sample has a mask, and the ground-truth flow if that is asked for."""
        return sample.truth.mask is not None and (self.flow != TRUE or flow_file(sample).is_file())

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Return 10,000 times the mean squared difference."""
        require_same_size(source, result.image)
        inside = unrolled(Image.fromarray(true_region(sample, source.size)), self.frames)
        if self.flow == TRUE:
            flow = decoded_flow(unrolled(read_truth(flow_file(sample)), self.frames - 1))
        else:
            flow = dis_flow(self.unrolled(source))
        region = inside if self.region == INSIDE else ~inside
        return Score(1e4 * warp_error(self.unrolled(result.image), flow, region))


def flow_file(sample: Sample) -> Path:
    """Return the path of a sample's ground-truth flow, which may not exist: ``flow/<id>.png`` beside the masks."""
    assert sample.truth.mask is not None
    return sample.truth.mask.parent.parent / "flow" / f"{sample.truth.mask.stem}.png"


class Reconstruction(ClipMetric):
    """Mean PSNR of the unedited frames as the field reconstructs them; ``propagation=field`` alone has one."""

    name = "reconstruction_psnr"
    unit = "dB"
    bounds = (0.0, 100.0)
    higher_is_better = True

    def details(self) -> Card:
        """See :class:`Metric`."""
        return super().details() | {"exact frames": "count as 100 dB", "averaged over": "frames"}

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Return the mean, with the worst frame as a note."""
        values = result.decisions.reconstruction
        if values is None:
            raise MetricUndefined("the edit was made without a field")
        return Score(float(np.mean(values)), f"the worst frame has {min(values):.1f} dB")


class ReferencePsnr(ClipMetric):
    """Mean PSNR of the edited frames against the reference edit."""

    name = "reference_psnr"
    unit = "dB"
    bounds = (0.0, None)
    higher_is_better = True

    def applies(self, sample: Sample) -> bool:
        """Return whether the sample has a reference edit."""
        return sample.truth.edited is not None

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Return the mean over the frames."""
        assert sample.truth.edited is not None
        truth = read_truth(sample.truth.edited)
        require_same_size(truth, result.image)
        pairs = zip(self.unrolled(truth), self.unrolled(result.image), strict=True)
        errors = [float(((a.astype(np.float64) - b) ** 2).mean()) / 255**2 for a, b in pairs]
        if not all(errors):
            raise MetricUndefined("a frame equals the reference edit, so its ratio is infinite")
        return Score(float(np.mean([-10 * math.log10(error) for error in errors])))


class ClipConsistency(ClipMetric):
    """CLIP consistency: mean cosine of the CLIP features of neighbouring edited frames (Esser et al., Gen-1, 2023)."""

    name = "clip_consistency"
    unit = "100 cos"
    bounds = (-100.0, 100.0)
    higher_is_better = True

    def __init__(self, scorer: ClipScorer, frames: int, resize: str) -> None:
        super().__init__(frames)
        self.scorer, self.resize = scorer, check_resize(resize)

    @classmethod
    def from_checkpoint(
        cls, context: Context, checkpoint: Checkpoint, frames: int, resize: str = "crop"
    ) -> "ClipConsistency":
        """Return the metric with a CLIP checkpoint."""
        return cls(clip_scorer(context, checkpoint), frames, resize)

    def details(self) -> Card:
        """See :class:`Metric`."""
        return self.scorer.card(self.resize) | {"frames": self.frames}

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Return 100 times the mean cosine."""
        features = [self.scorer.image(Image.fromarray(f), self.resize) for f in self.unrolled(result.image)]
        return Score(100 * float(np.mean([cosine(a, b) for a, b in zip(features, features[1:], strict=False)])))


class OverFrames(ClipMetric):
    """A metric on pictures, averaged over the frames of a filmstrip.

    Args:
        metric: Builds the metric from the context.
        context: Passed to the metric.
        frames: Number of frames of a filmstrip.
    """

    def __init__(self, metric: Callable[..., Metric], context: Context, frames: int) -> None:
        super().__init__(frames)
        self.inner = metric(context=context)
        inner = self.inner
        self.name, self.unit, self.bounds = inner.name, inner.unit, inner.bounds  # type: ignore[misc]
        self.higher_is_better = inner.higher_is_better  # type: ignore[misc]

    def details(self) -> Card:
        """See :class:`Metric`."""
        return self.inner.details() | {"averaged over": f"the {self.frames} frames of a clip"}

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Return the mean over the frames for which the metric has a value."""
        require_same_size(source, result.image)
        values, reasons = [], []
        for before, after in zip(self.unrolled(source), self.unrolled(result.image), strict=True):
            frame = replace(result, image=Image.fromarray(after), mask=None)
            try:
                values.append(self.inner.score(sample, Image.fromarray(before), frame, captions).value)
            except MetricUndefined as error:
                reasons.append(str(error))
        if not values:
            raise MetricUndefined(reasons[0])
        note = f"{len(reasons)} of {self.frames} frames have no value: {reasons[0]}" if reasons else ""
        return Score(float(np.mean(values)), note)
