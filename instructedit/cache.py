"""Content-addressed disk cache for the results of expensive stages (DESIGN §5)."""

import hashlib
import json
import logging
import re
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from instructedit.files import TEMPORARY, canonical_json, digest, write_aside
from instructedit.images import hash_image

if TYPE_CHECKING:
    # torch takes seconds to import, and a sweep that is finished needs none.
    from torch import Tensor

__all__ = ["StageCache", "hash_image"]

log = logging.getLogger(__name__)

_UNSIGNED = b"0" * 64
"""Zeros that stand for the checksum in a tensor file while the checksum itself is computed."""
_LEFTOVER_SECONDS = 24 * 3600
_NAME = re.compile(r"[A-Za-z0-9_-]+")


class StageCache:
    """Cache of tensors and JSON values by content address, shared by any number of processes.

    Files are written under a temporary name and renamed. Each holds a checksum that is verified on every read; a
    damaged file is reported, deleted and counted as a miss. When the disk is full, the run continues without caching.

    Args:
        root: Folder of ``<stage>/<first two digits of key>/<key>.safetensors`` and ``.json``; None stores nothing.
    """

    hits: Counter[str]
    """Number of cache hits, by stage."""
    misses: Counter[str]
    """Number of cache misses, by stage."""

    def __init__(self, root: Path | None) -> None:
        self.root = root
        self.hits = Counter()
        self.misses = Counter()
        if root is not None:
            _sweep_leftovers(root)

    @staticmethod
    def key(stage: str, version: int | str, **parts: Any) -> str:
        """Return the address of a result.

        Args:
            stage: The stage's name, such as ``inversion``.
            version: Version of the stage's code; increase it when the code's results change.
            **parts: Everything else that the result depends on: parameters, keys of the inputs, checkpoint revision,
                dtype, seed. Text, numbers, lists or tuples, and mappings.

        Returns:
            64 hex digits.
        """
        return digest({"stage": stage, "version": version, "parts": parts})

    def get(self, stage: str, key: str) -> "dict[str, Tensor] | None":
        """Return the stored tensors, on the CPU; None if they are missing or damaged."""
        data = self._read(stage, key, "safetensors")
        if data is None:
            return None
        from safetensors.torch import load

        path = self._path(stage, key, "safetensors")
        try:
            _verify(data)
            tensors = load(data)
        except (ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            self._damaged(stage, path, error)
            return None
        self.hits[stage] += 1
        return tensors

    def put(self, stage: str, key: str, tensors: "Mapping[str, Tensor]") -> None:
        """Store tensors from any device and in any memory layout."""
        if self.root is None:
            return
        from safetensors.torch import save

        # safetensors refuses tensors that share memory, such as slices of one trajectory, so they are copied.
        copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
        self._write(stage, key, "safetensors", _sign(save(copies, {"sha256": _UNSIGNED.decode()})))

    def drop(self, stage: str, key: str) -> None:
        """Remove stored tensors, such as the progress of a stage that is finished."""
        if self.root is not None:
            self._path(stage, key, "safetensors").unlink(missing_ok=True)

    def get_json(self, stage: str, key: str) -> Any | None:
        """Return the stored JSON value; None if it is missing or damaged. Tuples are returned as lists."""
        data = self._read(stage, key, "json")
        if data is None:
            return None
        try:
            entry = json.loads(data)
            if entry["sha256"] != digest(entry["value"]):
                raise ValueError("checksum differs")
        except (ValueError, KeyError, TypeError) as error:
            self._damaged(stage, self._path(stage, key, "json"), error)
            return None
        self.hits[stage] += 1
        return entry["value"]

    def put_json(self, stage: str, key: str, value: Any) -> None:
        """Store a JSON value.

        Raises:
            ValueError: The value is None, which :meth:`get_json` returns for a missing value.
        """
        if value is None:
            raise ValueError("None cannot be told from a missing value; wrap it in a list or mapping")
        entry = canonical_json({"sha256": digest(value), "value": value})
        if self.root is not None:
            self._write(stage, key, "json", entry.encode())

    def _path(self, stage: str, key: str, suffix: str) -> Path:
        if self.root is None or not _NAME.fullmatch(stage) or not _NAME.fullmatch(key):
            raise ValueError(f"stage {stage!r} and key {key!r} become file names: letters, digits, - and _ only")
        return self.root / stage / key[:2] / f"{key}.{suffix}"

    def _read(self, stage: str, key: str, suffix: str) -> bytes | None:
        try:
            if self.root is not None:
                return self._path(stage, key, suffix).read_bytes()
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning("cache: cannot read (%s); computing again", error)
        self.misses[stage] += 1
        return None

    def _write(self, stage: str, key: str, suffix: str, data: bytes) -> None:
        try:
            with write_aside(self._path(stage, key, suffix)) as file:
                file.write(data)
        except OSError as error:
            log.warning("cache: cannot store a result of stage %s (%s); going on without", stage, error)

    def _damaged(self, stage: str, path: Path, error: Exception) -> None:
        # The file is deleted so that it is reported once. If another process has just replaced it by an intact file,
        # that file is deleted too and its result is computed once more.
        log.warning("cache: %s is damaged (%s); deleted, computing again", path, error)
        path.unlink(missing_ok=True)
        self.misses[stage] += 1


def _sign(data: bytes) -> bytes:
    """Replace the zeros in the metadata of a safetensors file by the file's checksum."""
    return data.replace(_UNSIGNED, hashlib.sha256(data).hexdigest().encode(), 1)


def _verify(data: bytes) -> None:
    header = data[8 : 8 + int.from_bytes(data[:8], "little")]
    signature = json.loads(header)["__metadata__"]["sha256"].encode() if header else b""
    if len(signature) != len(_UNSIGNED):
        raise ValueError("no checksum")
    if hashlib.sha256(data.replace(signature, _UNSIGNED, 1)).hexdigest().encode() != signature:
        raise ValueError("checksum differs")


def _sweep_leftovers(root: Path) -> None:
    """Remove old temporary files of killed processes; younger ones may still be written to."""
    for leftover in root.glob(f"*/*/.*{TEMPORARY}"):
        try:
            if time.time() - leftover.stat().st_mtime > _LEFTOVER_SECONDS:
                leftover.unlink()
        except FileNotFoundError:  # another process has removed it
            continue
