"""Edit photos of any size: the method edits a smaller copy, and the result is enlarged to the photo's size."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageFilter

from instructedit.models import Context
from instructedit.parameters import check_flag, check_max_side
from instructedit.types import Box, ConfigError, EditRequest, EditResult, Failure, Method

MULTIPLE = 8
"""Both sides are multiples of this number of pixels, the size of a latent."""


class FullSize(Method):
    """Runs a method on pictures of limited size.

    Args:
        context: Passed to the method.
        method: Builds the method from the context.
        max_side: Longest side, in pixels, of the pictures that the method gets; both sides become multiples of 8. None
            leaves pictures unchanged.
        paste_back: Whether the edit takes the photo's pixels, at full resolution, outside the mask.

    Raises:
        ConfigError: A parameter is out of range.
    """

    def __init__(
        self, context: Context, method: Callable[..., Method], max_side: int | None = None, paste_back: bool = False
    ) -> None:
        check_max_side(max_side)
        check_flag(paste_back, "paste_back")
        self.method = method(context=context)
        self.max_side = None if getattr(self.method, "works_at_full_size", False) else max_side
        self.paste_back = paste_back
        # Classes that match the protocol without deriving from Method may lack the flags.
        self.needs_captions = bool(getattr(self.method, "needs_captions", False))
        self.takes_ratio = bool(getattr(self.method, "takes_ratio", False))
        self.takes_restart = bool(getattr(self.method, "takes_restart", False))

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | Failure]:
        """Edit a batch; images, masks and boxes are returned in each photo's pixels.

        Raises:
            ConfigError: ``paste_back`` is true, but the method has no masks.
        """
        outcomes = self.method.edit([self._fitted(r) for r in requests])
        # The caller checks that the number of results is right.
        return [self._restored(outcome, request.image) for outcome, request in zip(outcomes, requests, strict=False)]

    def _fitted(self, request: EditRequest) -> EditRequest:
        restart = request.restart
        if restart is not None:
            restart = replace(restart, image=fitted(restart.image, self.max_side))
        return replace(request, image=fitted(request.image, self.max_side), restart=restart)

    def _restored(self, outcome: EditResult | Failure, photo: Image.Image) -> EditResult | Failure:
        width, height = size = fitted_size(photo.size, self.max_side)
        x, y = photo.width / width, photo.height / height
        decisions = replace(outcome.decisions, boxes=tuple(_scaled(box, x, y) for box in outcome.decisions.boxes))
        if isinstance(outcome, Failure):
            return replace(outcome, decisions=decisions)
        image, mask = outcome.image, outcome.mask
        if size != photo.size:
            image = image.resize(photo.size, Image.Resampling.LANCZOS)
            mask = None if mask is None else _enlarged(_grey(mask), photo.size) >= 128
        if self.paste_back:
            if outcome.mask is None:
                raise ConfigError("paste_back=true: this method has no mask to paste by; accepted is false")
            image = pasted(photo, image, outcome.mask)
        return replace(outcome, image=image, mask=mask, decisions=decisions)


def fitted_size(size: tuple[int, int], max_side: int | None) -> tuple[int, int]:
    """Return the size (width, height) at which a picture is edited.

    Its longest side is at most ``max_side``, and both sides are rounded to the nearest multiples of 8. Smaller pictures
    are not enlarged beyond this rounding.
    """
    if max_side is None:
        return size
    scale = min(1.0, max_side / max(size))
    width, height = (
        min(max(round(side * scale / MULTIPLE), 1), max_side // MULTIPLE) * MULTIPLE for side in size
    )  # fmt: skip
    return width, height


def fitted(image: Image.Image, max_side: int | None) -> Image.Image:
    """Resize a picture to its :func:`fitted_size`."""
    size = fitted_size(image.size, max_side)
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)


def pasted(photo: Image.Image, edited: Image.Image, mask: Bool[np.ndarray, "h w"]) -> Image.Image:
    """Composite the edit inside the mask with the photo outside it; outside, the photo's pixels are unchanged.

    The edge is soft on the inside only: the mask's outermost pixels have weight one half, and a mask smaller than the
    photo is interpolated.

    Args:
        photo: RGB.
        edited: RGB, of the photo's size.
        mask: True inside, at the size at which the method worked.

    Returns:
        RGB, of the photo's size.
    """
    hard = _grey(mask)
    soft = _enlarged(Image.blend(hard, hard.filter(ImageFilter.MinFilter(3)), 0.5), photo.size)
    inside = _enlarged(hard, photo.size) >= 128
    return Image.composite(edited, photo, Image.fromarray(np.where(inside, soft, 0).astype(np.uint8)))


def _grey(mask: Bool[np.ndarray, "h w"]) -> Image.Image:
    return Image.fromarray(np.where(mask, 255, 0).astype(np.uint8))


def _enlarged(grey: Image.Image, size: tuple[int, int]) -> UInt8[np.ndarray, "H W"]:
    # Nearest-neighbour interpolation would give the edge visible steps.
    return np.asarray(grey if grey.size == size else grey.resize(size, Image.Resampling.BILINEAR))


def _scaled(box: Box, x: float, y: float) -> Box:
    return box if x == y == 1 else replace(box, x1=box.x1 * x, y1=box.y1 * y, x2=box.x2 * x, y2=box.y2 * y)
