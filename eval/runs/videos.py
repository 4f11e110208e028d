"""Stored edits of clips. Their folders have a readable name and a hash of the inputs, as those of pictures have."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eval.runs.identity import run_id
from instructedit.applications.strips import hash_clip
from instructedit.applications.video.editor import EditedClip
from instructedit.applications.video.io import Clip, write_clip
from instructedit.files import write_aside
from instructedit.images import contact_sheet, overlay, save_png
from instructedit.types import Captions, ConfigError, EditRequest, Failure

EDITED, MASK, SHEET, CANONICAL, CANONICAL_EDITED, TRACE = (
    "edited", "mask", "sheet.png", "canonical.png", "canonical_edited.png", "trace.json",
)  # fmt: skip
_NAME = 60


@dataclass(frozen=True)
class VideoOrder:
    """A requested edit of a clip."""

    clip: Clip
    instruction: str
    captions: Captions | None
    seed: int
    method: str
    """Label of the method."""
    identity: Mapping[str, Any]
    """The method's configuration, from :func:`eval.runs.identity.fingerprinted`."""
    video: Mapping[str, Any]
    """Settings of the field, and how the edit reaches the frames."""
    ending: str
    """Of the written clips; empty for folders of frames."""

    @property
    def address(self) -> str:
        """A hash of the inputs: frames and their times, instruction, captions, method, field and seed."""
        captions = None if self.captions is None else asdict(self.captions)
        times = [float(t) for t in (*self.clip.times, self.clip.seconds)]
        return run_id(
            {
                "clip": hash_clip(self.clip.frames), "times": times, "sound": self.clip.has_sound,
                "id": self.clip.source.stem, "instruction": self.instruction, "captions": captions,
                "seed": self.seed, "method": self.identity, "video": self.video, "ending": self.ending,
            }
        )  # fmt: skip

    @property
    def folder_name(self) -> str:
        """A readable, unique folder name: method, clip, instruction, and a part of the hash."""
        words = f"{self.method.split()[0]} {self.clip.source.stem} {self.instruction}".lower()
        readable = re.sub(r"[^\w]+", "_", words).strip("_")[:_NAME].rstrip("_")
        return f"{readable}-{self.address.rpartition('-')[2][:8]}"

    def request(self) -> EditRequest:
        """Return the request to the method, with the first frame as its image."""
        image = Image.fromarray(self.clip.frames[0])
        return EditRequest(self.clip.source.stem, image, self.instruction, self.captions, self.seed)


def stored(folder: Path, order: VideoOrder) -> dict[str, Any] | None:
    """Return the trace of a finished edit; None if ``folder`` does not contain it completely.

    Raises:
        ConfigError: The folder contains another edit.
    """
    try:
        trace: dict[str, Any] = json.loads((folder / TRACE).read_bytes())
        address = str(trace["address"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        address = "unknown"
    if address != order.address:
        raise ConfigError(f"{folder} contains another edit; out=<another folder> is accepted, or no out=")
    edited = folder / f"{EDITED}{order.ending}"
    is_whole = trace.get("sha256") is not None and edited.exists() and _sha256(edited) == trace["sha256"]
    return trace if is_whole else None


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
    head: dict[str, Any] = {"address": order.address, "input": str(order.clip.source), "instruction": order.instruction}
    head |= {"method": order.method, "notes": list(order.clip.notes)}
    if isinstance(outcome, Failure):
        trace: dict[str, Any] = head | {"sha256": None} | asdict(outcome)
    else:
        edited = folder / f"{EDITED}{order.ending}"
        remark = write_clip(edited, outcome.frames, order.clip)
        _draw(folder, order, outcome)
        trace = head | {"sha256": _sha256(edited), "remark": remark, "frames": len(outcome.frames)}
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
    with write_aside(folder / TRACE) as file:
        file.write(json.dumps(trace, indent=2, ensure_ascii=False).encode() + b"\n")
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


def _sha256(path: Path) -> str:
    total = hashlib.sha256()
    for part in sorted(path.iterdir()) if path.is_dir() else [path]:
        total.update(part.read_bytes())
    return total.hexdigest()
