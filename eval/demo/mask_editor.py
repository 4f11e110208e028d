"""The mask of a result, on which a person draws.

What the browser sends names the result to which it belongs, so a mask never reaches another result's picture.
"""

import base64
import binascii
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from jaxtyping import Bool
from PIL import Image

from instructedit.images import hash_image, mask_image
from instructedit.types import ConfigError

CANVAS = 512
"""Longest side of the picture on which a mask is drawn, in pixels."""
_RED = (226, 32, 24)
_TEMPLATES = Path(__file__).parent / "templates"
_PNG = "data:image/png;base64,"


@dataclass(frozen=True)
class Shown:
    """The result that the page shows; the server keeps it for each page."""

    key: str
    """A random text."""
    image: Image.Image
    """The picture that was edited, RGB."""
    mask: Bool[np.ndarray, "h w"] | None
    """The mask of the edit, of the picture's size; None if no method has one."""


def mask_editor() -> Any:
    """Return the component; its value is that of :func:`to_editor`, or None without a result."""
    files = {kind: (_TEMPLATES / f"mask_editor.{kind}").read_text() for kind in ("html", "css", "js")}
    return gr.HTML(
        None, html_template=files["html"], css_template=files["css"], js_on_load=files["js"], apply_default_css=False,
        elem_id="mask",
    )  # fmt: skip


def to_editor(shown: Shown) -> dict[str, Any]:
    """Return a result's picture and mask as the editor takes them."""
    size = _fitted(shown.image.size)
    layer = Image.new("RGBA", size)
    if shown.mask is not None:
        layer.paste(_RED, (0, 0), mask_image(shown.mask).resize(size, Image.Resampling.NEAREST))
    picture = shown.image.resize(size, Image.Resampling.LANCZOS)
    return {"result": shown.key, "picture": _url(picture), "mask": _url(layer), "is_drawn": False}


def from_editor(value: Any, shown: Shown | None, image: Image.Image) -> Bool[np.ndarray, "h w"]:
    """Return the mask of a result as a person has changed it.

    Args:
        value: What the browser sends.
        shown: The last result of the page.
        image: The picture that is to be edited.

    Returns:
        The mask, of the picture's size. It is the result's own, to the pixel, if nobody has changed it.

    Raises:
        ConfigError: There is no result, the mask or the picture is not that of the last result, or nothing is drawn.
    """
    if shown is None or not isinstance(value, dict):
        raise ConfigError("there is no mask yet; edit first, then change the mask")
    if value.get("result") != shown.key:
        raise ConfigError("this mask belongs to an earlier edit; the one of the last edit is shown now, try again")
    if hash_image(image) != hash_image(shown.image):
        raise ConfigError("the picture is another one than that of the mask; edit it first, then change its mask")
    mask = shown.mask if value.get("is_drawn") is False else _drawn(value.get("mask"), shown.image.size)
    if mask is None or not mask.any():
        raise ConfigError("the mask is empty; draw where the image is to change")
    return mask


def _drawn(url: Any, size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    try:
        with Image.open(
            io.BytesIO(base64.b64decode(str(url).removeprefix(_PNG), validate=True)), "r", ("PNG",)
        ) as file:
            if file.size != _fitted(size):
                raise ConfigError(f"the mask has {file.width}x{file.height} pixels, not those of the picture shown")
            alpha = file.convert("RGBA").getchannel("A")
    except (OSError, binascii.Error, ValueError):
        raise ConfigError("the mask cannot be read as a PNG picture; load the page again") from None
    return np.asarray(alpha.resize(size, Image.Resampling.BOX)) >= 128


def _fitted(size: tuple[int, int]) -> tuple[int, int]:
    scale = CANVAS / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _url(image: Image.Image) -> str:
    data = io.BytesIO()
    image.save(data, "PNG")
    return _PNG + base64.b64encode(data.getvalue()).decode()
