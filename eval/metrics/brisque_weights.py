"""Convert a published BRISQUE regression to the safetensors file that :mod:`eval.metrics.brisque` reads."""

import hashlib
import json
import pickle
from importlib.metadata import PackagePath, distribution
from pathlib import Path
from typing import Any

import torch
from piq.brisque import _scale_features
from safetensors.torch import save_file
from torch import Tensor

FEATURES = 36
PIQ_GAMMA, PIQ_RHO = 0.05, -153.591
"""Constants of piq's ``_score_svr`` that are not in its weights file."""


def read_libsvm(text: str) -> dict[str, Tensor]:
    """Parse libsvm's text format of an epsilon-SVR with a radial basis kernel; omitted features are 0.

    Raises:
        ValueError: The model is of another type, or the number of support vectors is wrong.
    """
    head, _, body = text.partition("\nSV\n")
    header = dict(line.split(maxsplit=1) for line in head.splitlines())
    if (header["svm_type"], header["kernel_type"]) != ("epsilon_svr", "rbf"):
        raise ValueError(f"expected an epsilon_svr with an rbf kernel, found {header}")
    lines = [line.split() for line in body.splitlines() if line.strip()]
    vectors = torch.zeros(len(lines), FEATURES, dtype=torch.float64)
    for row, (_, *cells) in enumerate(lines):
        for cell in cells:
            column, value = cell.split(":")
            vectors[row, int(column) - 1] = float(value)
    if len(lines) != int(header["total_sv"]):
        raise ValueError(f"expected {header['total_sv']} support vectors, found {len(lines)}")
    return {
        "support_vectors": vectors,
        "coefficients": torch.tensor([float(line[0]) for line in lines], dtype=torch.float64),
        "gamma": torch.tensor(float(header["gamma"]), dtype=torch.float64),
        "rho": torch.tensor(float(header["rho"]), dtype=torch.float64),
    }


def from_package() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the regression of the installed ``brisque`` distribution, and facts about it.

    Only the distribution's files are read, so it need not be importable, which would require OpenCV.
    """
    svm = _package_file("models/svm.txt")
    # A pickle of two plain lists, which is loaded only for the conversion.
    ranges = pickle.loads(Path(str(_package_file("models/normalize.pickle").locate())).read_bytes())
    tensors = read_libsvm(svm.read_text()) | {
        "feature_min": torch.tensor(ranges["min_"], dtype=torch.float64),
        "feature_max": torch.tensor(ranges["max_"], dtype=torch.float64),
    }
    about = {
        "id": "brisque-package",
        "source": f"package brisque {distribution('brisque').version} (github.com/rehanguha/brisque)",
        "version": distribution("brisque").version,
        "licence": "Apache-2.0",
        "svm_txt_sha256": hashlib.sha256(svm.read_binary()).hexdigest(),
    }
    return tensors, about


def from_piq(weights: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return piq's regression from its published file, with piq's feature ranges and constants, and facts about it."""
    coefficients, vectors = torch.load(weights, map_location="cpu", weights_only=True)
    # piq has the ranges only in its scaling function f -> -1 + 2 (f - min) / (max - min), so two values determine them.
    at_zero = _scale_features(torch.zeros(FEATURES, dtype=torch.float64))
    slope = _scale_features(torch.ones(FEATURES, dtype=torch.float64)) - at_zero
    low = -(at_zero + 1) / slope
    tensors = {
        "support_vectors": vectors.double().contiguous(),
        "coefficients": coefficients.double().flatten(),
        "feature_min": low,
        "feature_max": low + 2 / slope,
        "gamma": torch.tensor(PIQ_GAMMA, dtype=torch.float64),
        "rho": torch.tensor(PIQ_RHO, dtype=torch.float64),
    }
    about = {
        "id": "piq",
        "source": "https://github.com/photosynthesis-team/piq/releases/download/v0.4.0/brisque_svm_weights.pt",
        "version": "v0.4.0",
        "licence": "Apache-2.0",
    }
    return tensors, about


def write(tensors: dict[str, Tensor], about: dict[str, Any], folder: Path) -> None:
    """Write ``model.safetensors`` and ``card.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    # A single metadata key, because safetensors writes several in random order, which would change the file's digest.
    save_file(tensors, folder / "model.safetensors", metadata={"about": json.dumps(about, sort_keys=True)})
    facts = about | {
        "support_vectors": len(tensors["support_vectors"]),
        "gamma": float(tensors["gamma"]),
        "rho": float(tensors["rho"]),
        "sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
    }
    (folder / "card.json").write_text(json.dumps(facts, indent=2) + "\n")


def package_licence() -> Path:
    """Return the path of the licence of the ``brisque`` distribution."""
    licence = next(file for file in distribution("brisque").files or [] if file.name == "LICENSE")
    return Path(str(licence.locate()))


def _package_file(end: str) -> PackagePath:
    return next(file for file in distribution("brisque").files or [] if str(file) == f"brisque/{end}")
