"""Download weights that are not on the hub as safetensors: torchvision's AlexNet (LPIPS) and piq's SVM (BRISQUE)."""

import json
import pickle
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from eval.metrics import brisque_weights
from instructedit.files import write_aside
from instructedit.hub import FetchError


def alexnet(weights: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the feature layers of torchvision's AlexNet, which LPIPS uses, and facts about the weights."""
    state = torch.load(weights, map_location="cpu", weights_only=True)
    features = {name: value.contiguous() for name, value in state.items() if name.startswith("features.")}
    return features, {"id": "torchvision AlexNet_Weights.IMAGENET1K_V1", "licence": "BSD-3-Clause"}


CONVERTERS: Mapping[str, Callable[[Path], tuple[dict[str, Tensor], dict[str, Any]]]] = {
    "alexnet-owt-7be5be79.pth": alexnet,
    "brisque_svm_weights.pt": brisque_weights.from_piq,
}
"""By file name: functions from pickled weights to tensors and facts about the weights."""


def convert(url: str, folder: Path) -> None:
    """Download pickled weights, load them without running code, and write ``folder/model.safetensors``.

    Raises:
        FetchError: The download or conversion failed; the message gives the reason and the remedy.
    """
    name = url.rpartition("/")[2]
    if name not in CONVERTERS:
        raise FetchError(f"source={url}: files that are converted are {', '.join(CONVERTERS)}")
    digest = re.search(r"-([0-9a-f]{8,})\.", name)  # torchvision's file names contain a hash of the content
    with tempfile.TemporaryDirectory() as temporary:
        try:
            torch.hub.download_url_to_file(url, f"{temporary}/{name}", digest and digest.group(1), progress=False)
            tensors, about = CONVERTERS[name](Path(temporary) / name)
        except OSError as error:
            raise FetchError(
                f"{url}: {error}; try again, or download it elsewhere and name it by source=file:///path/{name}"
            ) from error
        except (RuntimeError, pickle.UnpicklingError, ValueError, AttributeError) as error:
            raise FetchError(f"{url}: not the expected file ({str(error).splitlines()[0]})") from error
    with write_aside(folder / "model.safetensors") as file:
        file.write(save(tensors, metadata={"about": json.dumps(about | {"source": url}, sort_keys=True)}))
