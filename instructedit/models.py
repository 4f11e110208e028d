"""Loading checkpoints once per process, and the context that components receive."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from instructedit.cache import StageCache
from instructedit.checkpoints import Checkpoint, folder_hash
from instructedit.types import ConfigError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
__all__ = ["POOL", "Checkpoint", "Context", "ModelPool", "Pretrained", "folder_hash"]


class Pretrained(Protocol):
    """A class of transformers or diffusers that loads from a folder or hub id."""

    @classmethod
    def from_pretrained(cls, path: str, **options: Any) -> Any:
        """Return a loaded instance."""


class ModelPool:
    """Loaded models and processors by class, checkpoint, subfolder and device; each is loaded once per process."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[Any, ...], Any] = {}

    def __len__(self) -> int:
        return len(self._loaded)

    def model(
        self, kind: type[Pretrained], checkpoint: Checkpoint, device: "torch.device", subfolder: str | None = None
    ) -> Any:
        """Return a model in evaluation mode, without gradients, loaded from safetensors only.

        Raises:
            ConfigError: The checkpoint is missing or cannot be loaded.
        """
        import torch  # takes seconds, and a sweep that is finished needs none

        def load() -> Any:
            # transformers and diffusers use different names for this parameter.
            dtype = "dtype" if kind.__module__.startswith("transformers.") else "torch_dtype"
            options = {dtype: getattr(torch, checkpoint.dtype), "use_safetensors": True}
            model = self._from_pretrained(kind, checkpoint, subfolder, options)
            return model.to(device).eval().requires_grad_(False)

        return self.get((kind, checkpoint, subfolder, str(device)), load)

    def processor(self, kind: type[Pretrained], checkpoint: Checkpoint, subfolder: str | None = None) -> Any:
        """Return a tokenizer, processor, scheduler or configuration.

        Raises:
            ConfigError: The checkpoint is missing or cannot be loaded.
        """
        return self.get((kind, checkpoint, subfolder), lambda: self._from_pretrained(kind, checkpoint, subfolder, {}))

    def get(self, key: tuple[Any, ...], load: Callable[[], T]) -> T:
        """Return the object stored under ``key``; load and store it if there is none."""
        if key not in self._loaded:
            self._loaded[key] = load()
        value: T = self._loaded[key]
        return value

    def clear(self) -> None:
        """Remove all objects and free their GPU memory."""
        import torch

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
"""The pool that all runs of a process share."""


@dataclass(frozen=True)
class Context:
    """Models, stage cache and device, passed to every component."""

    pool: ModelPool
    cache: StageCache
    device: "torch.device"

    @staticmethod
    def create(cache_root: Path | None, device: str = "auto") -> "Context":
        """Create a context with the process's pool; ``device=auto`` selects a GPU if there is one.

        Raises:
            ConfigError: The device is unknown or not available.
        """
        import torch

        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            chosen = torch.device(device)
        except RuntimeError:
            raise ConfigError(f"device={device!r}: accepted are auto, cpu, cuda, cuda:N and mps") from None
        if chosen.type == "cuda" and not torch.cuda.is_available():
            raise ConfigError(f"device={device}: this machine has no CUDA device; device=cpu or device=auto work")
        return Context(POOL, StageCache(cache_root), chosen)
