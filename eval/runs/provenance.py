"""What a run ran on: package versions, the code's commit, the machine. Recorded with it, never part of its address."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch", "torchvision", "transformers", "diffusers", "accelerate", "safetensors", "segment-anything",
    "groundingdino-py", "openai", "hydra-core", "numpy", "scipy", "pillow", "pandas", "torchmetrics", "piq", "lpips",
    "open-clip-torch",
)  # fmt: skip
"""Those that can change a number."""
CHECKOUT = Path(__file__).resolve().parents[2]


def environment(checkout: Path = CHECKOUT) -> dict[str, Any]:
    """Describe where this process runs.

    Args:
        checkout: The repository's root.

    Returns:
        ``python``, ``platform``, ``packages`` (name to version; what is not installed is left out) and ``git``
        (``commit`` and ``dirty``; both None outside a git checkout).
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version for name in PACKAGES if (version := _version(name)) is not None},
        "git": _git(checkout),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(checkout: Path) -> dict[str, Any]:
    unknown = {"commit": None, "dirty": None}
    # Without its own .git the checkout may lie inside another repository, whose commit says nothing.
    if not (checkout / ".git").exists():
        return unknown
    try:
        commit, changes = (
            subprocess.run(
                ["git", "-C", str(checkout), *arguments], capture_output=True, text=True, check=True, timeout=30
            ).stdout.strip()
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.SubprocessError):  # no git, no commit yet, or another user's checkout
        return unknown
    return {"commit": commit, "dirty": bool(changes)}
