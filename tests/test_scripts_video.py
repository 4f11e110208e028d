"""``scripts.video`` edits a real clip with the shipped models, says what is wrong in one line, and repeats nothing."""

import json
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import skimage.data
from hydra.core.global_hydra import GlobalHydra

from instructedit.applications.video.io import read_clip
from scripts import video
from tests.applications.clips import encoded


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo of a cat, panned and zoomed, with sound."""
    picture, frames = skimage.data.chelsea(), []
    for t in range(8):
        scale = 128 / (256 * (1 - 0.012 * t))
        x, y = 60 + 2.0 * t, 20 + 0.6 * t
        matrix = np.array([[scale, 0, -x * scale], [0, scale, -y * scale]], np.float32)
        frames.append(cv2.warpAffine(picture, matrix, (128, 128), flags=cv2.INTER_AREA))
    return encoded(tmp_path / "photo.mp4", np.stack(frames), seconds_of_sound=0.6)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    GlobalHydra.instance().clear()
    monkeypatch.setattr(sys, "argv", ["video", *map(str, arguments)])
    return video.main()


@pytest.mark.slow
def test_a_photo_goes_through_the_whole_path(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    # The shipped models know drawings only, so that a photo's cat is found with little certainty.
    detector = "segmenter.box_threshold=0.02"
    arguments = (photo, "Change the cat to a lion", f"results={tmp_path / 'r'}", "max_side=128", f"out={out}", detector)
    assert run(monkeypatch, *arguments) == 0
    assert "reconstruction:" in capsys.readouterr().out
    clip, edited = read_clip(photo, 24), read_clip(out / "edited.mp4", 24)
    assert edited.frames.shape == clip.frames.shape
    assert edited.times == clip.times
    with av.open(str(out / "edited.mp4")) as container:
        assert container.streams.audio
    trace = json.loads((out / "trace.json").read_bytes())
    assert min(trace["reconstruction"]["psnr"]) > 30
    assert trace["decisions"]["segmentation_prompt"] == "cat"
    written = {p: p.stat().st_mtime_ns for p in out.iterdir()}
    assert {p.name for p in written} == {
        "edited.mp4", "mask.mp4", "sheet.png", "canonical.png", "canonical_edited.png", "trace.json",
    }  # fmt: skip
    assert run(monkeypatch, *arguments) == 0
    assert "(edited before)" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in out.iterdir()} == written
    assert run(monkeypatch, photo, "Change the cat to a dog", *arguments[2:]) == 2
    assert "contains another edit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["instruction=x"], "input=... is needed"),
        (["nothing.mp4", "x"], "nothing.mp4: no such file; a clip is expected"),
        (["nothing.mp4", "x", "fps=0"], "fps=0: accepted are numbers above 0"),
        (["nothing.mp4", "x", "field.steps=-1"], "field.steps=-1: accepted are whole numbers from 0 on"),
        (["nothing.mp4", "x", "least_psnr=high"], "least_psnr=high: accepted are numbers"),
        (["nothing.mp4", "x", "captions.input=a"], "both"),
    ],
)
def test_wrong_input_is_named(
    arguments: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *arguments, f"results={tmp_path}") == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1
