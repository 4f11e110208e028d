"""Reader of W&B's offline file: W&B's messages in LevelDB's log format (32 KiB blocks of crc, length, type)."""

import json
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

BLOCK, FILE_HEADER, HEADER = 32768, 7, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def chunks(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and content of each fragment, after checking its checksum."""
    assert data[:4] == b":W&B"
    place = FILE_HEADER
    while place + HEADER <= len(data):
        left = BLOCK - place % BLOCK
        if left < HEADER:
            place += left
            continue
        crc, length, kind = struct.unpack("<IHB", data[place : place + HEADER])
        content = data[place + HEADER : place + HEADER + length]
        if len(content) < length:
            return
        assert zlib.crc32(bytes([kind]) + content) == crc
        yield kind, content
        place += HEADER + length


def records(path: Path, seconds: float = 20) -> list[Any]:
    """All messages of a ``run-<id>.wandb``, as W&B's own ``Record``.

    W&B's service writes the last of them a moment after the run has ended, so they are waited for.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = _records(path)
        if found and found[-1].HasField("exit"):
            return found
        assert time.monotonic() < deadline, f"{path}: {len(found)} messages, and the end is missing"
        time.sleep(0.05)


def _records(path: Path) -> list[Any]:
    read: Any = vars(wandb_internal_pb2)["Record"].FromString
    found, open_ = [], b""
    for kind, content in chunks(path.read_bytes()):
        open_ = content if kind in (FULL, FIRST) else open_ + content
        if kind in (FULL, LAST):
            found.append(read(open_))
    return found


def items(updates: Any) -> dict[str, Any]:
    """Keys and values of a configuration, a summary or a row of the history."""
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in updates}
