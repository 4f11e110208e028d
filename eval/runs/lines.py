"""Lines that are appended to a file by several processes, durably and whole."""

import errno
import os
from io import FileIO
from pathlib import Path

Stamp = tuple[int, int, int]
"""What changes with each write of a file."""


def append_line(path: Path, line: bytes) -> None:
    """Append a line and wait until it is on disk; what a killed process left after the last line is removed.

    The caller holds the lock of the file.

    Raises:
        OSError: The line cannot be written; the file is as before.
    """
    with path.open("ab+", buffering=0) as file:
        before = _cut_incomplete_line(file)
        try:
            if file.write(line + b"\n") != len(line) + 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(file.fileno())
        except OSError:
            # An incomplete line must not precede the next one.
            file.truncate(before)
            raise


def stamp(path: Path) -> Stamp | None:
    """Return what changes with each write of a file; None if it does not exist."""
    try:
        # NFS may answer a stat from its cache, but not an open.
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _cut_incomplete_line(file: FileIO) -> int:
    """Remove what a killed process left after the last line, and return the size of the file."""
    size = end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 4096)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end < size:
        file.truncate(end)
    return end
