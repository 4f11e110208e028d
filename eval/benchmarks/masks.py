"""Ground-truth masks that were not published as black-and-white pictures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from instructedit.images import is_whole_png, mask_image, save_png


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
