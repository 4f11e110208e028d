"""Provenance of a run: package versions, commit and machine. It is recorded but not part of the run's address."""

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
"""Packages that can change results."""
CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Git:
    """Commit of the code, and whether it has uncommitted changes; both are None outside a git checkout."""

    commit: str | None = None
    dirty: bool | None = None


@dataclass(frozen=True)
class Environment:
    """Software environment of a process."""

    python: str | None = None
    platform: str | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    """Version by name; packages that are not installed are omitted."""
    git: Git = Git()


@dataclass(frozen=True)
class Session(Environment):
    """One start or continuation of a run. Fields that an earlier version did not record are empty."""

    started: str | None = None
    """Start time in ISO 8601."""
    finished: str | None = None
    """End time; None while the session runs, or if it was interrupted."""
    device: str = "unknown"
    """Such as ``cuda:0 (NVIDIA A100)``."""
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    """Revision of each checkpoint id."""
    process: str = ""
    """Such as ``process 1234 on gpu07``."""
    samples: int | None = None
    """Number of samples of the benchmark; None in runs of earlier versions."""
    peak_gib: float | None = None
    """Peak memory of the edits in GiB, see :mod:`eval.runs.memory`; None if the session edited nothing."""


@dataclass(frozen=True)
class Manifest:
    """Content of ``manifest.json``. Each session has its own environment, because a run may change machines."""

    run_id: str = ""
    sessions: tuple[Session, ...] = ()

    @property
    def started(self) -> str | None:
        """Start time of the first session."""
        return self.sessions[0].started if self.sessions else None

    @property
    def finished(self) -> str | None:
        """End time of the last session; None while it runs, or if it was interrupted."""
        return self.sessions[-1].finished if self.sessions else None

    def to_json(self) -> dict[str, Any]:
        """Return the content of the file."""
        first, later = ("started", "finished", "device", "checkpoints"), ("process", "samples", "peak_gib")
        sessions = [
            {key: values[key] for key in first} | {k: v for k, v in values.items() if v or k not in later}
            for values in map(asdict, self.sessions)
        ]
        return {"run_id": self.run_id, "started": self.started, "finished": self.finished, "sessions": sessions}

    @staticmethod
    def from_json(text: bytes) -> "Manifest":
        """Parse the output of :meth:`to_json`.

        Raises:
            ValueError: The text is not a manifest.
        """
        return _MANIFEST.validate_json(text)


_MANIFEST = TypeAdapter(Manifest)


def environment(checkout: Path = CHECKOUT) -> Environment:
    """Return the environment of this process.

    Args:
        checkout: Root of the repository.
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
    # A folder without .git may be inside another repository, whose commit does not describe this code.
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
