"""The report's section of clips, and the row of §4.7's claim, on tiny filmstrips."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from eval.benchmarks.base import load_benchmark
from eval.metrics.video import WarpError, encoded_flow
from eval.report.page import COPIED, INLINE, Page
from eval.report.section import Missing
from eval.report.sections.claims import claims
from eval.report.sections.clips import clips
from eval.report.study import Study, studies
from eval.runs.run import Run
from eval.runs.runner import RunPlan, run
from instructedit.applications.strips import rolled
from instructedit.applications.video.filmstrip import Filmstrip
from instructedit.cache import StageCache
from instructedit.models import Context, ModelPool
from instructedit.types import EditResult
from tests.applications.clips import moved, settings
from tests.applications.test_video_editor import Inverts


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strips")
    for name in ("images", "masks", "flow"):
        (folder / name).mkdir()
    lines = []
    for number, shift in enumerate(((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0))):
        mask = np.zeros((6, 48, 64), np.uint8)
        mask[:, 16:32, 20:44] = 255
        rolled(moved(shift)).save(folder / "images" / f"{number}.png")
        Image.fromarray(mask.reshape(-1, 64)).save(folder / "masks" / f"{number}.png")
        flow = np.broadcast_to(np.array(shift), (5, 48, 64, 2))
        rolled(encoded_flow(flow)).save(folder / "flow" / f"{number}.png")
        truth = {"mask": f"masks/{number}.png"}
        lines.append({"id": str(number), "image": f"images/{number}.png", "instruction": "invert <it>", "truth": truth})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


class Flickers(Inverts):
    """Inverts every other picture."""

    def one(self, request):
        outcome = super().one(request)
        self.turn = not getattr(self, "turn", False)
        is_left = isinstance(outcome, EditResult) and not self.turn
        return replace(outcome, image=request.image) if is_left else outcome


def study(benchmark: Path, results: Path, *propagations: str) -> Study:
    runs: list[Run] = []
    context = Context(ModelPool(), StageCache(None), torch.device("cpu"))
    for propagation in propagations:
        wrapper = {"_target_": "instructedit.applications.video.filmstrip.Filmstrip", "propagation": propagation}
        config = {
            "name": "instructedit", "label": "instructedit", "seed": 0, "wrapper": wrapper,
            "benchmark": {"name": "strips", "folder": str(benchmark), "frames": 6, "fps": 12},
        }  # fmt: skip
        plan = RunPlan(
            "instructedit", "instructedit",
            lambda p=propagation: Filmstrip(context, Flickers, 6, settings(steps=10), p),  # type: ignore[misc]
            wrapper, load_benchmark(benchmark), lambda: [WarpError(6, "inside", "true")], results,
            config=json.dumps(config),
        )  # fmt: skip
        runs.append(run(plan).run)
    (made,) = studies(runs, {}, "instructedit")
    return made


def page(out: Path, pictures: str = COPIED) -> Page:
    return Page(out, pictures, figure_samples=3, more_samples=3, samples=None)


def test_the_clips_of_a_row_are_one_video(benchmark: Path, tmp_path: Path) -> None:
    made = clips(study(benchmark, tmp_path, "field", "per_frame"), page(tmp_path / "out"))
    assert sorted(made.files) == [f"strips/clips/{i}.mp4" for i in range(3)]
    for name, data in made.files.items():
        assert f'src="{name}"' in made.html
        container: Any
        with av.open(io.BytesIO(data)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(frames) == 6
        assert frames[0].shape == (192, 3 * 256, 3)  # input, field, per frame; enlarged fourfold
    assert "invert &lt;it&gt;" in made.html
    assert made.html.count("<span>instructedit per frame</span>") == 3
    inline = clips(study(benchmark, tmp_path, "field"), page(tmp_path / "out", INLINE))
    assert not inline.files
    assert inline.html.count("data:video/mp4;base64,") == 3


def test_the_claim_compares_the_carried_edit_with_per_frame_editing(benchmark: Path, tmp_path: Path) -> None:
    csv = claims(study(benchmark, tmp_path, "field", "per_frame"), page(tmp_path)).files["strips/tables/claims.csv"]
    (row,) = [line for line in csv.decode().splitlines() if line.startswith("§4.7")]
    assert "difference −" in row
    assert "on 3 clips" in row
    assert ",yes," in row
    with pytest.raises(Missing, match="none of the paper's claims"):
        claims(study(benchmark, tmp_path / "one", "field"), page(tmp_path))
