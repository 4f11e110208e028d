"""Auxiliary loss of image encoders: name what each cell of a picture shows.

The real checkpoints' encoders are pretrained (on CLIP for BLIP-2, on ImageNet for Grounding DINO's Swin). Picturebook's
are trained from scratch, and a few words or boxes give them little supervision.
"""

from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from data.picturebook.training.scenes import scene
from data.picturebook.world import COLOURS, SPRITES, mask

NAMES = (*SPRITES, *COLOURS)
_COVERED = 64
"""Minimum coverage of a cell, of 255, at which it shows an object."""


@cache
def _shown(split: str, index: int, side: int) -> np.ndarray:
    """Return for each cell which of ``NAMES`` it shows, as packed bits: ``(side * side, bytes)``."""
    drawn = scene(split, index)
    shows = np.zeros((side * side, len(NAMES)), dtype=bool)
    for k, thing in enumerate(drawn.things):
        for name, colour, part in [
            (thing.noun, thing.colour, None),
            (thing.mixed_with or thing.noun, None, None),
            *((p.noun, p.colour, p.noun) for p in thing.parts),
        ]:
            region = Image.fromarray(mask(drawn, k, part).astype(np.uint8) * 255)
            covered = np.asarray(region.resize((side, side), Image.Resampling.BOX)).ravel() > _COVERED
            for word in filter(None, (name, colour)):
                shows[covered, NAMES.index(word)] = True
    return np.packbits(shows, axis=1)


def naming_loss(head: nn.Linear, features: Float[Tensor, "n cells c"], split: str, indices: list[int]) -> Tensor:
    """Return the binary cross-entropy of the names that each cell of a square grid shows.

    Args:
        head: Maps a cell's features to logits of ``NAMES``.
        features: Features of each picture's cells, in row-major order.
        split: Split of the scenes.
        indices: Indices of the scenes.
    """
    side = round(features.shape[1] ** 0.5)
    packed = np.stack([_shown(split, i, side) for i in indices])
    shows = torch.from_numpy(np.unpackbits(packed, axis=-1, count=len(NAMES))).to(features)
    # Positives are rare, so they have a larger weight.
    return functional.binary_cross_entropy_with_logits(
        head(features), shows, pos_weight=features.new_full((len(NAMES),), 4.0)
    )
