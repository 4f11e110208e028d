"""BRISQUE (Mittal et al., IEEE TIP 2012): no-reference quality of the edited image.

The 36 natural-scene statistics are piq's; the weights of the support vector regression that maps them to a score are
read from a safetensors file. With piq's published weights the score equals piq's; other weights have another scale.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from piq.brisque import _natural_scene_statistics
from piq.functional import imresize, rgb2yiq
from safetensors import SafetensorError, safe_open
from torch import Tensor

from eval.metrics.base import Card, Metric, MetricUndefined, Score, digest, package
from instructedit.models import Checkpoint, Context
from instructedit.types import Captions, ConfigError, EditResult, Sample

SCALES = 2
FEATURES = 36
TENSORS = ("support_vectors", "coefficients", "feature_min", "feature_max", "gamma", "rho")


@dataclass(frozen=True)
class Regression:
    """An epsilon-SVR with a radial basis kernel, and the ranges that scale its features to [-1, 1]."""

    support_vectors: Float[Tensor, "n 36"]
    coefficients: Float[Tensor, " n"]
    feature_min: Float[Tensor, " 36"]
    feature_max: Float[Tensor, " 36"]
    gamma: Float[Tensor, ""]
    rho: Float[Tensor, ""]
    about: Mapping[str, Any]
    """Facts about the weights: source, version, licence."""


def load_regression(path: Path) -> Regression:
    """Read a regression and convert it to float64.

    Raises:
        ConfigError: The file is missing, damaged, or lacks a tensor.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name).double() for name in TENSORS}
            about = json.loads((file.metadata() or {}).get("about", "{}"))
    except (OSError, SafetensorError) as error:
        names = ", ".join(TENSORS)
        raise ConfigError(f"BRISQUE weights {path}: {error}; expected safetensors with {names}") from error
    return Regression(**tensors, about=about)


def luma(image: Image.Image) -> Float[Tensor, "1 1 h w"]:
    """Return Y of YIQ in [0, 255], rounded as by Matlab's rgb2gray; float64."""
    rgb = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].double()
    # piq divides by the data range and multiplies by 255; without this, values at one half may round differently.
    return torch.round(rgb2yiq(rgb / 255.0 * 255)[:, :1])


def brisque_features(gray: Float[Tensor, "1 1 h w"]) -> Float[Tensor, " 36"]:
    """Return the 18 statistics of each of two scales, in Matlab's order.

    Raises:
        MetricUndefined: The image has no contrast, so the distributions cannot be fitted.
    """
    features = []
    try:
        for _ in range(SCALES):
            features.append(_natural_scene_statistics(gray))
            gray = imresize(gray, sizes=(gray.shape[2] // 2, gray.shape[3] // 2))
    except AssertionError as error:
        raise MetricUndefined(f"no natural-scene statistics: {str(error).split(',')[0]}") from error
    return torch.cat(features, dim=-1)[0]


def regress(features: Float[Tensor, " 36"], regression: Regression) -> float:
    """Scale the features to [-1, 1] and evaluate ``sum(coefficient * kernel) - rho``."""
    low, high = regression.feature_min, regression.feature_max
    scaled = -1 + 2 * (features - low) / (high - low)
    kernel = torch.exp(-regression.gamma * (scaled - regression.support_vectors).pow(2).sum(dim=-1))
    return float(kernel @ regression.coefficients - regression.rho)


def brisque(image: Image.Image, regression: Regression) -> float:
    """Return BRISQUE of an RGB image: about 0 (best) to 100 (worst), not clamped, so it can be negative."""
    return regress(brisque_features(luma(image)), regression)


class Brisque(Metric):
    """No-reference quality of the edited image."""

    name = "brisque"
    unit = ""
    bounds = (None, None)
    higher_is_better = False

    def __init__(self, weights: Path) -> None:
        """Load the regression from ``weights``, a safetensors file."""
        self.regression = load_regression(Path(weights))
        self._digest = digest(Path(weights))

    @classmethod
    def from_checkpoint(cls, context: Context, checkpoint: Checkpoint) -> "Brisque":
        """Return the metric with a checkpoint's ``model.safetensors``, which is read once per process."""
        return context.pool.get((cls, checkpoint), lambda: cls(checkpoint.folder / "model.safetensors"))

    def details(self) -> Card:
        """See :class:`Metric`; the weights define the scale."""
        return {
            "implementation": f"{package('piq')} statistics, own support-vector regression, float64",
            "weights": {**self.regression.about, "sha256": self._digest},
            "colour": "Y of YIQ in [0, 255], rounded",
            "resize": "none before scoring; second scale by piq's antialiased bicubic (Matlab's imresize)",
            "clamped": False,
        }

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Score the edited image; the source is not used."""
        return Score(brisque(result.image, self.regression))
