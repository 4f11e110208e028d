"""Checkpoints: what they are called, what is in them, and loading each of them once per process."""

import gc
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from instructedit.cache import StageCache
from instructedit.types import ConfigError

T = TypeVar("T")
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Checkpoint:
    """A model by name: a local ``save_pretrained`` folder, or a hub id with its pinned revision."""

    id: str
    revision: str | None = None
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype={self.dtype!r}: accepted are {', '.join(DTYPES)}")
        if not Path(self.id).is_dir() and self.revision is None:
            raise ConfigError(
                f"checkpoint {self.id!r}: no such folder, and a hub id needs a pinned revision=<commit> beside it"
            )

    @property
    def fingerprint(self) -> dict[str, str]:
        """What decides the numbers: content for a folder (its path does not), id and revision for a hub id."""
        if Path(self.id).is_dir():
            return {"content": folder_hash(Path(self.id)), "dtype": self.dtype}
        return {"id": self.id, "revision": str(self.revision), "dtype": self.dtype}


@cache
def folder_hash(folder: Path) -> str:
    """SHA-256 over the weights and configurations in a folder, by relative path; 16 hex digits."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        # Cards and read-mes may be reworded without making another model.
        if path.is_file() and path.name not in ("README.md", "card.json", "LICENSE") and not path.name.startswith("."):
            with path.open("rb") as file:
                total.update(
                    f"{path.relative_to(folder)}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode()
                )
    return total.hexdigest()[:16]


class Pretrained(Protocol):
    """Anything of transformers or diffusers that loads from a folder or hub id."""

    @classmethod
    def from_pretrained(cls, path: str, **options: Any) -> Any:
        """Load it."""


class ModelPool:
    """Keeps what was loaded, by class, checkpoint, subfolder and device, so a sweep in one process loads once."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[Any, ...], Any] = {}

    def __len__(self) -> int:
        return len(self._loaded)

    def model(
        self, kind: type[Pretrained], checkpoint: Checkpoint, device: torch.device, subfolder: str | None = None
    ) -> Any:
        """A model in evaluation mode, without gradients, from safetensors only."""

        def load() -> Any:
            options = {"torch_dtype": DTYPES[checkpoint.dtype], "use_safetensors": True}
            loaded = self._from_pretrained(kind, checkpoint, subfolder, options)
            return loaded.to(device).eval().requires_grad_(False)

        return self.get((kind, checkpoint, subfolder, str(device)), load)

    def processor(self, kind: type[Pretrained], checkpoint: Checkpoint, subfolder: str | None = None) -> Any:
        """A tokenizer, processor or scheduler."""
        return self.get((kind, checkpoint, subfolder), lambda: self._from_pretrained(kind, checkpoint, subfolder, {}))

    def get(self, key: tuple[Any, ...], load: Callable[[], T]) -> T:
        """What is kept under ``key``, loaded if it is not there yet."""
        if key not in self._loaded:
            self._loaded[key] = load()
        kept: T = self._loaded[key]
        return kept

    def clear(self) -> None:
        """Let go of everything, and of the GPU memory that it held."""
        self._loaded.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @staticmethod
    def _from_pretrained(
        kind: type[Pretrained], checkpoint: Checkpoint, subfolder: str | None, options: dict[str, Any]
    ) -> Any:
        if subfolder is not None:
            options = options | {"subfolder": subfolder}
        if checkpoint.revision is not None:
            options = options | {"revision": checkpoint.revision}
        try:
            return kind.from_pretrained(checkpoint.id, **options)
        except (OSError, ValueError) as error:
            where = checkpoint.id if subfolder is None else f"{checkpoint.id}/{subfolder}"
            raise ConfigError(f"{kind.__name__} cannot be loaded from {where}: {str(error).splitlines()[0]}") from error


POOL = ModelPool()
"""The process's own pool; runs of one sweep share it."""


@dataclass(frozen=True)
class Context:
    """What every component is given: where models and cached stages come from, and where to compute."""

    pool: ModelPool
    cache: StageCache
    device: torch.device

    @staticmethod
    def create(cache_root: Path | None, device: str = "auto") -> "Context":
        """A context on the process's pool; ``device=auto`` takes a GPU where there is one."""
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            chosen = torch.device(device)
        except RuntimeError:
            raise ConfigError(f"device={device!r}: accepted are auto, cpu, cuda, cuda:N and mps") from None
        if chosen.type == "cuda" and not torch.cuda.is_available():
            raise ConfigError(f"device={device}: this machine has no CUDA device; device=cpu or device=auto work")
        return Context(POOL, StageCache(cache_root), chosen)


def checkpoint(value: "Checkpoint | Mapping[str, Any]") -> Checkpoint:
    """A checkpoint from a mapping of the configuration."""
    return value if isinstance(value, Checkpoint) else Checkpoint(**value)
