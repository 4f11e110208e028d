"""BRISQUE (Mittal et al., IEEE TIP 2012): no-reference quality of the edited image.

The 36 natural-scene statistics are piq's own; the support-vector regression that turns them into a score is data, read
from a safetensors file. With piq's published weights the score is piq's; with others it is on those weights' scale.
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
    """Where the weights are from: source, version, licence."""


def load_regression(path: Path) -> Regression:
    """Read a regression as float64, whatever the file's type.

    Raises:
        ConfigError: the file is missing, damaged, or lacks a tensor.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name).double() for name in TENSORS}
            about = json.loads((file.metadata() or {}).get("about", "{}"))
    except (OSError, SafetensorError) as error:
        wanted = ", ".join(TENSORS)
        raise ConfigError(f"BRISQUE weights {path}: {error}; expected safetensors with {wanted}") from error
    return Regression(**tensors, about=about)


def luma(image: Image.Image) -> Float[Tensor, "1 1 h w"]:
    """Y of YIQ in [0, 255], rounded as Matlab's rgb2gray rounds; float64."""
    rgb = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].double()
    # piq divides by the data range and multiplies by 255; leaving it out moves a value that lies on one half.
    return torch.round(rgb2yiq(rgb / 255.0 * 255)[:, :1])


def brisque_features(gray: Float[Tensor, "1 1 h w"]) -> Float[Tensor, " 36"]:
    """The 18 statistics of each of two scales, in Matlab's order.

    Raises:
        MetricUndefined: the image has no contrast, so that the distributions cannot be fitted.
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
    """BRISQUE of an RGB image; about 0 (pristine) to 100 (bad), unclamped, so it can be negative."""
    return regress(brisque_features(luma(image)), regression)


class Brisque(Metric):
    """Quality of the edited image, without looking at the source."""

    name = "brisque"
    unit = ""
    bounds = (None, None)
    higher_is_better = False

    def __init__(self, weights: Path) -> None:
        """Take the regression from ``weights``, a safetensors file."""
        self.regression = load_regression(Path(weights))
        self._digest = digest(Path(weights))

    @classmethod
    def from_checkpoint(cls, context: Context, checkpoint: Checkpoint) -> "Brisque":
        """The metric on a checkpoint's ``model.safetensors``; read once per process."""
        return context.pool.get((cls, checkpoint), lambda: cls(checkpoint.folder / "model.safetensors"))

    def details(self) -> Card:
        """Two cards with other weights are two scales."""
        return {
            "implementation": f"{package('piq')} statistics, own support-vector regression, float64",
            "weights": {**self.regression.about, "sha256": self._digest},
            "colour": "Y of YIQ in [0, 255], rounded",
            "resize": "none before scoring; second scale by piq's antialiased bicubic (Matlab's imresize)",
            "clamped": False,
        }

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Score the edited image alone."""
        return Score(brisque(result.image, self.regression))
