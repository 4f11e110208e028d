"""Masks and boxes drawn on a picture, for people who judge or change them."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageDraw
from scipy.ndimage import binary_erosion

from instructedit.images import mask_image, overlay
from instructedit.types import Box

BOX_COLOUR = "#ffd400"


def with_mask(image: Image.Image, mask: Bool[np.ndarray, "h w"]) -> Image.Image:
    """Return a picture with a mask in red and a white rim.

    Args:
        image: RGB.
        mask: Of the picture's size.
    """
    marked = overlay(image, mask)
    # An outline, because red on a red thing cannot be seen.
    rim = mask & ~binary_erosion(mask, iterations=max(1, image.width // 256), border_value=1)
    marked.paste("white", mask=mask_image(rim))
    return marked


def with_boxes(image: Image.Image, boxes: Iterable[Box]) -> Image.Image:
    """Return a picture with boxes, whose corners are in its pixels."""
    marked = image.copy()
    draw, width = ImageDraw.Draw(marked), max(1, round(image.width / 128))
    for box in boxes:
        draw.rectangle((box.x1, box.y1, box.x2, box.y2), outline=BOX_COLOUR, width=width)
    return marked
