"""BRISQUE with the shipped regression."""

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from safetensors.torch import save_file

from eval.metrics.base import MetricUndefined
from eval.metrics.brisque import Brisque, Regression, brisque, load_regression, luma, regress
from eval.metrics.brisque_weights import read_libsvm
from instructedit.types import ConfigError
from tests.eval.pictures import SAMPLE, plain, result, textured

FOLDER = Path(__file__).resolve().parents[3] / "data" / "picturebook" / "models" / "brisque"
WEIGHTS = FOLDER / "model.safetensors"


@pytest.fixture(scope="module")
def metric() -> Brisque:
    return Brisque(WEIGHTS)


def test_looks_at_the_edited_image_alone(metric: Brisque) -> None:
    edited = textured(1)
    first = metric.score(SAMPLE, textured(2), result(edited), None)
    assert first == metric.score(SAMPLE, plain(0), result(edited.copy()), None)
    assert first.value == brisque(edited, metric.regression)
    assert not metric.higher_is_better


def test_worst_case_noise_and_blur_are_worse_than_the_picture(metric: Brisque) -> None:
    clean = textured(3, size=192, noise=4)
    noise = np.random.default_rng(0).integers(0, 256, (192, 192, 3), dtype=np.uint8)
    blurred = clean.filter(ImageFilter.GaussianBlur(4))
    scores = [brisque(image, metric.regression) for image in (clean, blurred, Image.fromarray(noise))]
    assert scores[0] + 10 < min(scores[1:])


def test_known_value_of_a_regression_of_one_vector() -> None:
    ones = torch.ones(36, dtype=torch.float64)
    regression = Regression(
        support_vectors=torch.zeros(1, 36, dtype=torch.float64),
        coefficients=torch.tensor([7.0], dtype=torch.float64),
        feature_min=-ones,
        feature_max=ones,
        gamma=torch.tensor(0.05, dtype=torch.float64),
        rho=torch.tensor(-3.0, dtype=torch.float64),
        about={},
    )
    # At the vector the kernel is 1; one unit away in each of 36 directions it is exp(-36 gamma).
    assert regress(0 * ones, regression) == pytest.approx(10.0, abs=1e-12)
    assert regress(ones, regression) == pytest.approx(3 + 7 * math.exp(-1.8), abs=1e-12)
    assert regress(1e3 * ones, regression) == pytest.approx(3.0, abs=1e-12)


def test_luma_is_rounded_to_whole_grey_values() -> None:
    # 0.299 * 10 + 0.587 * 200 + 0.114 * 30 = 123.81
    assert luma(Image.new("RGB", (2, 2), (10, 200, 30))).unique().tolist() == [124.0]


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_picture_without_contrast_has_no_value(metric: Brisque, value: int) -> None:
    with pytest.raises(MetricUndefined, match="no natural-scene statistics"):
        metric.score(SAMPLE, plain(value, 128), result(plain(value, 128)), None)


def test_the_card_names_the_weights_by_content_and_no_path(metric: Brisque) -> None:
    weights = metric.card()["weights"]
    assert weights["sha256"] == hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    assert (weights["id"], weights["version"], weights["licence"]) == ("brisque-package", "0.2.0", "Apache-2.0")
    assert str(WEIGHTS.parent) not in json.dumps(metric.card())
    assert json.loads((FOLDER / "card.json").read_text())["sha256"] == weights["sha256"]


@pytest.mark.parametrize("content", [b"", b"not safetensors"])
def test_damaged_weights_are_the_requests_fault(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ConfigError, match="expected safetensors with support_vectors"):
        load_regression(tmp_path / "model.safetensors")


def test_missing_weights_and_tensors_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none.safetensors"):
        load_regression(tmp_path / "none.safetensors")
    save_file({"rho": torch.zeros(())}, tmp_path / "half.safetensors")
    with pytest.raises(ConfigError, match="support_vectors"):
        load_regression(tmp_path / "half.safetensors")


def test_the_libsvm_reader_fills_left_out_features_and_counts() -> None:
    head = "svm_type epsilon_svr\nkernel_type rbf\ngamma 0.5\nnr_class 2\ntotal_sv 2\nrho -1.5\nSV\n"
    read = read_libsvm(head + "-2 1:0.25 36:1 \n3 2:-1 \n")
    assert read["support_vectors"].nonzero().tolist() == [[0, 0], [0, 35], [1, 1]]
    assert read["coefficients"].tolist() == [-2.0, 3.0]
    with pytest.raises(ValueError, match="expected 2 support vectors, found 1"):
        read_libsvm(head + "-2 1:0.25\n")
