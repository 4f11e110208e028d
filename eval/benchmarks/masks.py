"""Ground-truth masks that were not published as black-and-white pictures, and the sizes of their pictures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import ExifTags, Image

from instructedit.images import FORMATS, is_whole_png, mask_image, save_png


def kept(masks: Path | None, name: str, decode: Callable[[], Bool[np.ndarray, "h w"]]) -> Path | None:
    """Return the path of a mask as a PNG, white inside; the mask is decoded unless the file is complete.

    Args:
        masks: The folder of the PNG; None omits the mask.
        name: Name of the file; it must identify the published mask's content and the decoder.
        decode: Decodes the mask, True inside.
    """
    if masks is None:
        return None
    path = masks / f"{name}.png"
    if not is_whole_png(path):
        save_png(mask_image(decode()), path)
    return path


def picture_size(path: Path) -> tuple[int, int] | None:
    """Return width and height of a picture as it is edited, which is upright; None if it cannot be read."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            # Only the header is read.
            turned = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
            return (image.height, image.width) if turned else image.size
    # For damaged files, Pillow's decoders raise many types; see instructedit.images.
    except Exception:
        return None
