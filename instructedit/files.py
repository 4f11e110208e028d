"""Atomic file writes, canonical JSON and content hashes."""

import contextlib
import hashlib
import json
import os
import platform
import re
import secrets
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

TEMPORARY = ".tmp"
"""Suffix of files that are still being written. Their names begin with a dot, so listings skip them."""
_LEFTOVER_SECONDS = 24 * 3600
_HOST = re.sub(r"[^A-Za-z0-9-]", "_", platform.node())[:40]

ROOT = Path(__file__).resolve().parents[1]
"""Where the packages lie, with ``conf`` and ``data`` beside them."""


def located(path: Path | str) -> Path:
    """Return a path as the working directory has it, or else as this project has it, such as ``data/picturebook``."""
    path = Path(path)
    return ROOT / path if not path.exists() and (ROOT / path).exists() else path


@contextlib.contextmanager
def write_aside(path: Path, sync: bool = True) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path`` that is renamed to ``path`` once it is complete and on disk.

    The temporary name has random bytes and the host's name, so processes of several hosts may write the same path; the
    last one wins.

    Args:
        path: Target path; missing folders are created.
        sync: Whether to wait until the file is on disk, which takes some 20 ms. Without, ``path`` may be empty after a
            crash of the machine, though never after one of the process.

    Yields:
        The temporary file, in binary mode. If the body raises, it is removed and ``path`` is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The random part comes first because long names are truncated.
    temporary = path.parent / f".{secrets.token_hex(8)}-{_HOST}-{path.name[:100]}{TEMPORARY}"
    try:
        # tempfile would create files that only their owner can read, but caches and results are shared.
        with temporary.open("xb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folders: Iterable[Path]) -> None:
    """Remove the temporary files of killed processes; those of the last day may still be written to."""
    for leftover in (path for folder in folders for path in folder.glob(f".*{TEMPORARY}")):
        try:
            if time.time() - leftover.stat().st_mtime > _LEFTOVER_SECONDS:
                leftover.unlink()
        except FileNotFoundError:  # another process has removed it
            continue


def kind_of_file(path: Path) -> str:
    """Return what a path that is no regular file is, for messages, such as "a dead link" or "a named pipe"."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return "a dead link" if path.is_symlink() else "no such file"
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a file" if stat.S_ISREG(mode) else "a device")


def canonical_json(value: Any) -> str:
    """Return the canonical JSON of a value, so that equal values have equal hashes.

    Args:
        value: Mappings with text keys, lists and tuples (treated alike), text, numbers, booleans and None.

    Returns:
        ASCII JSON with sorted keys and no spaces; floats are written as by ``repr``, so 1 and 1.0 differ.

    Raises:
        TypeError: The value contains another type; the message says where.
        ValueError: The value contains NaN or infinity.
    """
    return json.dumps(_plain(value, "value"), sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """Return the SHA-256 of :func:`canonical_json`, in hex."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def _plain(value: Any, where: str) -> Any:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{where}: key {key!r} is not a text")
        return {key: _plain(item, f"{where}.{key}") for key, item in value.items()}
    raise TypeError(f"{where}: {type(value).__name__} has no canonical form; pass text, numbers, lists or mappings")
