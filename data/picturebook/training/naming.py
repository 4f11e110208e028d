"""What each cell of a picture shows: a second loss that teaches image encoders names while they learn their task.

The real checkpoints' encoders know images before they are put to their task (CLIP's for BLIP-2, ImageNet's for
Grounding DINO's Swin). These begin from nothing, and a few words or boxes say little about what an encoder missed.
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
"""Of 255: how much of a cell something must fill to be seen there."""


@cache
def _shown(split: str, index: int, side: int) -> np.ndarray:
    """Bits over ``NAMES``, packed: ``(side * side, bytes)``."""
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
    """Binary cross-entropy of naming what each cell of a square grid shows.

    Args:
        head: From a cell's features to ``NAMES``.
        features: Of each picture's cells, row by row.
        split: Of the scenes.
        indices: The pictures.
    """
    side = round(features.shape[1] ** 0.5)
    packed = np.stack([_shown(split, i, side) for i in indices])
    shows = torch.from_numpy(np.unpackbits(packed, axis=-1, count=len(NAMES))).to(features)
    # Few cells show any one thing, so what is there weighs more than what is not.
    return functional.binary_cross_entropy_with_logits(
        head(features), shows, pos_weight=features.new_full((len(NAMES),), 4.0)
    )
