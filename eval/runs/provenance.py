"""What a run ran on: package versions, the code's commit, the machine. Recorded with it, never part of its address."""

import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

PACKAGES = (
    "torch", "torchvision", "transformers", "diffusers", "accelerate", "safetensors", "segment-anything",
    "groundingdino-py", "openai", "hydra-core", "numpy", "scipy", "pillow", "pandas", "torchmetrics", "piq", "lpips",
    "open-clip-torch",
)  # fmt: skip
"""Those that can change a number."""
CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Git:
    """The state of the code; both None outside a git checkout."""

    commit: str | None = None
    dirty: bool | None = None


@dataclass(frozen=True)
class Environment:
    """Where a process runs."""

    python: str | None = None
    platform: str | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    """Version by name; what is not installed is left out."""
    git: Git = Git()


@dataclass(frozen=True)
class Session(Environment):
    """One time that a run was begun or taken up again. What an earlier version did not note is left empty."""

    started: str | None = None
    """In ISO 8601, as all times."""
    finished: str | None = None
    """None while it runs, or where it was interrupted."""
    device: str = "unknown"
    """Such as ``cuda:0 (NVIDIA A100)``."""
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    """Revision of each checkpoint id."""


@dataclass(frozen=True)
class Manifest:
    """``manifest.json``. Each session keeps its own account, because a run may change machines."""

    run_id: str = ""
    sessions: tuple[Session, ...] = ()

    @property
    def started(self) -> str | None:
        """When the first session began."""
        return self.sessions[0].started if self.sessions else None

    @property
    def finished(self) -> str | None:
        """When the last session ended; None while it runs, or where it was interrupted."""
        return self.sessions[-1].finished if self.sessions else None

    def to_json(self) -> dict[str, Any]:
        """What the file holds."""
        first = ("started", "finished", "device", "checkpoints")
        sessions = [{key: own[key] for key in first} | own for own in map(asdict, self.sessions)]
        return {"run_id": self.run_id, "started": self.started, "finished": self.finished, "sessions": sessions}

    @staticmethod
    def from_json(text: bytes) -> "Manifest":
        """Read what :meth:`to_json` gave.

        Raises:
            ValueError: It is no manifest.
        """
        return _MANIFEST.validate_json(text)


_MANIFEST = TypeAdapter(Manifest)


def environment(checkout: Path = CHECKOUT) -> Environment:
    """Describe where this process runs.

    Args:
        checkout: The repository's root.
    """
    return Environment(platform.python_version(), platform.platform(), packages(), _git(checkout))


def packages() -> dict[str, str]:
    """Return the version of each installed package of :data:`PACKAGES`."""
    return {name: version for name in PACKAGES if (version := _version(name)) is not None}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(checkout: Path) -> Git:
    # Without its own .git the checkout may lie inside another repository, whose commit says nothing.
    if not (checkout / ".git").exists():
        return Git()
    try:
        commit, changes = (
            subprocess.run(
                ["git", "-C", str(checkout), *arguments], capture_output=True, text=True, check=True, timeout=30
            ).stdout.strip()
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.SubprocessError):  # no git, no commit yet, or another user's checkout
        return Git()
    return Git(commit, bool(changes))
