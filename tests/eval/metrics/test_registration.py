"""Registration finds known displacements, agrees with scikit-image, and makes outside metrics comparable again."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data
from skimage.registration import phase_cross_correlation

from eval.metrics.base import MetricUndefined
from eval.metrics.region import MseOutside, PsnrOutside, SsimOutside
from eval.metrics.registration import Alignment, MseRegistered, PsnrRegistered, Shift, SsimRegistered, align
from instructedit.types import EditResult, Sample, Truth

PHOTO = Image.fromarray(data.astronaut()).resize((256, 256), Image.Resampling.LANCZOS)
REGION = np.zeros((256, 256), bool)
REGION[60:130, 90:170] = True


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    Image.fromarray(REGION).save(tmp_path / "mask.png")
    return Sample("s", tmp_path / "s.png", "x", truth=Truth(mask=tmp_path / "mask.png"))


def displaced(zoom: float, right: float, down: float, photo: Image.Image = PHOTO) -> Image.Image:
    """Move the content of a picture, magnified around its corner."""
    matrix = np.array([[zoom, 0, right], [0, zoom, down]], float)
    return Image.fromarray(
        cv2.warpAffine(np.asarray(photo), matrix, photo.size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    )


def edited(image: Image.Image, colour: tuple[int, int, int] = (20, 200, 60)) -> Image.Image:
    """Paint what was to be edited."""
    out = image.copy()
    out.paste(colour, (90, 60, 170, 130))
    return out


@pytest.mark.parametrize(
    ("zoom", "right", "down"),
    [(1, 0, 0), (1, 3, -2), (1, -11.5, 6.25), (1.02, 0, 0), (0.98, 4, 1), (1.04, -6, -3)],
)
def test_a_known_displacement_is_found_beside_an_edit(zoom: float, right: float, down: float) -> None:
    found = align(PHOTO, edited(displaced(zoom, right, down)), REGION)
    expected = np.array([[zoom, 0, right], [0, zoom, down]])
    assert np.abs(found.matrix - expected)[:, :2].max() < 0.002
    assert np.abs(found.matrix - expected)[:, 2].max() < 0.25
    assert found.zoom == pytest.approx(zoom, abs=0.002)
    assert found.correlation > 0.98


def test_a_translation_is_that_of_scikit_image() -> None:
    moved = displaced(1, 5.5, -3.25)
    greys = [np.asarray(p.convert("L"), float) * np.outer(np.hanning(256), np.hanning(256)) for p in (PHOTO, moved)]
    shift, _, _ = phase_cross_correlation(greys[1], greys[0], upsample_factor=50)
    found = align(PHOTO, moved).matrix[:, 2]
    assert np.abs(found - shift[::-1]).max() < 0.25


def test_a_large_picture_is_registered_at_a_smaller_size() -> None:
    large = Image.fromarray(data.astronaut()).resize((1000, 800), Image.Resampling.LANCZOS)
    found = align(large, displaced(1.01, 12, -9, large))
    assert np.abs(found.matrix - np.array([[1.01, 0, 12], [0, 1.01, -9]]))[:, 2].max() < 0.5


def test_an_unrelated_picture_has_no_registration() -> None:
    other = Image.fromarray(data.coffee()).resize((256, 256)).rotate(90)
    with pytest.raises(MetricUndefined):
        align(PHOTO, other, REGION)
    with pytest.raises(MetricUndefined):
        align(PHOTO, Image.new("RGB", PHOTO.size, "grey"), REGION)


def test_the_shift_is_zero_for_an_aligned_edit_and_known_for_a_displaced_one(sample: Sample) -> None:
    same = Shift().score(sample, PHOTO, EditResult("s", edited(PHOTO)), None)
    assert same.value < 0.05
    moved = Shift().score(sample, PHOTO, EditResult("s", edited(displaced(1, 3, 4))), None)
    assert moved.value == pytest.approx(5, abs=0.1)
    assert moved.note.startswith("right +3.0")
    assert "zoom 1.00" in moved.note or "zoom 0.99" in moved.note
    unmasked = Shift().score(Sample("s", Path("s.png"), "x"), PHOTO, EditResult("s", displaced(1, 3, 4)), None)
    assert unmasked.value == pytest.approx(5, abs=0.1)


def test_without_a_displacement_registered_metrics_are_the_plain_ones(sample: Sample) -> None:
    rng = np.random.default_rng(0)
    noisy = np.clip(np.asarray(PHOTO, int) + rng.integers(-12, 13, (256, 256, 3)), 0, 255).astype(np.uint8)
    result = EditResult("s", edited(Image.fromarray(noisy)))
    pairs = ((MseOutside(), MseRegistered()), (PsnrOutside(), PsnrRegistered()), (SsimOutside(), SsimRegistered()))
    for plain, registered in pairs:
        assert registered.score(sample, PHOTO, result, None) == plain.score(sample, PHOTO, result, None)
        assert registered.card_id != plain.card_id
        assert registered.name != plain.name


def test_registration_recovers_an_edit_that_was_shifted_and_zoomed(sample: Sample) -> None:
    result = EditResult("s", edited(displaced(1.015, -4, 2)))
    plain = PsnrOutside().score(sample, PHOTO, result, None).value
    registered = PsnrRegistered().score(sample, PHOTO, result, None).value
    assert plain < 20
    assert registered > plain + 10
    assert (
        MseRegistered().score(sample, PHOTO, result, None).value < MseOutside().score(sample, PHOTO, result, None).value
    )
    assert SsimRegistered().score(sample, PHOTO, result, None).value > 0.9


def test_pixels_that_left_the_picture_are_left_out() -> None:
    _, valid = Alignment(np.array([[1.0, 0, 10], [0, 1.0, 0]]), 1.0, (64, 32)).register(Image.new("RGB", (64, 32)))
    assert valid[:, :54].all()
    assert not valid[:, 54:].any()
