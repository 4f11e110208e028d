"""``scripts.video`` edits a real clip with the shipped models, says what is wrong in one line, and repeats nothing."""

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import skimage.data

from instructedit.applications.video.io import read_clip
from scripts import video
from tests.applications.clips import encoded
from tests.commands import RunScript, check_edited_once, refusal


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


@pytest.mark.slow
def test_a_photo_goes_through_the_whole_path(
    photo: Path, tmp_path: Path, run_script: RunScript, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    # The shipped models know drawings only, so that a photo's cat is found with little certainty.
    detector = "segmenter.box_threshold=0.02"
    arguments = (photo, "Change the cat to a lion", f"results={tmp_path / 'r'}", "max_side=128", f"out={out}", detector)
    assert run_script(video.main, *arguments) == 0
    assert "reconstruction:" in capsys.readouterr().out
    clip, edited = read_clip(photo, 24), read_clip(out / "edited.mp4", 24)
    assert edited.frames.shape == clip.frames.shape
    assert edited.times == clip.times
    with av.open(str(out / "edited.mp4")) as container:
        assert container.streams.audio
    trace = json.loads((out / "trace.json").read_bytes())
    assert min(trace["reconstruction"]["psnr"]) > 30
    assert trace["decisions"]["segmentation_prompt"] == "cat"
    assert {p.name for p in out.iterdir()} == {
        "edited.mp4", "mask.mp4", "sheet.png", "canonical.png", "canonical_edited.png", "trace.json",
    }  # fmt: skip
    check_edited_once(run_script, capsys, video.main, arguments, out)


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
    arguments: list[str], line: str, tmp_path: Path, run_script: RunScript, capsys: pytest.CaptureFixture[str]
) -> None:
    assert line in refusal(run_script, capsys, video.main, *arguments, f"results={tmp_path}")
