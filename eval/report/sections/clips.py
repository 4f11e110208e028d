"""Clips and scenes of all runs beside each other, for benchmarks whose samples are strips."""

import base64
import io
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from eval.report.page import INLINE, Page
from eval.report.section import Missing, Section
from eval.report.study import Study
from eval.runs.records import EditRecord
from eval.runs.run import Run
from instructedit.applications.strips import unrolled
from instructedit.images import load_image
from instructedit.types import Sample, StageError

SIDE = 192
"""Height of a clip in pixels, at least; small clips are enlarged by a whole factor."""
QUALITY = "18"
"""Constant rate factor of H.264."""
VIDEO, NERF = "python -m scripts.run experiment=video", "python -m scripts.run experiment=nerf"


@dataclass(frozen=True)
class Shown:
    """A sample's clips, side by side in one video, so that they play together."""

    sample: Sample
    heads: tuple[str, ...]
    """Title of each clip, from left to right."""
    url: str


def clips(study: Study, page: Page) -> Section:
    """Show each clip's input, the edits of all runs, and the reference edit, in one playable video.

    The views of a scene are along its cameras' path, so that they are an orbit.
    """
    frames, rate, is_scene = _setting(study, "frames"), _setting(study, "fps"), _setting(study, "scenes") is not None
    if frames is None:
        raise Missing
    shown, files = [], {}
    tried = [s for s in study.benchmark.samples if any(s.id in run.records for run in study.runs)]
    for sample in tried[: page.samples]:
        columns = _columns(study, sample, frames)
        if len(columns) < 2:
            continue
        data = _encoded(np.concatenate([clip for _, clip in columns], axis=2), rate or 12)
        name = f"{study.key}/clips/{sample.id}.mp4"
        if page.pictures == INLINE:
            name = f"data:video/mp4;base64,{base64.b64encode(data).decode()}"
        else:
            files[name] = data
        shown.append(Shown(sample, tuple(head for head, _ in columns), name))
    if not shown:
        raise Missing(f"no run of {study.name} has edited clips: {NERF if is_scene else VIDEO} makes them")
    html = page.render("clips.html", shown=shown, is_scene=is_scene)
    return Section(f"clips-{study.key}", "Orbits" if is_scene else "Clips", html, files)


def _setting(study: Study, key: str) -> Any:
    named: list[Any] = [run.config.get("benchmark") for run in study.runs]
    values = [benchmark[key] for benchmark in named if isinstance(benchmark, dict) and benchmark.get(key)]
    return values[-1] if values else None


def _columns(study: Study, sample: Sample, frames: int) -> list[tuple[str, np.ndarray]]:
    """Return title and frames of each clip that can be read."""
    runs: list[tuple[str, Path | None]] = [(_title(run), _edited(run, sample)) for run in study.runs]
    columns = []
    for head, path in [("input", sample.image), *runs, ("reference edit", sample.truth.edited)]:
        if path is None:
            continue
        try:
            columns.append((head, unrolled(load_image(path), frames)))
        except (StageError, ValueError):
            continue
    return [(head, clip) for head, clip in columns if clip.shape == columns[0][1].shape]


def _title(run: Run) -> str:
    propagation = run.hyperparameter("propagation")
    return run.label if propagation is None else f"{run.name} {propagation}".replace("_", " ")


def _edited(run: Run, sample: Sample) -> Path | None:
    return run.store.image_path(sample.id) if isinstance(run.records.get(sample.id), EditRecord) else None


def _encoded(frames: np.ndarray, rate: int) -> bytes:
    """Return frames as an MP4 that browsers play: H.264 with half of the colour resolution."""
    factor = max(2, -(-SIDE // frames.shape[1]))
    large = frames.repeat(factor, axis=1).repeat(factor, axis=2)
    data = io.BytesIO()
    with av.open(data, "w", format="mp4") as output:
        stream: Any = output.add_stream("libx264", rate=Fraction(rate))
        stream.height, stream.width = large.shape[1] // 2 * 2, large.shape[2] // 2 * 2
        stream.pix_fmt, stream.options = "yuv420p", {"crf": QUALITY}
        # One thread, so that equal frames give equal files.
        stream.codec_context.thread_count = 1
        for pixels in large:
            cut = np.ascontiguousarray(pixels[: stream.height, : stream.width])
            output.mux(stream.encode(av.VideoFrame.from_ndarray(cut, format="rgb24")))
        output.mux(stream.encode())
    return data.getvalue()
