"""Stored edits of single pictures. Their folders have a readable name and a hash of the inputs, as runs have."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from eval.runs import orders
from eval.runs.orders import LONGEST, TRACE, address_of, finished, sha256, short, write_trace
from instructedit.images import overlay, panel, save_png
from instructedit.types import EditResult, Failure

EDITED, MASK, PANEL = "edited.png", "mask.png", "panel.png"


@dataclass(frozen=True)
class Order(orders.Order):
    """A requested edit of a picture."""

    picture: Path

    @property
    def address(self) -> str:
        """A hash of the inputs: the picture's bytes and stem, instruction, captions, method and seed."""
        return address_of(self.inputs() | {"image": sha256(self.picture), "id": self.picture.stem})


def folder_name(order: Order, source: Path, of_folder: bool = False) -> str:
    """Return a readable, unique folder name: method, picture or folder, instruction, and a part of the hash.

    Args:
        order: The edit.
        source: The user's picture or folder of pictures.
        of_folder: Whether the name is for the edits of a folder of pictures.
    """
    address = address_of(order.inputs() | {"folder": str(source)}) if of_folder else order.address
    return order.folder_name(source, address)


def picture_name(order: Order) -> str:
    """Return the name of a picture's subfolder for the edits of a folder of pictures."""
    return f"{order.picture.name[:LONGEST]}-{short(order.address)}"


def stored(folder: Path, order: Order) -> dict[str, Any] | None:
    """Return the trace of a finished edit, see :func:`eval.runs.orders.finished`."""
    return finished(folder, order.address, EDITED)


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
    edited = folder / EDITED
    trace = order.head(order.address) | {"image": str(order.picture)}
    trace |= {"sha256": sha256(edited) if edited.is_file() else None}
    trace |= {k: v for k, v in asdict(outcome).items() if k not in ("id", "image", "mask")}
    write_trace(folder, trace)
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
