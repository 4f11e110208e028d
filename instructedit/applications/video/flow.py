"""Optical flow between frames by OpenCV's DIS (Kroeger et al., ECCV 2016), chained to one reference frame, and warps.

A *map* holds a position (x, y) in pixels for each pixel of a picture; position (0, 0) is the centre of the upper left
pixel. A *flow* is a map minus the pixels' own positions.
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

Frames = UInt8[np.ndarray, "t h w 3"]
Flow = Float[np.ndarray, "h w 2"]
KEY_CANDIDATES = 5
"""Number of frames, evenly spaced, among which the reference frame is chosen."""
_KEY_SIDE = 128
_REACH = (3, 6, 12, 24, 48)
"""Distances, in pixels, from which an offset may be taken over."""
_ADVANTAGE = 0.01
"""By how much, of the range, another offset must reconstruct better."""
_LEAST_SIDE = 32
"""DIS needs some levels of its pyramid; smaller frames are enlarged before."""


def dis(source: UInt8[np.ndarray, "h w 3"], target: UInt8[np.ndarray, "h w 3"]) -> Flow:
    """Return the flow in pixels: ``target`` at x + flow(x) shows what ``source`` shows at x."""
    height, width = source.shape[:2]
    scale = max(1.0, _LEAST_SIDE / min(height, width))
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (source, target)]
    if scale > 1:
        greys = [cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) for grey in greys]
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    estimator.setFinestScale(0)
    found = estimator.calc(greys[0], greys[1], None)  # type: ignore[call-overload]
    if scale > 1:
        found = cv2.resize(found, (width, height), interpolation=cv2.INTER_AREA) / scale
    return np.asarray(found, dtype=np.float32)


def positions(height: int, width: int) -> Float[np.ndarray, "h w 2"]:
    """Return the map that leaves each pixel in its place."""
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    return np.stack([xs, ys], axis=-1)


def sample(image: np.ndarray, at: Float[np.ndarray, "h w 2"]) -> np.ndarray:
    """Return an image or flow at the positions of a map, bilinear; beyond the edges, the edge is continued."""
    x, y = (np.ascontiguousarray(at[..., i], dtype=np.float32) for i in (0, 1))
    taken: np.ndarray = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return taken


def neighbours(frames: Frames) -> tuple[list[Flow], list[Flow]]:
    """Return the flows from each frame to the next, and from each frame but the first to the one before."""
    pairs = list(zip(frames[:-1], frames[1:], strict=True))
    return [dis(a, b) for a, b in pairs], [dis(b, a) for a, b in pairs]


def chained(
    forward: list[Flow], backward: list[Flow], key: int, frames: Frames | None = None
) -> Float[np.ndarray, "t h w 2"]:
    """Return the flow from each frame to frame ``key``, chained over the frames between.

    Offsets are continued beyond the edges of a frame, so content that a panning camera uncovers gets a place outside of
    the reference frame.

    Args:
        forward: From each frame to the next.
        backward: From each frame but the first to the one before.
        key: Index of the reference frame.
        frames: The frames, to improve each link of the chain by :func:`improved`; None leaves it as it is.
    """
    count, (height, width) = len(forward) + 1, forward[0].shape[:2]
    own = positions(height, width)
    offsets = [np.zeros((height, width, 2), np.float32)] * count
    links = [(t, t + 1, forward[t]) for t in range(key - 1, -1, -1)]
    links += [(t, t - 1, backward[t - 1]) for t in range(key + 1, count)]
    for t, before, link in links:
        offset = link + sample(offsets[before], own + link)
        offsets[t] = offset if frames is None else improved(frames[t], frames[key], offset)
    return np.stack(offsets)


def improved(frame: UInt8[np.ndarray, "h w 3"], key: UInt8[np.ndarray, "h w 3"], offset: Flow) -> Flow:
    """Return a flow to the reference frame in which surfaces that a thing uncovers have their neighbours' offsets.

    A chain loses a surface that is hidden in a frame between. Where the flow reconstructs a pixel's surroundings badly,
    the offset of a pixel at one of :data:`_REACH` is taken if it does so better, as PatchMatch propagates (Barnes et
    al., SIGGRAPH 2009), or that of the direct flow.
    """
    own = positions(*frame.shape[:2])
    candidates = [offset, dis(frame, key)]
    angles = np.arange(8) * np.pi / 4
    shifts = [(r * np.cos(a), r * np.sin(a)) for r in _REACH for a in angles]
    candidates += [sample(offset, own + np.array(shift, np.float32)) for shift in shifts]
    best, least = offset, None
    for candidate in candidates:
        difference = np.abs(sample(key, own + candidate).astype(np.float32) - frame).mean(-1) / 255
        cost = cv2.blur(np.minimum(difference, 0.2), (5, 5))
        if least is None:
            least = cost
            continue
        is_better = cost + _ADVANTAGE < least
        best, least = np.where(is_better[..., None], candidate, best), np.where(is_better, cost + _ADVANTAGE, least)
    return np.stack([cv2.medianBlur(np.ascontiguousarray(best[..., i]), 3) for i in (0, 1)], axis=-1)


def key_frame(frames: Frames) -> int:
    """Return the frame from which the others are reconstructed best, of a few candidates.

    That is one in which no thing hides another, as far as there is one. Frames are compared at a reduced size. A pixel
    whose place lies outside of the candidate counts as a difference of a tenth of the range.
    """
    scale = min(1.0, _KEY_SIDE / max(frames.shape[1:3]))
    if scale < 1:
        frames = np.stack([cv2.resize(f, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for f in frames])
    forward, backward = neighbours(frames)
    height, width = frames.shape[1:3]
    candidates = np.unique(np.linspace(0, len(frames) - 1, KEY_CANDIDATES).round().astype(int))

    def error(key: int) -> float:
        at = positions(height, width) + chained(forward, backward, key, frames)
        is_outside = (at < 0).any(-1) | (at > (width - 1, height - 1)).any(-1)
        total = 0.0
        for frame, place, outside in zip(frames, at, is_outside, strict=True):
            squared = ((sample(frames[key], place).astype(np.float32) - frame) / 255) ** 2
            total += float(np.where(outside, 0.01, squared.mean(-1)).mean())
        return total

    return int(min(candidates, key=lambda key: error(int(key))))


def inverted(flow: Flow, steps: int = 20) -> Flow:
    """Return the inverse of a smooth flow: warping with one, then with the other, leaves each pixel in its place.

    The fixed-point iteration of Chen et al. (Medical Physics 2008): g(x) = -f(x + g(x)).
    """
    own, inverse = positions(*flow.shape[:2]), np.zeros_like(flow)
    for _ in range(steps):
        inverse = -sample(flow, own + inverse)
    return inverse
