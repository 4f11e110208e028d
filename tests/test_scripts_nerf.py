"""``scripts.nerf`` edits a scene with the shipped models, says what is wrong in one line, and repeats nothing."""

import json
from pathlib import Path

import numpy as np
import pytest

from instructedit.applications.nerf.scenes import read_scene
from instructedit.applications.video.io import read_clip
from scripts import nerf
from tests.applications.test_nerf_scenes import nerfstudio
from tests.commands import RunScript, check_edited_once, refusal

SCENE = Path(__file__).parents[1] / "data" / "picturebook" / "benchmark_3d" / "scenes" / "scene_01_cat_to_lion"
QUICK = (
    "radiance.steps=12", "radiance.voxels=20000", "radiance.double_at=[]", "update.steps=4", "update.edit_every=2",
    "update.diffusion_steps=3", "update.edit_count=1", "path_frames=3",
)  # fmt: skip


@pytest.mark.slow
def test_a_scene_goes_through_the_whole_path(
    tmp_path: Path, run_script: RunScript, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = (SCENE, "Change the cat to a lion", f"results={tmp_path / 'r'}", f"out={out}", *QUICK)
    assert run_script(nerf.main, *arguments) == 0
    printed = capsys.readouterr().out
    assert "segmentation prompt: cat" in printed
    assert "18 of 20 training views are not edited" in printed
    assert {p.name for p in out.iterdir()} == {"edited", "path.mp4", "sheet.png", "trace.json"}
    before, after = read_scene(SCENE), read_scene(out / "edited")
    trace = json.loads((out / "trace.json").read_bytes())
    assert (after.train, after.held_out) == (before.train, before.held_out)
    for view in before.train:
        is_equal = np.array_equal(before.pictures[view], after.pictures[view])
        assert is_equal == (view in trace["unedited"])
    assert len(read_clip(out / "path.mp4", 12).frames) == 3
    check_edited_once(run_script, capsys, nerf.main, arguments, out)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["instruction=x"], "scene=... is needed"),
        (["nothing", "x"], "nothing: no such file; a folder with transforms.json"),
        (["nothing", "x", "fps=0"], "fps=0: accepted are whole numbers from 1 on"),
        (["nothing", "x", "path_frames=1"], "path_frames=1: accepted are whole numbers from 2 on"),
        (["nothing", "x", "radiance.steps=-1"], "radiance.steps=-1: accepted are whole numbers from 0 on"),
        (["nothing", "x", "update.noise=[0.9,0.1]"], "update.noise=[0.9, 0.1]: accepted are two numbers"),
        (["nothing", "x", "update=paper"], "update=paper: accepted are instruct_nerf2nerf, picturebook"),
        (["nothing", "x", "least_psnr=high"], "least_psnr=high: accepted are numbers"),
        (["nothing", "x", "captions.input=a"], "both"),
        (["nothing", "x", "radiance.voxel=3"], "radiance.voxel"),
    ],
)
def test_wrong_input_is_named(
    arguments: list[str], line: str, tmp_path: Path, run_script: RunScript, capsys: pytest.CaptureFixture[str]
) -> None:
    assert line in refusal(run_script, capsys, nerf.main, *arguments, f"results={tmp_path}")


def test_a_wrong_scene_is_named_before_a_model_loads(
    tmp_path: Path, run_script: RunScript, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = nerfstudio(tmp_path / "scene", lambda values: values["frames"][1].pop("transform_matrix"))
    error = refusal(run_script, capsys, nerf.main, folder, "x", f"results={tmp_path}")
    assert "transforms.json: frames[1]: transform_matrix is missing" in error
