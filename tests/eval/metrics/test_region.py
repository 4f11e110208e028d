"""Region metrics: identity, worst case, known values, and independence of pixels in the other region."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from data.picturebook.training.clip import square
from data.picturebook.world import SIZE, box
from eval.metrics.base import MetricUndefined
from eval.metrics.clip import ClipScore
from eval.metrics.lpips import Lpips
from eval.metrics.region import (
    ClipInside,
    LpipsOutside,
    MseOutside,
    OutsideMetric,
    PsnrOutside,
    RegionMetric,
    SsimOutside,
    mse_outside,
    psnr_outside,
    square_around,
    ssim_outside,
)
from instructedit.types import Captions, Sample, Truth
from tests.eval import tiny_clip
from tests.eval.metrics.test_lpips import random_backbone
from tests.eval.pictures import SAMPLE, plain, result, textured

CAPTIONS = Captions("a cat", "a dog")


def region(size: int = 64, x1: int = 20, y1: int = 16, x2: int = 44, y2: int = 40) -> np.ndarray:
    mask = np.zeros((size, size), dtype=bool)
    mask[y1:y2, x1:x2] = True
    return mask


def with_mask(folder: Path, mask: np.ndarray) -> Sample:
    Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "mask.png")
    return replace(SAMPLE, truth=Truth(mask=folder / "mask.png"))


def changed(image: Image.Image, where: np.ndarray, value: int) -> Image.Image:
    pixels = np.array(image)
    pixels[where] = value
    return Image.fromarray(pixels)


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return with_mask(tmp_path, region())


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RegionMetric]:
    folder = tmp_path_factory.mktemp("alexnet")
    save_file(random_backbone(), folder / "model.safetensors")
    lpips = Lpips(folder, "random-alexnet", "1", "none")
    made = [PsnrOutside(), SsimOutside(), MseOutside(), LpipsOutside(lpips), ClipInside(tiny_clip.scorer())]
    return {metric.name: metric for metric in made}


def outside(metrics: dict[str, RegionMetric]) -> list[OutsideMetric]:
    return [metric for metric in metrics.values() if isinstance(metric, OutsideMetric)]


def test_identity(metrics: dict[str, RegionMetric], sample: Sample) -> None:
    source = textured(1, 64)
    best = {"ssim_outside": 1.0, "mse_outside": 0.0, "lpips_outside": 0.0}
    for name, value in best.items():
        assert metrics[name].score(sample, source, result(source.copy()), None).value == value
    with pytest.raises(MetricUndefined, match="the ratio is infinite"):
        metrics["psnr_outside"].score(sample, source, result(source.copy()), None)


def test_worst_case(metrics: dict[str, RegionMetric], sample: Sample) -> None:
    black, white = plain(0), plain(255)
    values = {m.name: m.score(sample, black, result(white), None).value for m in outside(metrics)}
    assert values["mse_outside"] == metrics["mse_outside"].bounds[1]
    assert values["psnr_outside"] == metrics["psnr_outside"].bounds[0] == 0.0
    assert values["ssim_outside"] < 0.1
    source = textured(1, 64)
    metric = metrics["lpips_outside"]
    near = metric.score(sample, source, result(textured(1, 64, noise=2)), None).value
    far = metric.score(sample, source, result(textured(2, 64)), None).value
    assert far > near


def test_known_values_by_hand() -> None:
    # 4 x 4 pixels, 4 of them inside. Outside, a channel of 3 of 12 pixels is off by 51 = 0.2: 3 * 0.04 / 36 = 1 / 300.
    mask = np.zeros((4, 4), dtype=bool)
    mask[:2, :2] = True
    pixels = np.full((4, 4, 3), 100, dtype=np.uint8)
    source = Image.fromarray(pixels)
    pixels[3, :3, 0] += 51
    pixels[0, 0] = 255
    edited = Image.fromarray(pixels)
    assert mse_outside(source, edited, mask) == pytest.approx(1 / 300, rel=1e-12)
    assert psnr_outside(source, edited, mask) == pytest.approx(10 * np.log10(300), rel=1e-12)


def test_known_ssim_of_two_greys() -> None:
    """Without structure only the luminance term is left: (2ab + c1) / (a² + b² + c1) with a = 0.4 and b = 0.6."""
    luminance = (2 * 0.4 * 0.6 + 1e-4) / (0.4**2 + 0.6**2 + 1e-4)
    nowhere = np.zeros((64, 64), dtype=bool)
    assert ssim_outside(plain(102), plain(153), nowhere) == pytest.approx(luminance, abs=1e-9)
    # The upper half changed and the mask far from the change: of 64 rows, 5 on either side of the change look across.
    mask, upper = region(64, 0, 56, 64, 64), region(64, 0, 0, 64, 28)
    value = ssim_outside(plain(102), changed(plain(102), upper, 153), mask)
    assert value < (28 * luminance + 28) / 56
    assert value > (23 * luminance + 23) / 56


@pytest.mark.parametrize("value", [0, 255])
def test_a_change_inside_leaves_all_that_is_outside_exactly_alone(
    metrics: dict[str, RegionMetric], sample: Sample, value: int
) -> None:
    source, edited = textured(1, 64), textured(1, 64, noise=12)
    for metric in outside(metrics):
        before = metric.score(sample, source, result(edited), None).value
        after = metric.score(sample, source, result(changed(edited, region(), value)), None).value
        assert after == before, metric.name


def test_a_change_outside_is_seen_by_all_that_look_there(metrics: dict[str, RegionMetric], sample: Sample) -> None:
    source = textured(1, 64)
    corner = region(64, 0, 0, 8, 8)
    for metric in outside(metrics):
        little, much = (
            metric.score(sample, source, result(changed(source, where, 255)), None).value
            for where in (corner, ~region())
        )
        assert (little > much) == metric.higher_is_better, metric.name


def test_clip_sees_the_square_and_nothing_else(metrics: dict[str, RegionMetric], sample: Sample) -> None:
    """As the whole image's score of the crop; pixels beyond the square do not matter, those around the mask do."""
    inside, edited = metrics["clip_inside"], textured(2, 64)
    value = inside.score(sample, plain(0), result(edited), CAPTIONS).value
    corners = square_around(region())
    crop = result(edited.crop(corners))
    assert value == ClipScore(tiny_clip.scorer()).score(SAMPLE, plain(0), crop, CAPTIONS).value
    beyond = ~region(64, *corners)
    assert inside.score(sample, plain(0), result(changed(edited, beyond, 0)), CAPTIONS).value == value
    assert inside.score(sample, plain(0), result(changed(edited, ~region(), 0)), CAPTIONS).value != value
    assert inside.score(sample, plain(0), result(plain(9)), CAPTIONS).value != value


def test_the_square_by_hand_and_at_the_rim() -> None:
    # A box of 20 x 10 in the middle: side 26, around (50, 45).
    assert square_around(region(100, 40, 40, 60, 50)) == (37, 32, 63, 58)
    assert square_around(region(100, 0, 0, 20, 10)) == (0, 0, 26, 26)
    wide = np.zeros((30, 100), dtype=bool)
    wide[10:20, 10:90] = True
    assert square_around(wide) == (35, 0, 65, 30)


def test_the_square_is_the_one_that_picturebooks_clip_was_trained_on() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        (x1, x2), (y1, y2) = (np.sort(random.choice(SIZE, 2, replace=False)) for _ in range(2))
        mask = region(SIZE, x1, y1, x2, y2)
        assert square_around(mask) == square(box(mask))


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (np.ones((64, 64), bool), "covers all"),
        (np.zeros((64, 64), bool), "covers nothing"),
        (np.ones((64, 32), bool), r"the ground-truth mask is \(32, 64\), the image \(64, 64\)"),
        (None, "no ground-truth mask"),
    ],
)
def test_without_two_regions_there_is_no_value(
    metrics: dict[str, RegionMetric], tmp_path: Path, mask: np.ndarray | None, reason: str
) -> None:
    sample = SAMPLE if mask is None else with_mask(tmp_path, mask)
    for metric in metrics.values():
        assert metric.applies(sample) == (mask is not None)
        with pytest.raises(MetricUndefined, match=reason):
            metric.score(sample, plain(0), result(plain(1)), CAPTIONS)


def test_images_that_cannot_be_compared_have_no_value(metrics: dict[str, RegionMetric], tmp_path: Path) -> None:
    small = with_mask(tmp_path, region(10, 1, 1, 4, 4))
    for metric in outside(metrics):
        with pytest.raises(MetricUndefined, match="the edited image is"):
            metric.score(small, plain(0, 10), result(plain(0, 11)), None)
    for name, pixels in (("ssim_outside", 11), ("lpips_outside", 31)):
        with pytest.raises(MetricUndefined, match=f"{pixels} pixels"):
            metrics[name].score(small, plain(0, 10), result(plain(1, 10)), None)
    with pytest.raises(MetricUndefined, match="no captions"):
        metrics["clip_inside"].score(small, plain(0, 10), result(plain(0, 10)), None)


def test_the_cards_say_how_the_region_is_taken(metrics: dict[str, RegionMetric]) -> None:
    assert len({metric.card_id for metric in metrics.values()}) == len(metrics)
    for metric in metrics.values():
        assert metric.card()["region"]["truth"] == "PNG, >= 128"
    assert metrics["mse_outside"].card()["region"]["inside"] == "not read"
    assert "filled" in metrics["lpips_outside"].card()["region"]["inside"]
    assert metrics["lpips_outside"].card()["backbone"]["id"] == "random-alexnet"
    assert metrics["clip_inside"].card()["backbone"]["id"] == "tiny-clip"
    assert "nothing set to zero" in metrics["clip_inside"].card()["region"]["crop"]
