"""BRISQUE against piq, libsvm, the statistics of the ``brisque`` package and OpenCV, and the Matlab definition."""

import ast
import collections
import itertools
import json
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import piq
import pytest
import torch
from jaxtyping import Float
from libsvm import svmutil
from scipy import ndimage, optimize, signal, special

from eval.metrics.brisque import Brisque, brisque, brisque_features, load_regression, luma, regress
from eval.metrics.brisque_weights import from_piq, write
from tests.eval.metrics.test_brisque import WEIGHTS
from tests.eval.pictures import textured


@pytest.fixture
def piq_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A regression in piq's own file format, where piq's own download would have put it."""
    generator = torch.Generator().manual_seed(0)
    coefficients = torch.randn(40, generator=generator) * 100
    vectors = torch.rand(40, 36, generator=generator) * 2 - 1
    path = tmp_path / "hub" / "checkpoints" / "brisque_svm_weights.pt"
    path.parent.mkdir(parents=True)
    torch.save((coefficients, vectors), path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return path


@pytest.mark.parametrize("size", [128, 131, 200])
def test_with_piqs_weights_the_score_is_piqs(piq_weights: Path, tmp_path: Path, size: int) -> None:
    write(*from_piq(piq_weights), tmp_path / "converted")
    regression = load_regression(tmp_path / "converted" / "model.safetensors")
    image = textured(size, size=size)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    assert brisque(image, regression) == pytest.approx(float(piq.brisque(pixels.double(), data_range=255)), abs=1e-9)
    # piq in its usual float32, whose local variance cancels: the same number to a few digits.
    assert brisque(image, regression) == pytest.approx(float(piq.brisque(pixels.float(), data_range=255)), abs=0.05)


def test_the_shipped_regression_scores_as_libsvm_does() -> None:
    svm = next(file for file in distribution("brisque").files or [] if file.name == "svm.txt")
    model = svmutil.svm_load_model(str(svm.locate()))
    regression = load_regression(WEIGHTS)
    low, high = regression.feature_min, regression.feature_max
    for seed in range(5):
        scaled = torch.rand(36, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1
        nodes = {index + 1: float(value) for index, value in enumerate(scaled)}
        (expected,), _, _ = svmutil.svm_predict([0], [nodes], model, "-q")
        assert regress(low + (scaled + 1) / 2 * (high - low), regression) == pytest.approx(expected, abs=1e-8)


def test_statistics_follow_the_matlab_definition() -> None:
    image = textured(5, size=96)
    gray = luma(image)
    ours = brisque_features(gray).numpy()
    halved = piq.functional.imresize(gray, sizes=(48, 48))
    expected = np.concatenate([statistics(scale[0, 0].numpy()) for scale in (gray, halved)])
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9)


def test_order_and_meaning_are_those_of_the_brisque_package() -> None:
    """First scale, in the units of the regression (each feature spans 2).

    Equal they cannot be: the package crops where piq wraps around the border, and fits the first two features with two
    tails instead of one. Both fade with the picture's size. Its second scale is another resize and so is not compared.
    """
    package = package_class()
    regression = load_regression(WEIGHTS)
    span = (regression.feature_max - regression.feature_min)[:18].numpy() / 2
    for size, tolerance in ((128, 0.05), (512, 0.01)):
        image = textured(size, size=size, noise=8, grey=True)
        theirs = package.calculate_brisque_features(np.array(image)[..., 0] / 255.0)
        theirs = np.array([float(np.ravel(value)[0]) for value in theirs])
        ours = brisque_features(luma(image)).numpy()[:18]
        assert np.abs((ours - theirs) / span).max() < tolerance


def test_order_and_meaning_are_those_of_opencv() -> None:
    """First scale, with the borders' influence fading as the picture grows: OpenCV mirrors them where piq has zeros.

    Its second scale is a cubic resize without antialiasing, half the regression's range away, so it is not compared.
    OpenCV's numbers are kept in a file, since its contributed modules and the OpenCV that other packages need cannot be
    installed together; the file says how they were made.
    """
    kept = json.loads(Path(__file__).with_name("opencv_brisque.json").read_text())["features"]
    regression = load_regression(WEIGHTS)
    span = (regression.feature_max - regression.feature_min)[:18].numpy() / 2
    for size, tolerance in ((128, 0.06), (256, 0.035), (512, 0.025)):
        ours = brisque_features(luma(textured(size, size=size, noise=8, grey=True))).numpy()[:18]
        assert np.abs((ours - np.array(kept[str(size)])) / span).max() < tolerance


def test_other_weights_are_another_card(piq_weights: Path, tmp_path: Path) -> None:
    write(*from_piq(piq_weights), tmp_path / "converted")
    assert Brisque(tmp_path / "converted" / "model.safetensors").card_id != Brisque(WEIGHTS).card_id


def package_class() -> Any:
    """The package's own class, compiled without its import of OpenCV, which only its second scale calls."""
    source = next(file for file in distribution("brisque").files or [] if str(file) == "brisque/brisque.py")
    tree = ast.parse(source.read_text())
    tree.body = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    names: dict[str, Any] = {
        "np": np, "signal": signal, "special": special, "optimize": optimize,
        "collections": collections, "chain": itertools.chain,
    }  # fmt: skip
    exec(compile(tree, "brisque.py", "exec"), names)
    return object.__new__(names["BRISQUE"])


def statistics(gray: Float[np.ndarray, "h w"]) -> Float[np.ndarray, " 18"]:
    """The 18 statistics of one scale, written from the paper's equations 1 to 15 on a grid of shapes, as in Matlab."""
    offsets = np.arange(-3, 4)
    kernel = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * (7 / 6) ** 2))
    kernel /= kernel.sum()
    mean = ndimage.correlate(gray, kernel, mode="constant")
    deviation = np.sqrt(np.abs(ndimage.correlate(gray**2, kernel, mode="constant") - mean**2))
    normal = (gray - mean) / (deviation + 1)
    shapes = 0.2 + 0.001 * np.arange(9801)
    log = special.gammaln
    one_tail = np.exp(log(1 / shapes) + log(3 / shapes) - 2 * log(2 / shapes))
    features = [shapes[np.abs((normal**2).mean() / np.abs(normal).mean() ** 2 - one_tail).argmin()], (normal**2).mean()]
    for shift in ((0, 1), (1, 0), (1, 1), (-1, 1)):
        pairs = normal * np.roll(normal, shift, axis=(0, 1))
        left, right = (np.sqrt((side**2).mean()) for side in (pairs[pairs < 0], pairs[pairs > 0]))
        ratio = left / right
        moment = np.abs(pairs).mean() ** 2 / (pairs**2).mean()
        moment *= (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
        shape = shapes[np.abs(moment - 1 / one_tail).argmin()]
        eta = (right - left) * np.exp(log(2 / shape) - (log(1 / shape) + log(3 / shape)) / 2)
        features += [shape, eta, left**2, right**2]
    return np.array(features)
