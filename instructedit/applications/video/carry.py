"""Carry an edit of one image to the frames of a clip: through a deformation field, or along the optical flow."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from instructedit.applications.video.flow import Frames, sample

VISIBLE = 0.12
"""Mean difference of a pixel's surroundings, of the range, up to which a frame shows what the warped image shows."""
SMOOTHED = 5
"""Side in pixels of the median that smooths the visible region."""


@dataclass(frozen=True)
class Carried:
    """One frame with the edit."""

    image: UInt8[np.ndarray, "h w 3"]
    mask: Bool[np.ndarray, "h w"]
    """Where the edit is; outside, the frame's own pixels stay, bit for bit."""


def carry(
    frame: UInt8[np.ndarray, "h w 3"],
    at: Float[np.ndarray, "h w 2"],
    before: UInt8[np.ndarray, "H W 3"],
    edited: UInt8[np.ndarray, "H W 3"],
    mask: Bool[np.ndarray, "H W"],
) -> Carried:
    """Return a frame with the edit of an image that shows the same surfaces.

    A pixel takes the edit where its place is inside the mask and the unedited image has there what the frame has: where
    something else hides the surface, or the field has no place for what the frame shows, the frame's pixel stays. The
    outermost pixels of the mask are mixed with the frame's by their share.

    Args:
        frame: The clip's frame.
        at: The place of each pixel on the image, in pixels.
        before: The image before the edit.
        edited: The image after the edit.
        mask: Where the edit is.
    """
    share = sample(mask.astype(np.float32), at)
    share[_leaves(at, mask.shape)] = 0
    difference = np.abs(sample(before, at).astype(np.float32) - frame).mean(-1) / 255
    # A median of a binary picture is its majority: it removes specks and smooths the border.
    visible = cv2.medianBlur((cv2.blur(difference, (5, 5)) <= VISIBLE).astype(np.uint8), SMOOTHED)
    inside = (share >= 0.5) & (visible > 0)
    weight = np.where(inside, share, 0)[..., None]
    mixed = weight * sample(edited, at).astype(np.float32) + (1 - weight) * frame
    return Carried(np.where(inside[..., None], mixed.round().clip(0, 255), frame).astype(np.uint8), inside)


def along_flow(
    frames: Frames,
    first: UInt8[np.ndarray, "h w 3"],
    mask: Bool[np.ndarray, "h w"],
    flow: Callable[[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w 3"]], Float[np.ndarray, "h w 2"]],
) -> Iterator[Carried]:
    """Yield the frames with the first frame's edit, propagated from frame to frame: a baseline.

    Args:
        frames: The clip.
        first: The edit of the first frame.
        mask: Where the edit is.
        flow: Returns the flow from its first to its second argument.
    """
    own = np.stack(np.meshgrid(*map(np.arange, frames.shape[2:0:-1])), axis=-1).astype(np.float32)
    carried = Carried(np.where(mask[..., None], first, frames[0]), mask)
    yield carried
    for before, frame in zip(frames[:-1], frames[1:], strict=True):
        at = own + flow(frame, before)
        carried = carry(frame, at, before, carried.image, carried.mask)
        yield carried


def _leaves(at: Float[np.ndarray, "h w 2"], shape: tuple[int, ...]) -> Bool[np.ndarray, "h w"]:
    height, width = shape
    outside: Bool[np.ndarray, "h w"] = (at < -0.5).any(-1) | (at[..., 0] > width - 0.5) | (at[..., 1] > height - 0.5)
    return outside
