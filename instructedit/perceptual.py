"""The network of LPIPS (Zhang et al., CVPR 2018), for metrics and for losses; see :mod:`eval.metrics.lpips`."""

import warnings
from pathlib import Path

import lpips
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from instructedit.checks import require_one_of
from instructedit.types import ConfigError

CALIBRATIONS = ("lpips", "none")
NETS = ("alex", "squeeze")
"""Backbones of the package: torchvision's AlexNet and SqueezeNet 1.1."""
MINIMUM_SIDE = 31
"""Minimum side in pixels; for smaller images, the input of AlexNet's second pooling is too small."""


def load_network(weights: Path, calibration: str, net: str = "alex") -> lpips.LPIPS:
    """Build the network with a backbone's ``features.*`` tensors (torchvision's names).

    Raises:
        ConfigError: The calibration or the net is unknown, or the file is missing, damaged or not that net.
    """
    require_one_of("net", net, NETS)
    require_one_of("calibration", calibration, CALIBRATIONS)
    try:
        state = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"LPIPS backbone {weights}: {error}") from error
    # The package initialises random weights, which are replaced below; this must not change the global generator. Its
    # call of torchvision emits a deprecation warning.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        network = lpips.LPIPS(net=net, lpips=calibration == "lpips", pnet_rand=True, verbose=False)
    try:
        backbone = {name: state[f"features.{name.partition('.')[2]}"] for name in network.net.state_dict()}
        network.net.load_state_dict(backbone)
    except (KeyError, RuntimeError) as error:
        title = {"alex": "AlexNet", "squeeze": "SqueezeNet"}[net]
        raise ConfigError(f"LPIPS backbone {weights} does not hold {title}'s features.*: {error}") from error
    return network.eval().requires_grad_(False)
