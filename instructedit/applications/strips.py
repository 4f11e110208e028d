"""Shared by applications: clips and scenes as *strips*, pictures with their frames or views below each other.

So runs, their store, metrics on pictures, masks and statistics apply to them as they are.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from PIL import Image
from torch import Tensor

from instructedit.cache import hash_image
from instructedit.types import EditResult, Tokens

Frames = UInt8[np.ndarray, "t h w 3"]
"""The pictures of a clip or a scene."""


def rolled(frames: Frames) -> Image.Image:
    """Return the strip of some pictures."""
    return Image.fromarray(np.ascontiguousarray(frames).reshape(-1, *frames.shape[2:]))


def unrolled(strip: Image.Image, frames: int) -> Any:
    """Return the pictures of a strip, uint8 of shape (frames, height, width, channels).

    Raises:
        ValueError: The height is not a multiple of the number of frames.
    """
    pixels = np.asarray(strip)
    if strip.height % frames:
        raise ValueError(f"a filmstrip of {strip.height} rows has no {frames} frames of one height")
    return pixels.reshape(frames, strip.height // frames, *pixels.shape[1:])


def hash_clip(frames: Frames) -> str:
    """Return the SHA-256 of some pictures and their size, in hex."""
    return hash_image(Image.fromarray(frames.reshape(-1, *frames.shape[2:]))) + f"-{len(frames)}"


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of two 8-bit pictures in dB; infinite if they are equal."""
    error = float(((a.astype(np.float64) - b) ** 2).mean()) / 255**2
    return math.inf if error == 0 else -10 * math.log10(error)


def region(edit: EditResult) -> Bool[np.ndarray, "h w"]:
    """Return the mask of an edit; for a method without masks, the whole picture."""
    if edit.mask is not None:
        return edit.mask
    return np.ones((edit.image.height, edit.image.width), bool)


def summed(edits: Sequence[EditResult]) -> EditResult:
    """Return the first edit with the costs of all: seconds, NFE, cached NFE and tokens."""
    return replace(
        edits[0],
        seconds=_total([edit.seconds for edit in edits]),
        evaluations=_total([edit.evaluations for edit in edits]),
        cached_evaluations=_total([edit.cached_evaluations for edit in edits]),
        tokens=Tokens.total(edit.tokens for edit in edits),
    )


def _total(costs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        stage: sum(cost.get(stage, 0) for cost in costs) for stage in dict.fromkeys(s for cost in costs for s in cost)
    }


def adam_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return Adam's moments as tensors, so that a killed fit can be continued."""
    moments = optimizer.state_dict()["state"]
    return {f"adam.{i}.{name}": torch.as_tensor(v) for i, values in moments.items() for name, v in values.items()}


def load_adam(optimizer: torch.optim.Optimizer, state: dict[str, Tensor]) -> None:
    """Give an optimiser the moments of :func:`adam_state`."""
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in state.items():
        kind, _, rest = key.partition(".")
        if kind == "adam":
            index, _, name = rest.partition(".")
            moments.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})
