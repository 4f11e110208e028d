"""The region metrics against torchmetrics, the lpips package, and numpy implementations of the papers' equations."""

from pathlib import Path

import lpips
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from scipy.ndimage import correlate1d
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)
from torchmetrics.functional.regression import mean_squared_error

from eval.metrics.lpips import lpips_distance, signed
from eval.metrics.region import lpips_outside, mse_outside, psnr_outside, ssim_outside, unit_pixels
from instructedit.perceptual import load_network
from tests.eval.metrics.test_lpips import random_backbone
from tests.eval.pictures import textured
from tests.parity.test_lpips import activations, into_slices

SOURCE, EDITED = textured(1), textured(2)
NOWHERE = np.zeros((128, 128), dtype=bool)
BELOW = np.arange(128)[:, None].repeat(128, 1) >= 64


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("alexnet") / "model.safetensors"
    save_file(random_backbone(), path)
    return path


def tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(unit_pixels(image)).permute(2, 0, 1)[None]


def upper(image: Image.Image) -> torch.Tensor:
    """The half outside ``BELOW``, as a picture of its own."""
    return tensor(image)[:, :, :64].contiguous()


def test_mse_and_psnr_against_torchmetrics() -> None:
    """The metrics equal those of the outside half as a separate picture, so no inside pixel enters the mean."""
    mse = mean_squared_error(upper(SOURCE), upper(EDITED))
    assert mse_outside(SOURCE, EDITED, BELOW) == pytest.approx(float(mse), rel=1e-6)
    psnr = peak_signal_noise_ratio(upper(EDITED), upper(SOURCE), data_range=1.0)
    assert psnr_outside(SOURCE, EDITED, BELOW) == pytest.approx(float(psnr), abs=1e-4)


def test_ssim_without_a_region_against_torchmetrics() -> None:
    theirs = structural_similarity_index_measure(tensor(EDITED), tensor(SOURCE), data_range=1.0)
    assert isinstance(theirs, torch.Tensor)
    assert ssim_outside(SOURCE, EDITED, NOWHERE) == pytest.approx(float(theirs), abs=1e-6)


def test_ssim_outside_against_arithmetic() -> None:
    """Equation 13 of Wang et al. with scipy's filters, the region filled from the source, averaged where it is not."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets**2) / (2 * 1.5**2))
    window /= window.sum()

    def blur(image: np.ndarray) -> np.ndarray:
        return correlate1d(correlate1d(image, window, axis=0, mode="mirror"), window, axis=1, mode="mirror")

    x = unit_pixels(SOURCE)
    y = np.where(BELOW[..., None], x, unit_pixels(EDITED))
    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y, cov = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2, blur(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)
    expected = (luminance * (2 * cov + 0.03**2) / (var_x + var_y + 0.03**2))[~BELOW].mean()
    assert ssim_outside(SOURCE, EDITED, BELOW) == pytest.approx(expected, abs=1e-6)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("calibration", ["lpips", "none"])
def test_lpips_against_the_packages_spatial_map(weights: Path, calibration: str) -> None:
    package = lpips.LPIPS(net="alex", lpips=calibration == "lpips", pnet_rand=True, spatial=True, verbose=False)
    into_slices(package.net)
    package.eval()
    filled = torch.where(torch.from_numpy(BELOW), signed(SOURCE), signed(EDITED))
    with torch.inference_mode():
        expected = package(signed(SOURCE), filled)[0, 0][:64].mean()
    network = load_network(weights, calibration)
    assert lpips_outside(network, SOURCE, EDITED, BELOW) == pytest.approx(float(expected), rel=1e-5)
    # The metric of the whole image is unchanged, because the option was set on a copy.
    assert not network.spatial
    assert network(signed(SOURCE), signed(EDITED)).shape == (1, 1, 1, 1)


def test_lpips_outside_against_the_equation(weights: Path) -> None:
    """Each layer's squared distances of unit features in float64, brought to the image's size, averaged outside."""
    filled = Image.composite(SOURCE, EDITED, Image.fromarray(BELOW))
    distance = torch.zeros(128, 128, dtype=torch.float64)
    for a, b in zip(*(activations(signed(image).double()) for image in (SOURCE, filled)), strict=True):
        unit_a, unit_b = (layer / (layer.norm(dim=1, keepdim=True) + 1e-10) for layer in (a, b))
        squared = (unit_a - unit_b).pow(2).sum(dim=1, keepdim=True)
        distance += F.interpolate(squared, size=(128, 128), mode="bilinear", align_corners=False)[0, 0]
    expected = float(distance[torch.from_numpy(~BELOW)].mean())
    assert lpips_outside(load_network(weights, "none"), SOURCE, EDITED, BELOW) == pytest.approx(expected, rel=1e-4)


def test_lpips_without_a_region_is_close_to_that_of_the_whole_image(weights: Path) -> None:
    """Not equal: bringing a map of 7 x 7 to the image's size weighs its rim otherwise than a plain mean does."""
    network = load_network(weights, "none")
    whole = lpips_distance(network, SOURCE, EDITED)
    assert lpips_outside(network, SOURCE, EDITED, NOWHERE) == pytest.approx(whole, rel=0.05)
