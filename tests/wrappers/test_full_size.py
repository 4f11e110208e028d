"""Photos of any size: methods get a smaller copy, edits have the photo's size, and the outside is the photo's."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest
from PIL import Image

from instructedit.images import hash_image
from instructedit.models import Context
from instructedit.types import Box, ConfigError, Decisions, EditRequest, EditResult, Failure, Method
from instructedit.wrappers.full_size import FullSize, fitted, fitted_size, pasted


@dataclass
class Blacken(Method):
    """A third-party method that blackens the left half, returns its box, and records its requests."""

    context: Context
    masks: bool = True
    fails: bool = False
    asked: list[Image.Image] = field(default_factory=list)

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | Failure]:
        self.asked += [r.image for r in requests]
        return [self._one(r) for r in requests]

    def _one(self, request: EditRequest) -> EditResult | Failure:
        width, height = request.image.size
        decisions = Decisions(boxes=(Box(0, 0, width / 2, height, 0.5, "left"),))
        if self.fails:
            return Failure(request.id, "editor", "StageError", "no", decisions)
        mask = np.zeros((height, width), dtype=bool)
        mask[:, : width // 2] = True
        # The outside changes too, as with an autoencoder.
        pixels = np.where(mask[..., None], 0, np.asarray(request.image) // 2)
        return EditResult(request.id, Image.fromarray(pixels), mask if self.masks else None, decisions)


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(64, 256, (height, width, 3), dtype=np.uint8))


def full_size(max_side: Any = 512, paste_back: Any = False, **method: Any) -> FullSize:
    return FullSize(Context.create(None, "cpu"), partial(Blacken, **method), max_side, paste_back)


def one(method: FullSize, photo: Image.Image) -> Any:
    (outcome,) = method.edit([EditRequest("a", photo, "Blacken the left")])
    return outcome


@pytest.mark.parametrize(
    ("size", "max_side", "expected"),
    [
        ((4000, 3000), 512, (512, 384)),
        ((3000, 4000), 512, (384, 512)),
        ((800, 533), 512, (512, 344)),
        ((512, 512), 512, (512, 512)),
        ((128, 128), 512, (128, 128)),
        ((300, 201), 512, (304, 200)),
        ((511, 509), 512, (512, 512)),
        ((1000, 1000), 500, (496, 496)),
        ((499, 499), 500, (496, 496)),
        ((5000, 10), 512, (512, 8)),
        ((3, 3), 512, (8, 8)),
        ((301, 203), None, (301, 203)),
    ],
)
def test_the_longest_side_is_at_most_so_long_and_both_are_multiples_of_8(
    size: tuple[int, int], max_side: int | None, expected: tuple[int, int]
) -> None:
    assert fitted_size(size, max_side) == expected
    assert fitted(noise(*size), max_side).size == expected


def test_a_picture_of_fitting_size_is_the_same_object_and_so_is_its_edit() -> None:
    photo = noise(128, 96)
    method = full_size()
    outcome = one(method, photo)
    plain = Blacken(Context.create(None, "cpu")).edit([EditRequest("a", photo, "x")])[0]
    assert isinstance(plain, EditResult)
    assert method.method.asked == [photo]  # type: ignore[attr-defined]
    assert method.method.asked[0] is photo  # type: ignore[attr-defined]
    assert hash_image(outcome.image) == hash_image(plain.image)
    assert (outcome.mask == plain.mask).all()
    assert outcome.decisions == plain.decisions


def test_image_mask_and_boxes_come_back_in_the_photos_pixels() -> None:
    method = full_size(max_side=64)
    outcome = one(method, noise(640, 400))
    assert [image.size for image in method.method.asked] == [(64, 40)]  # type: ignore[attr-defined]
    assert outcome.image.size == (640, 400)
    assert outcome.mask.shape == (400, 640)
    assert outcome.mask.dtype == bool
    assert abs(outcome.mask.sum(axis=1) - 320).max() <= 1
    assert outcome.decisions.boxes == (Box(0, 0, 320, 400, 0.5, "left"),)
    failed = one(full_size(max_side=64, fails=True), noise(640, 400))
    assert isinstance(failed, Failure)
    assert failed.decisions.boxes[0].x2 == 320


@pytest.mark.parametrize("max_side", [64, 128, None])
def test_outside_of_the_mask_a_pasted_edit_is_the_photo_pixel_for_pixel(max_side: int | None) -> None:
    photo = noise(640, 400)
    outcome = one(full_size(max_side, paste_back=True), photo)
    before, after = np.asarray(photo), np.asarray(outcome.image)
    assert (after[~outcome.mask] == before[~outcome.mask]).all()
    edge = 640 // (max_side or 640) * 4  # beyond Lanczos' reach
    assert after[:, : 320 - edge].max() == 0  # the edit itself
    last = after[:, 319].astype(int).mean()
    assert 0 < last < before[:, 319].mean()
    unpasted = one(full_size(max_side), photo)
    assert (np.asarray(unpasted.image)[~outcome.mask] != before[~outcome.mask]).any()


def test_a_mask_one_pixel_wide_does_not_vanish() -> None:
    photo, edited = Image.new("RGB", (80, 80), "white"), Image.new("RGB", (80, 80), "black")
    mask = np.zeros((10, 10), dtype=bool)
    mask[:, 4] = True
    assert np.asarray(pasted(photo, edited, mask)).min() <= 136
    everything = pasted(photo, edited, np.ones((10, 10), dtype=bool))
    assert np.asarray(everything).max() == 0
    assert pasted(photo, edited, np.zeros((10, 10), dtype=bool)) == photo


def test_a_method_without_masks_cannot_paste() -> None:
    with pytest.raises(ConfigError, match="paste_back=true: this method has no mask"):
        one(full_size(paste_back=True, masks=False), noise(64, 64))
    assert one(full_size(masks=False), noise(640, 400)).mask is None


@pytest.mark.parametrize("max_side", [63, 0, -8, 512.0, "512", True])
def test_wrong_sides_are_named(max_side: Any) -> None:
    with pytest.raises(ConfigError, match=f"max_side={max_side}: accepted are whole numbers from 64 on, or null"):
        full_size(max_side)


def test_a_wrong_paste_back_is_named() -> None:
    with pytest.raises(ConfigError, match="paste_back=yes: accepted are true and false"):
        full_size(paste_back="yes")


def test_a_method_driven_by_captions_stays_one() -> None:
    assert not full_size().needs_captions
    driven = type("Driven", (Blacken,), {"needs_captions": True})
    assert FullSize(Context.create(None, "cpu"), driven).needs_captions
