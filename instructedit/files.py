"""Writing files so that nobody ever reads half of one, and naming things by their content."""

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

TEMPORARY = ".tmp"
"""Suffix of files that are still being written; with a leading dot, so that no listing takes them for results."""


@contextlib.contextmanager
def write_aside(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path`` that takes its name once it is whole and on the disk.

    The temporary name is unique, so two processes may write the same path: the last one wins, whole.

    Args:
        path: Where the file shall stand; missing folders are made.

    Yields:
        The temporary file, for bytes. If the body raises, it is removed and ``path`` is as before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The random part first: a long name cut short would no longer be unique.
    temporary = path.parent / f".{secrets.token_hex(8)}-{path.name[:100]}{TEMPORARY}"
    try:
        # Not tempfile: its files are readable by their owner only, and caches and results are shared.
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def canonical_json(value: Any) -> str:
    """Write a value as JSON in one way only, so that equal values have equal hashes.

    Args:
        value: Mappings with text keys, lists and tuples (the same here), text, numbers, booleans and None.

    Returns:
        Keys sorted, no spaces, ASCII; floats as ``repr`` writes them, so 1 and 1.0 differ.

    Raises:
        TypeError: For anything else, by its place; ``str()`` of it might name an address in memory.
        ValueError: For NaN and infinities.
    """
    return json.dumps(_plain(value, "value"), sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 of :func:`canonical_json`, in hex."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def _plain(value: Any, where: str) -> Any:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{where}: key {key!r} is no text")
        return {key: _plain(item, f"{where}.{key}") for key, item in value.items()}
    raise TypeError(f"{where}: {type(value).__name__} has no canonical form; pass text, numbers, lists or mappings")
