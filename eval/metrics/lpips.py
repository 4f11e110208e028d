"""LPIPS (Zhang et al., CVPR 2018) with AlexNet: perceptual distance of input and edit, by the ``lpips`` package.

The backbone is loaded from a safetensors folder and never downloaded. ``calibration="lpips"`` weights its channels with
the package's linear layers, which were fitted to human judgements for torchvision's ImageNet AlexNet only;
``calibration="none"`` uses the unweighted mean of the package's baseline, for any other AlexNet.
"""

from pathlib import Path

import lpips
import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from eval.metrics.base import Card, Metric, MetricUndefined, Score, digest, package, require_same_size
from instructedit.models import Checkpoint, Context
from instructedit.perceptual import MINIMUM_SIDE, load_network
from instructedit.types import Captions, EditResult, Sample


def signed(image: Image.Image) -> Float[Tensor, "1 3 h w"]:
    """Return pixels in [-1, 1], the input range of LPIPS; float32."""
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].float() / 127.5 - 1


@torch.inference_mode()
def lpips_distance(network: lpips.LPIPS, source: Image.Image, edited: Image.Image) -> float:
    """Return the perceptual distance of two images of the same size, without resizing; 0 if they are equal."""
    device = next(network.parameters()).device
    return float(network(signed(source).to(device), signed(edited).to(device)))


class Lpips(Metric):
    """LPIPS distance of the edited image from the input image."""

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
        net: str = "alex",
    ) -> None:
        """Load the backbone from ``folder/model.safetensors``; ``checkpoint`` and ``revision`` are for the card."""
        weights = Path(folder) / "model.safetensors"
        self.network = load_network(weights, calibration, net).to(device)
        self.calibration, self.net = calibration, net
        self._backbone = {"id": checkpoint, "revision": revision, "sha256": digest(weights)}

    @classmethod
    def from_checkpoint(cls, context: Context, checkpoint: Checkpoint, calibration: str, net: str = "alex") -> "Lpips":
        """Return the metric with a checkpoint's network, which is loaded once per process.

        Args:
            context: Model pool and device.
            checkpoint: The backbone.
            calibration: ``lpips`` or ``none``, see this module.
            net: One of :data:`instructedit.perceptual.NETS`.
        """
        device = str(context.device)

        def load() -> "Lpips":
            return cls(checkpoint.folder, checkpoint.id, checkpoint.version, calibration, device, net)

        return context.pool.get((cls, checkpoint, calibration, net, device), load)

    def details(self) -> Card:
        """See :class:`Metric`; net, calibration and resolution change the scale."""
        return {
            "implementation": package("lpips"),
            "net": self.net,
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
