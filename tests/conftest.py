"""Settings of all tests: offline, few threads, and shape annotations checked if beartype is installed."""

import importlib.util
import os
import sys
from collections.abc import Callable

# Set before any library that reads these variables is imported.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "disabled"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

if importlib.util.find_spec("beartype"):
    from jaxtyping import install_import_hook

    import tests.typechecking  # noqa: F401  # the hook expects what it names to be imported already

    # Where tensors are computed with; not types.py, whose fields hold numpy's numbers as well as Python's.
    TENSOR_MODULES = [
        "instructedit.diffusion",
        "instructedit.latent_diffusion",
        "instructedit.editor",
        "instructedit.images",
        "instructedit.segmenter.grounded_sam",  # not original.py: the checker draws from random
        "baselines",
        *(f"eval.metrics.{name}" for name in ("brisque", "clip", "lpips", "mask_iou", "region", "registration")),
    ]
    install_import_hook(TENSOR_MODULES, "tests.typechecking.check")

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

from instructedit import checkpoints


@pytest.fixture(autouse=True, scope="session")
def _few_threads() -> None:
    # The models are tiny, so more threads are slower, in particular under pytest-xdist.
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _hashes_of_test_models_are_not_kept_in_the_users_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    checkpoints.KEPT = tmp_path_factory.mktemp("kept") / "fingerprints"


@pytest.fixture
def run_script(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run a script's main with arguments; returns the exit code."""

    def call(main: Callable[[], int], *arguments: object) -> int:
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["script", *map(str, arguments)])
        return main()

    return call
