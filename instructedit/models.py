"""Loading checkpoints, each of them once per process."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from instructedit.cache import StageCache
from instructedit.checkpoints import DTYPES as DTYPE_NAMES
from instructedit.checkpoints import Checkpoint, folder_hash
from instructedit.types import ConfigError

T = TypeVar("T")
DTYPES = {name: getattr(torch, name) for name in DTYPE_NAMES}
__all__ = ["DTYPES", "POOL", "Checkpoint", "Context", "ModelPool", "Pretrained", "folder_hash"]


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
            # Two libraries, two names for one thing.
            dtype = "dtype" if kind.__module__.startswith("transformers.") else "torch_dtype"
            options = {dtype: DTYPES[checkpoint.dtype], "use_safetensors": True}
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
        folder = checkpoint.part_folder(subfolder)
        if subfolder is not None:
            options = options | {"subfolder": subfolder}
        if checkpoint.variant and any((folder / (subfolder or "")).glob(f"*.{checkpoint.variant}.safetensors")):
            options = options | {"variant": checkpoint.variant}
        try:
            return kind.from_pretrained(str(folder), local_files_only=True, **options)
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
