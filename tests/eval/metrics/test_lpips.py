"""LPIPS on small AlexNet backbones with known weights."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models import AlexNet

from eval.metrics.base import MetricUndefined
from eval.metrics.lpips import Lpips, lpips_distance, signed
from instructedit.perceptual import load_network
from instructedit.types import ConfigError
from tests.eval.pictures import SAMPLE, plain, result, textured

SHAPES = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
"""Output channels, input channels and kernel size of AlexNet's convolutions."""


def random_backbone() -> dict[str, Tensor]:
    """AlexNet's features under torchvision's names, seeded; scaled so that activations survive five layers."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for layer, (out, channels, kernel) in SHAPES.items():
        scale = (2 / (channels * kernel**2)) ** 0.5
        state[f"features.{layer}.weight"] = torch.randn(out, channels, kernel, kernel, generator=generator) * scale
        state[f"features.{layer}.bias"] = torch.randn(out, generator=generator) * 0.1
    return state


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("alexnet")
    save_file(random_backbone(), path / "model.safetensors")
    return path


@pytest.fixture(scope="module")
def metric(folder: Path) -> Lpips:
    return Lpips(folder, "random-alexnet", "1")


def test_the_names_are_torchvisions() -> None:
    with torch.device("meta"):
        features = AlexNet().features.state_dict()
    assert {f"features.{name}": value.shape for name, value in features.items()} == {
        name: value.shape for name, value in random_backbone().items()
    }


def test_identity_is_zero_and_order_does_not_matter(metric: Lpips) -> None:
    source, edited = textured(1), textured(2)
    assert metric.score(SAMPLE, source, result(source.copy()), None).value == 0.0
    there, back = (lpips_distance(metric.network, *pair) for pair in ((source, edited), (edited, source)))
    assert there == pytest.approx(back, rel=1e-6)
    assert not metric.higher_is_better


def test_worst_case_another_picture_is_further_than_a_little_noise(metric: Lpips) -> None:
    source = textured(1, noise=0)
    near = metric.score(SAMPLE, source, result(textured(1, noise=2)), None).value
    far = metric.score(SAMPLE, source, result(textured(2)), None).value
    assert 0 < 3 * near < far


def test_known_value_of_opposite_features(tmp_path: Path) -> None:
    # Red lights one channel of the first layer, its absence another: unit vectors at a right angle, distance 2.
    state = {name: torch.zeros_like(value) for name, value in random_backbone().items()}
    state["features.0.weight"][0, 0] = 1.0
    state["features.0.weight"][1, 0] = -1.0
    save_file(state, tmp_path / "model.safetensors")
    metric = Lpips(tmp_path, "red", "1", calibration="none")
    assert metric.score(SAMPLE, plain(255), result(plain(0)), None).value == pytest.approx(2.0, abs=1e-6)
    assert metric.score(SAMPLE, plain(255), result(plain(255)), None).value == 0.0


def test_pixels_are_signed() -> None:
    assert signed(plain(0, 2)).unique().tolist() == [-1.0]
    assert signed(plain(255, 2)).unique().tolist() == [1.0]


def test_loading_leaves_the_global_generator_alone(folder: Path) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    load_network(folder / "model.safetensors", "lpips")
    assert torch.equal(before, torch.get_rng_state())


def test_the_card_tells_calibrations_and_backbones_apart(folder: Path, metric: Lpips) -> None:
    ids = {metric.card_id, Lpips(folder, "random-alexnet", "1", "none").card_id, Lpips(folder, "other", "1").card_id}
    assert len(ids) == 3
    assert metric.card()["calibration"] == "lpips v0.1"


def test_sizes_that_cannot_be_compared_have_no_value(metric: Lpips) -> None:
    with pytest.raises(MetricUndefined, match="the edited image is"):
        metric.score(SAMPLE, plain(0, 64), result(plain(0, 65)), None)
    with pytest.raises(MetricUndefined, match="31 pixels"):
        metric.score(SAMPLE, plain(0, 30), result(plain(0, 30)), None)
    assert metric.score(SAMPLE, plain(0, 31), result(plain(0, 31)), None).value == 0.0


def test_wrong_weights_are_the_requests_fault(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ConfigError, match="none.safetensors"):
        load_network(tmp_path / "none.safetensors", "none")
    save_file({"features.0.weight": torch.zeros(64, 3, 11, 11)}, tmp_path / "half.safetensors")
    with pytest.raises(ConfigError, match=r"AlexNet's features.*features.0.bias"):
        load_network(tmp_path / "half.safetensors", "none")
    with pytest.raises(ConfigError, match="calibration=.*: accepted are lpips, none"):
        load_network(folder / "model.safetensors", "vgg")
