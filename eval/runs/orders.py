"""Shared by stored edits of pictures, clips and scenes: a requested edit, its address, and the folder that holds it."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from eval.runs.identity import run_id
from instructedit.files import write_aside
from instructedit.types import Captions, ConfigError, EditRequest

TRACE = "trace.json"
LONGEST = 60
"""Characters of the readable part of a folder's name."""


@dataclass(frozen=True)
class Order:
    """A requested edit, without what is edited."""

    instruction: str
    captions: Captions | None
    seed: int
    method: str
    """Label of the method."""
    identity: Mapping[str, Any]
    """The method's configuration, from :func:`eval.runs.identity.fingerprinted`."""

    def inputs(self) -> dict[str, Any]:
        """Return all inputs except what is edited."""
        captions = None if self.captions is None else asdict(self.captions)
        return {"method": self.identity, "instruction": self.instruction, "captions": captions, "seed": self.seed}

    def request(self, name: str, image: Image.Image) -> EditRequest:
        """Return the request to the method.

        Args:
            name: Id of the request.
            image: The picture, RGB.
        """
        return EditRequest(name, image, self.instruction, self.captions, self.seed)

    def folder_name(self, source: Path, address: str) -> str:
        """Return a readable, unique folder name: method, source, instruction, and a part of the address."""
        words = f"{self.method.split()[0]} {source.stem} {self.instruction}".lower()
        readable = re.sub(r"[^\w]+", "_", words).strip("_")[:LONGEST].rstrip("_")
        return f"{readable}-{short(address)}"

    def head(self, address: str) -> dict[str, Any]:
        """Return what every trace begins with."""
        return {"address": address, "instruction": self.instruction, "method": self.method}


def address_of(parts: Mapping[str, Any]) -> str:
    """Return the address of an edit: a hash of all its inputs."""
    return run_id(parts)


def short(address: str) -> str:
    """Return the part of an address that is in names."""
    return address.rpartition("-")[2][:8]


def finished(folder: Path, address: str, edited: str) -> dict[str, Any] | None:
    """Return the trace of a finished edit; None if the folder does not contain it completely.

    Args:
        folder: Folder of the edit.
        address: The edit's address.
        edited: Name of the edited file or folder in it.

    Raises:
        ConfigError: The folder contains another edit.
    """
    try:
        trace: dict[str, Any] = json.loads((folder / TRACE).read_bytes())
        stored = str(trace["address"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        stored = "unknown"
    if stored != address:
        raise ConfigError(f"{folder} contains another edit; out=<another folder> is accepted, or no out=")
    path = folder / edited
    return trace if trace.get("sha256") is not None and path.exists() and sha256(path) == trace["sha256"] else None


def write_trace(folder: Path, trace: Mapping[str, Any]) -> None:
    """Write the trace, last of all files of an edit."""
    with write_aside(folder / TRACE) as file:
        file.write(json.dumps(trace, indent=2, ensure_ascii=False).encode() + b"\n")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, or of all files below a folder, in hex."""
    total = hashlib.sha256()
    for part in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
        total.update(part.read_bytes())
    return total.hexdigest()
