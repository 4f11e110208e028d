"""LPIPS (Zhang et al., CVPR 2018) on AlexNet: how far the edit moved the image, by the ``lpips`` package.

The backbone comes from a safetensors folder and is never downloaded. ``calibration="lpips"`` weighs its channels with
the linear layers that the package ships, fitted to people's judgements for torchvision's ImageNet AlexNet only;
``calibration="none"`` takes the plain mean of the package's baseline, for any other AlexNet.
"""

import warnings
from pathlib import Path

import lpips
import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from eval.metrics.base import Card, Metric, MetricUndefined, Score, digest, package, require_same_size
from instructedit.models import Checkpoint, Context
from instructedit.types import Captions, ConfigError, EditResult, Sample

CALIBRATIONS = ("lpips", "none")
MINIMUM_SIDE = 31
"""Pixels; below, AlexNet's second pooling has nothing left to pool."""


def load_network(weights: Path, calibration: str) -> lpips.LPIPS:
    """Build the network on a backbone's ``features.*`` tensors (torchvision's names).

    Raises:
        ConfigError: an unknown calibration, or a file that is missing, damaged or not an AlexNet.
    """
    if calibration not in CALIBRATIONS:
        raise ConfigError(f"calibration={calibration!r} is not one of {', '.join(CALIBRATIONS)}")
    try:
        state = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"LPIPS backbone {weights}: {error}") from error
    # The package draws random weights before ours replace them: that draw must not move the global generator,
    # and its call of torchvision warns about an argument that is not ours to change.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        network = lpips.LPIPS(net="alex", lpips=calibration == "lpips", pnet_rand=True, verbose=False)
    try:
        backbone = {name: state[f"features.{name.partition('.')[2]}"] for name in network.net.state_dict()}
        network.net.load_state_dict(backbone)
    except (KeyError, RuntimeError) as error:
        raise ConfigError(f"LPIPS backbone {weights} does not hold AlexNet's features.*: {error}") from error
    return network.eval().requires_grad_(False)


def signed(image: Image.Image) -> Float[Tensor, "1 3 h w"]:
    """Pixels in [-1, 1], the range that LPIPS was fitted on; float32."""
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].float() / 127.5 - 1


@torch.inference_mode()
def lpips_distance(network: lpips.LPIPS, source: Image.Image, edited: Image.Image) -> float:
    """Perceptual distance of two images of one size, at that size; 0 if they are equal."""
    device = next(network.parameters()).device
    return float(network(signed(source).to(device), signed(edited).to(device)))


class Lpips(Metric):
    """Distance of the edited image from the input image."""

    name = "lpips"
    unit = ""
    bounds = (0.0, None)
    higher_is_better = False

    def __init__(
        self,
        folder: Path,
        checkpoint: str,
        revision: str,
        calibration: str = "lpips",
        device: str | torch.device = "cpu",
    ) -> None:
        """Take the backbone from ``folder/model.safetensors``; ``checkpoint`` and ``revision`` name it on the card."""
        weights = Path(folder) / "model.safetensors"
        self.network = load_network(weights, calibration).to(device)
        self.calibration = calibration
        self._backbone = {"id": checkpoint, "revision": revision, "sha256": digest(weights)}

    @classmethod
    def from_checkpoint(cls, context: Context, checkpoint: Checkpoint, calibration: str) -> "Lpips":
        """The metric on a checkpoint; its network loads once per process.

        Args:
            context: Pool and device.
            checkpoint: An AlexNet.
            calibration: ``lpips`` or ``none``, see this module.
        """
        device = str(context.device)

        def load() -> "Lpips":
            return cls(checkpoint.folder, checkpoint.id, checkpoint.version, calibration, device)

        return context.pool.get((cls, checkpoint, calibration, device), load)

    def details(self) -> Card:
        """Names the net, the calibration and the resolution, which all three change the scale."""
        return {
            "implementation": package("lpips"),
            "net": "alex",
            "backbone": self._backbone,
            "calibration": f"{self.calibration} v0.1" if self.calibration == "lpips" else "none",
            "resize": "none",
            "compares": "input image with edited image, in [-1, 1]",
        }

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Compare the edited image with the input image."""
        require_same_size(source, result.image)
        if min(source.size) < MINIMUM_SIDE:
            raise MetricUndefined(f"the image is {source.size}, AlexNet needs {MINIMUM_SIDE} pixels a side")
        return Score(lpips_distance(self.network, source, result.image))
