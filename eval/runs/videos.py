"""Stored edits of clips. Their folders have a readable name and a hash of the inputs, as those of pictures have."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eval.runs.orders import TRACE, Order, address_of, finished, sha256, write_trace
from instructedit.applications.strips import hash_clip
from instructedit.applications.video.editor import EditedClip
from instructedit.applications.video.io import Clip, write_clip
from instructedit.images import contact_sheet, overlay, save_png
from instructedit.types import Failure

EDITED, MASK, SHEET, CANONICAL, CANONICAL_EDITED = (
    "edited", "mask", "sheet.png", "canonical.png", "canonical_edited.png",
)  # fmt: skip


@dataclass(frozen=True)
class VideoOrder(Order):
    """A requested edit of a clip."""

    clip: Clip
    video: Mapping[str, Any]
    """Settings of the field, and how the edit reaches the frames."""
    ending: str
    """Of the written clips; empty for folders of frames."""

    @property
    def address(self) -> str:
        """A hash of the inputs: frames and their times, instruction, captions, method, field and seed."""
        times = [float(t) for t in (*self.clip.times, self.clip.seconds)]
        own = {"clip": hash_clip(self.clip.frames), "times": times, "sound": self.clip.has_sound}
        return address_of(
            self.inputs() | own | {"id": self.clip.source.stem, "video": self.video, "ending": self.ending}
        )


def stored(folder: Path, order: VideoOrder) -> dict[str, Any] | None:
    """Return the trace of a finished edit, see :func:`eval.runs.orders.finished`."""
    return finished(folder, order.address, f"{EDITED}{order.ending}")


def store(folder: Path, order: VideoOrder, outcome: EditedClip | Failure, least_psnr: float) -> dict[str, Any]:
    """Write the edited clip, its masks, a contact sheet, the canonical image, and last the trace with all decisions.

    Args:
        folder: Folder of this edit.
        order: The requested edit.
        outcome: The edited clip; only the trace is written for a failure.
        least_psnr: Frames that the field reconstructs worse, in dB, are listed in the trace.

    Returns:
        The trace.
    """
    (folder / TRACE).unlink(missing_ok=True)
    head = order.head(order.address) | {"input": str(order.clip.source), "notes": list(order.clip.notes)}
    if isinstance(outcome, Failure):
        trace: dict[str, Any] = head | {"sha256": None} | asdict(outcome)
    else:
        edited = folder / f"{EDITED}{order.ending}"
        remark = write_clip(edited, outcome.frames, order.clip)
        _draw(folder, order, outcome)
        trace = head | {"sha256": sha256(edited), "remark": remark, "frames": len(outcome.frames)}
        trace |= {"frames_without_edit": [t for t, mask in enumerate(outcome.masks) if not mask.any()]}
        if outcome.fitted is not None:
            fitted = outcome.fitted
            trace["reconstruction"] = {
                "psnr": [round(min(v, 100.0), 2) for v in fitted.psnr],
                "mean": round(fitted.mean, 2),
                "below": fitted.below(least_psnr),
                "least_psnr": least_psnr,
                "reference_frame": fitted.field.key,
                "margin": fitted.field.margin,
            }
        trace |= {k: v for k, v in asdict(outcome.edit).items() if k not in ("id", "image", "mask")}
    write_trace(folder, trace)
    return trace


def _draw(folder: Path, order: VideoOrder, outcome: EditedClip) -> None:
    masked = [
        np.asarray(overlay(Image.fromarray(frame), mask))
        for frame, mask in zip(order.clip.frames, outcome.masks, strict=True)
    ]
    write_clip(folder / f"{MASK}{order.ending}", np.stack(masked), order.clip)
    rows = [("input", list(order.clip.frames)), ("mask", masked), (order.instruction, list(outcome.frames))]
    save_png(contact_sheet(rows), folder / SHEET)
    save_png(outcome.source, folder / CANONICAL)
    save_png(outcome.edit.image, folder / CANONICAL_EDITED)
