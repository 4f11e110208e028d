"""LPIPS against the ``lpips`` package called directly, torchmetrics, and the paper's equation in float64."""

from pathlib import Path

import lpips
import pytest
import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor
from torchmetrics.functional.image.lpips import _LPIPS, _lpips_update
from torchvision.models import AlexNet

from eval.metrics.lpips import lpips_distance, signed
from instructedit.perceptual import load_network
from tests.eval.metrics.test_lpips import SHAPES, random_backbone
from tests.eval.pictures import textured

PAIR = textured(1), textured(2)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("alexnet") / "model.safetensors"
    save_file(random_backbone(), path)
    return path


def into_slices(network: torch.nn.Module) -> None:
    """Put the backbone into five slices by way of a torchvision AlexNet, not by our renaming."""
    with torch.device("meta"):
        alexnet = AlexNet()
    alexnet.load_state_dict(random_backbone(), strict=False, assign=True)
    for slice_ in network.children():
        for index, layer in slice_.named_children():
            layer.load_state_dict(alexnet.features[int(index)].state_dict())


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("calibration", ["lpips", "none"])
def test_against_the_package(weights: Path, calibration: str) -> None:
    package = lpips.LPIPS(net="alex", lpips=calibration == "lpips", pnet_rand=True, verbose=False)
    into_slices(package.net)
    ours = lpips_distance(load_network(weights, calibration), *PAIR)
    # The package's own [0, 1] switch: another way to the same range.
    theirs = package(*((signed(image) + 1) / 2 for image in PAIR), normalize=True)
    assert ours == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_against_torchmetrics(weights: Path) -> None:
    network = _LPIPS(pretrained=True, net="alex", pnet_rand=True)
    into_slices(network.net)
    theirs = _lpips_update(signed(PAIR[0]), signed(PAIR[1]), net=network, normalize=False)
    assert lpips_distance(load_network(weights, "lpips"), *PAIR) == pytest.approx(float(theirs), rel=1e-6)


def test_uncalibrated_against_the_equation(weights: Path) -> None:
    """Sum over layers of the spatial mean of the squared distance of unit features (paper, eq. 1 with w = 1)."""
    distance = 0.0
    for a, b in zip(*(activations(signed(image).double()) for image in PAIR), strict=True):
        units = (layer / (layer.norm(dim=1, keepdim=True) + 1e-10) for layer in (a, b))
        distance += float(next(units).sub(next(units)).pow(2).sum(dim=1).mean())
    assert lpips_distance(load_network(weights, "none"), *PAIR) == pytest.approx(distance, rel=1e-5)


def activations(pixels: Float[Tensor, "1 3 h w"]) -> list[Float[Tensor, "1 c y x"]]:
    """The five rectified layers of AlexNet, by functional calls in float64."""
    mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).view(1, 3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).view(1, 3, 1, 1)
    x = ((pixels + 1) / 2 - mean) / deviation
    state = {name: value.double() for name, value in random_backbone().items()}
    layers = []
    steps = [(4, 2, False), (1, 2, True), (1, 1, True), (1, 1, False), (1, 1, False)]
    for layer, (stride, padding, pool) in zip(SHAPES, steps, strict=True):
        x = F.max_pool2d(x, 3, 2) if pool else x
        x = F.relu(F.conv2d(x, state[f"features.{layer}.weight"], state[f"features.{layer}.bias"], stride, padding))
        layers.append(x)
    return layers
