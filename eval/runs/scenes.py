"""Stored edits of scenes: the edited dataset, a clip along the cameras' path, a sheet, and the trace."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eval.runs.orders import TRACE, Order, address_of, finished, sha256, write_trace
from instructedit.applications.nerf.cameras import path_through
from instructedit.applications.nerf.editor import EditedScene
from instructedit.applications.nerf.render import render_view
from instructedit.applications.nerf.scenes import Scene, write_scene
from instructedit.applications.strips import hash_clip
from instructedit.applications.video.io import Clip, write_clip
from instructedit.images import contact_sheet, overlay, save_png
from instructedit.types import Failure

EDITED, PATH, SHEET = "edited", "path.mp4", "sheet.png"


@dataclass(frozen=True)
class SceneOrder(Order):
    """A requested edit of a scene."""

    scene: Scene
    nerf: Mapping[str, Any]
    """Settings of the field and of the dataset update."""
    path_frames: int
    """Frames of the clip along the cameras' path."""
    fps: int

    @property
    def address(self) -> str:
        """A hash of the inputs: views, poses and splits, instruction, captions, method, settings and seed."""
        scene = self.scene
        cameras = [[c.fl_x, c.fl_y, c.cx, c.cy, *c.distortion, *c.pose.flatten().tolist()] for c in scene.cameras]
        own = {"pictures": hash_clip(scene.pictures), "cameras": cameras, "box": scene.box.tolist()}
        own |= {"train": list(scene.train), "held_out": list(scene.held_out), "id": scene.source.name}
        return address_of(self.inputs() | own | {"nerf": self.nerf, "path": [self.path_frames, self.fps]})


def stored(folder: Path, order: SceneOrder) -> dict[str, Any] | None:
    """Return the trace of a finished edit, see :func:`eval.runs.orders.finished`."""
    return finished(folder, order.address, EDITED)


def store(folder: Path, order: SceneOrder, outcome: EditedScene | Failure, least_psnr: float) -> dict[str, Any]:
    """Write the edited dataset, the clip, the sheet, and last the trace with all decisions.

    Args:
        folder: Folder of this edit.
        order: The requested edit.
        outcome: The edited scene; only the trace is written for a failure.
        least_psnr: Views that the unedited field reconstructs worse, in dB, are listed in the trace.

    Returns:
        The trace.
    """
    (folder / TRACE).unlink(missing_ok=True)
    scene = order.scene
    head = order.head(order.address) | {"scene": str(scene.source), "notes": list(scene.notes)}
    if isinstance(outcome, Failure):
        trace: dict[str, Any] = head | {"sha256": None} | asdict(outcome)
    else:
        write_scene(folder / EDITED, scene, outcome.pictures)
        _draw(folder, order, outcome)
        values = [round(min(v, 100.0), 2) for v in outcome.fitted.psnr]
        shown = list(scene.held_out or scene.train)
        trace = head | {"sha256": sha256(folder / EDITED), "views": len(scene.names), "train": list(scene.train)}
        trace |= {"unedited": list(outcome.unedited), "failures": list(outcome.failures)}
        trace["reconstruction"] = {
            "psnr": values,
            "views": "held out" if scene.held_out else "training",
            "mean": round(float(np.mean([values[i] for i in shown])), 2),
            "least": min(values[i] for i in shown),
            "below": [i for i in shown if values[i] < least_psnr],
            "least_psnr": least_psnr,
        }
        trace |= {k: v for k, v in asdict(outcome.edit).items() if k not in ("id", "image", "mask")}
    write_trace(folder, trace)
    return trace


def _draw(folder: Path, order: SceneOrder, outcome: EditedScene) -> None:
    scene = order.scene
    cameras = path_through([scene.cameras[i] for i in scene.train], order.path_frames)
    frames = np.stack([render_view(outcome.field, camera).pixels for camera in cameras])
    times = tuple(Fraction(i, order.fps) for i in range(len(frames)))
    write_clip(folder / PATH, frames, Clip(frames, times, Fraction(len(frames), order.fps), scene.source))
    masked = [
        np.asarray(overlay(Image.fromarray(view), mask))
        for view, mask in zip(scene.pictures, outcome.masks, strict=True)
    ]
    rows: list[tuple[str, Sequence[np.ndarray]]] = [
        ("input", list(scene.pictures)),
        ("unedited field", list(outcome.fitted.renders)),
        ("masks of the latest edits (held-out views are not edited)", masked),
        ("edited dataset", list(outcome.pictures)),
        (f"edited field: {order.instruction}", list(outcome.renders)),
    ]
    save_png(contact_sheet(rows), folder / SHEET)
