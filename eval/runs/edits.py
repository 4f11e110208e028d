"""Stored edits of single pictures. Their folders have a readable name and a hash of the inputs, as runs have."""

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
from instructedit.images import overlay, panel, save_png
from instructedit.types import Captions, ConfigError, EditRequest, EditResult, Failure

EDITED, MASK, PANEL, TRACE = "edited.png", "mask.png", "panel.png", "trace.json"
_NAME = 60


@dataclass(frozen=True)
class Order:
    """A requested edit."""

    picture: Path
    instruction: str
    captions: Captions | None
    seed: int
    method: str
    """Label of the method."""
    identity: Mapping[str, Any]
    """The method's configuration, from :func:`eval.runs.identity.fingerprinted`."""

    @property
    def address(self) -> str:
        """A hash of the inputs: the picture's bytes and stem, instruction, captions, method and seed."""
        return run_id(self.wish() | {"image": _sha256(self.picture), "id": self.picture.stem})

    def wish(self) -> dict[str, Any]:
        """Return all inputs except the picture."""
        captions = None if self.captions is None else asdict(self.captions)
        return {"method": self.identity, "instruction": self.instruction, "captions": captions, "seed": self.seed}

    def request(self, image: Image.Image) -> EditRequest:
        """Return the request to the method.

        Args:
            image: The picture, RGB.
        """
        return EditRequest(self.picture.stem, image, self.instruction, self.captions, self.seed)


def folder_name(order: Order, source: Path, of_folder: bool = False) -> str:
    """Return a readable, unique folder name: method, picture or folder, instruction, and a part of the hash.

    Args:
        order: The edit.
        source: The user's picture or folder of pictures.
        of_folder: Whether the name is for the edits of a folder of pictures.
    """
    words = f"{order.method.split()[0]} {source.stem} {order.instruction}".lower()
    readable = re.sub(r"[^\w]+", "_", words).strip("_")[:_NAME].rstrip("_")
    return f"{readable}-{_short(run_id(order.wish() | {'folder': str(source)}) if of_folder else order.address)}"


def picture_name(order: Order) -> str:
    """Return the name of a picture's subfolder for the edits of a folder of pictures."""
    return f"{order.picture.name[:_NAME]}-{_short(order.address)}"


def stored(folder: Path, order: Order) -> dict[str, Any] | None:
    """Return the trace of a finished edit; None if ``folder`` does not contain it completely.

    Raises:
        ConfigError: The folder contains another edit.
    """
    try:
        trace = json.loads((folder / TRACE).read_bytes())
        address = str(trace["address"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        address = "unknown"
    if address != order.address:
        raise ConfigError(f"{folder} contains another edit; out=<another folder> is accepted, or no out=")
    edited = folder / EDITED
    is_whole = trace.get("sha256") is not None and edited.is_file() and _sha256(edited) == trace["sha256"]
    return trace if is_whole else None


def store(folder: Path, order: Order, image: Image.Image | None, outcome: EditResult | Failure) -> dict[str, Any]:
    """Write the edited image, the mask over the input, a panel, and then the trace with all decisions.

    Args:
        folder: Folder of this edit.
        order: The requested edit.
        image: The input, RGB; None if it could not be read.
        outcome: The method's result; only the trace is written for a failure.

    Returns:
        The trace.
    """
    for name in (EDITED, MASK, PANEL, TRACE):
        (folder / name).unlink(missing_ok=True)
    if isinstance(outcome, EditResult) and image is not None:
        _draw(folder, order, image, outcome)
    head = {"address": order.address, "image": str(order.picture), "instruction": order.instruction}
    edited = folder / EDITED
    trace = head | {"method": order.method, "sha256": _sha256(edited) if edited.is_file() else None}
    trace |= {k: v for k, v in asdict(outcome).items() if k not in ("id", "image", "mask")}
    with write_aside(folder / TRACE) as file:
        file.write(json.dumps(trace, indent=2, ensure_ascii=False).encode() + b"\n")
    return trace


def _draw(folder: Path, order: Order, image: Image.Image, result: EditResult) -> None:
    shown = [(image, "input")]
    if result.mask is not None:
        masked = overlay(image, result.mask)
        save_png(masked, folder / MASK)
        shown.append((masked, str(result.decisions.segmentation_prompt or "mask")))
    save_png(result.image, folder / EDITED)
    shown.append((result.image, order.instruction))
    save_png(panel([i for i, _ in shown], [text for _, text in shown]), folder / PANEL)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _short(address: str) -> str:
    return address.rpartition("-")[2][:8]
