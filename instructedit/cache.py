"""Content-addressed disk cache for the results of expensive stages (DESIGN §5)."""

import contextlib
import functools
import hashlib
import inspect
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from instructedit.files import canonical_json, digest, remove_leftovers, write_aside
from instructedit.images import hash_image

if TYPE_CHECKING:
    # torch takes seconds to import, and a sweep that is finished needs none.
    from torch import Tensor

__all__ = ["StageCache", "code_of", "hash_image"]

log = logging.getLogger(__name__)

_UNSIGNED = b"0" * 64
"""Zeros that stand for the checksum in a tensor file while the checksum itself is computed."""
_PATIENCE_SECONDS = 15 * 60
"""How long a process waits for another one that computes the same result. A process that dies releases its locks at
once; this bounds the wait for one that hangs."""
_NAME = re.compile(r"[A-Za-z0-9_-]+")


class StageCache:
    """Cache of tensors and JSON values by content address, shared by any number of processes.

    Files are written under a temporary name and renamed. Each holds a checksum that is verified on every read; a
    damaged file is reported, deleted and counted as a miss. When the disk is full, the run continues without caching.
    Processes that need the same result at the same time compute it once, see :meth:`once`.

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
            remove_leftovers(root.glob("*/*"))

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

    def once(
        self, stage: str, keys: Sequence[str], compute: "Callable[[list[int]], Sequence[dict[str, Tensor]]]"
    ) -> "tuple[list[dict[str, Tensor]], list[bool]]":
        """Return stored tensors; those that are missing are computed, by one process, and stored.

        Args:
            stage: The stage.
            keys: Addresses; equal ones are computed once.
            compute: Gets the indices into ``keys`` of what is missing, and returns one mapping for each.

        Returns:
            One mapping per key, on the CPU or where ``compute`` left it, and whether this call computed it.
        """
        first: dict[str, int] = {}
        for index, key in enumerate(keys):
            first.setdefault(key, index)
        found = {key: entry for key in first if (entry := self.get(stage, key)) is not None}
        computed: set[int] = set()
        if len(found) < len(first):
            with self.lock(stage, [key for key in first if key not in found]):
                # Another process may have stored them while this one waited for the lock.
                missing = [i for key, i in first.items() if key not in found and not self._caught_up(stage, key, found)]
                for index, new in zip(missing, compute(missing) if missing else (), strict=True):
                    found[keys[index]] = new
                    self.put(stage, keys[index], new)
                computed.update(missing)
        return [found[key] for key in keys], [index in computed for index in range(len(keys))]

    def _caught_up(self, stage: str, key: str, found: "dict[str, dict[str, Tensor]]") -> bool:
        entry = self.get(stage, key) if self._exists(stage, key, "safetensors") else None
        if entry is None:
            return False
        found[key] = entry
        return True

    def _exists(self, stage: str, key: str, suffix: str) -> bool:
        return self.root is not None and self._path(stage, key, suffix).exists()

    def once_json(self, stage: str, key: str, compute: Callable[[], Any]) -> Any:
        """Return a stored JSON value; a missing one is computed, by one process, and stored.

        What ``compute`` raises is passed on, and nothing is stored.
        """
        value = self.get_json(stage, key)
        if value is None:
            with self.lock(stage, [key]):
                value = self.get_json(stage, key) if self._exists(stage, key, "json") else None
                if value is None:
                    value = compute()
                    self.put_json(stage, key, value)
        return value

    @contextlib.contextmanager
    def lock(self, stage: str, keys: Sequence[str]) -> Iterator[None]:
        """Keep other processes from computing these results meanwhile; they wait, then find them stored.

        The lock of a process that dies is released. A lock file serves all keys with the same three first digits, and
        locks are taken in order, so that no two processes wait for each other; a caller that holds the lock of a stage
        may only ask for locks of earlier stages. Where locks are not available, work is done twice at worst.
        """
        names = sorted({key[:3] for key in keys}) if self.root is not None else []
        with contextlib.ExitStack() as held:
            for name in names:
                path = self._path(stage, name, "lock").parent.parent / "locks" / f"{name}.lock"
                try:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    held.enter_context(FileLock(path, timeout=_PATIENCE_SECONDS))
                except Timeout:
                    log.warning("cache: another process has held %s for long; computing beside it", path)
                except OSError as error:
                    log.warning("cache: no lock for stage %s (%s); going on without", stage, error)
            yield

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


@functools.cache
def code_of(*objects: Any) -> str:
    """Return a hash of the source files in which classes, functions or modules are defined.

    It is a stage's version where the code of this project, rather than a library, determines the results: changed code
    then finds nothing under its keys.
    """
    files = sorted({inspect.getfile(each) for each in objects})
    return hashlib.sha256(b"".join(hashlib.sha256(Path(file).read_bytes()).digest() for file in files)).hexdigest()[:16]
