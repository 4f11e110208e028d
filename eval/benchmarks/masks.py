"""True masks that were published as something else than pictures of black and white."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from instructedit.images import mask_image, save_png


def kept(masks: Path | None, name: str, decode: Callable[[], Bool[np.ndarray, "h w"]]) -> Path | None:
    """A mask as a PNG, white where the edit belongs: decoded once, then read.

    Args:
        masks: The folder for it; None leaves the mask out.
        name: Decided by the published mask's content and by what decodes it.
        decode: Makes the mask, True where the edit belongs.
    """
    if masks is None:
        return None
    path = masks / f"{name}.png"
    if not path.is_file():
        save_png(mask_image(decode()), path)
    return path
