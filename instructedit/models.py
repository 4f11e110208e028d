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
    """Loaded models and processors by class, checkpoint, subfolder and device; each is loaded once per process.

    Args:
        free_memory: Returns the free memory of a device in bytes; by default a GPU's.
    """

    offload: float | None = None
    """GiB of a device's memory to keep free for activations: models that were used longest ago are moved to main memory
    until a model fits beside that much. None moves no model."""
    compiler: str | None = None
    """Backend of torch.compile for noise predictors, such as ``inductor``; None does not compile."""

    def __init__(self, free_memory: "Callable[[torch.device], int] | None" = None) -> None:
        self._loaded: dict[tuple[Any, ...], Any] = {}
        self._free_memory = free_memory
        self._resident: dict[tuple[Any, ...], Any] = {}

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
            model = self._from_pretrained(kind, checkpoint, subfolder, options).eval().requires_grad_(False)
            if device.type == "cuda":
                # Convolutions in half precision are fastest in this layout there. On CPUs it gained nothing.
                model = model.to(memory_format=torch.channels_last)
            if self.compiler and kind.__name__.startswith("UNet"):
                model.compile(backend=self.compiler)
            return model if self._is_managed(device) else model.to(device)

        key = (kind, checkpoint, subfolder, str(device))
        model = self.get(key, load)
        return self._placed(key, model, device) if self._is_managed(device) else model

    def _is_managed(self, device: "torch.device") -> bool:
        return self.offload is not None and (device.type == "cuda" or self._free_memory is not None)

    def _placed(self, key: tuple[Any, ...], model: Any, device: "torch.device") -> Any:
        """Move a model to the device, after others if it does not fit."""
        import torch

        if key not in self._resident:
            free = self._free_memory or (lambda device: torch.cuda.mem_get_info(device)[0])
            need = sum(p.numel() * p.element_size() for p in model.parameters()) + (self.offload or 0) * 2**30
            while self._resident and free(device) < need:
                oldest = next(iter(self._resident))
                self._resident.pop(oldest).to("cpu")
                if device.type == "cuda":
                    torch.cuda.empty_cache()  # mem_get_info counts what the allocator keeps as used
            model = model.to(device)
        self._resident.pop(key, None)
        self._resident[key] = model  # the last one is the latest used
        return model

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
        self._resident.clear()
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
    def create(
        cache_root: Path | None, device: str = "auto", offload: float | None = None, compiler: str | None = None
    ) -> "Context":
        """Create a context with the process's pool; ``device=auto`` selects a GPU if there is one.

        Args:
            cache_root: Folder of the stage cache; None stores nothing.
            device: Such as ``cuda:0``.
            offload: See :attr:`ModelPool.offload`.
            compiler: See :attr:`ModelPool.compiler`.

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
        POOL.offload, POOL.compiler = offload, compiler
        return Context(POOL, StageCache(cache_root), chosen)
