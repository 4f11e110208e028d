"""Edits of single pictures on disk: addressed by what decides them, as runs are, with a readable name in front."""

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
    """An edit that is asked for."""

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
        """A hash of what decides the edit: the picture's bytes and stem, the words, the method and the seed."""
        return run_id(self.wish() | {"image": _sha256(self.picture), "id": self.picture.stem})

    def wish(self) -> dict[str, Any]:
        """All that decides the edit but the picture."""
        captions = None if self.captions is None else asdict(self.captions)
        return {"method": self.identity, "instruction": self.instruction, "captions": captions, "seed": self.seed}

    def request(self, image: Image.Image) -> EditRequest:
        """The request to the method.

        Args:
            image: The picture, RGB.
        """
        return EditRequest(self.picture.stem, image, self.instruction, self.captions, self.seed)


def folder_name(order: Order, source: Path, of_folder: bool = False) -> str:
    """A readable name that no other edit has: method, picture or folder, instruction, and the end of a hash.

    Args:
        order: The edit.
        source: The picture, or the folder of pictures, that the user named.
        of_folder: Whether the name is for the edits of a whole folder.
    """
    words = f"{order.method.split()[0]} {source.stem} {order.instruction}".lower()
    readable = re.sub(r"[^\w]+", "_", words).strip("_")[:_NAME].rstrip("_")
    return f"{readable}-{_short(run_id(order.wish() | {'folder': str(source)}) if of_folder else order.address)}"


def picture_name(order: Order) -> str:
    """The name of one picture's folder among those of a folder of pictures."""
    return f"{order.picture.name[:_NAME]}-{_short(order.address)}"


def stored(folder: Path, order: Order) -> dict[str, Any] | None:
    """The trace of a finished edit, where ``folder`` holds it whole.

    Raises:
        ConfigError: the folder holds another edit.
    """
    try:
        trace = json.loads((folder / TRACE).read_bytes())
        address = str(trace["address"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        address = "unknown"
    if address != order.address:
        raise ConfigError(f"{folder} holds another edit; out=<another folder> is accepted, or none for one of its own")
    edited = folder / EDITED
    is_whole = trace.get("sha256") is not None and edited.is_file() and _sha256(edited) == trace["sha256"]
    return trace if is_whole else None


def store(folder: Path, order: Order, image: Image.Image | None, outcome: EditResult | Failure) -> dict[str, Any]:
    """Write the edited image, the mask over the input, a panel, and last the trace of every decision.

    Args:
        folder: Of this edit alone.
        order: What was asked for.
        image: The input, RGB; None where it could not be read.
        outcome: The method's answer; a failure leaves the trace alone.

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
