"""Edit a scene: Instruct-NeRF2NeRF's dataset update with any method as the editor of its views (paper §4.6).

python -m scripts.nerf data/picturebook/benchmark_3d/scenes/scene_01_cat_to_lion "Change the cat to a lion"
python -m scripts.nerf scene=folder instruction="Change the cat to a lion" method=instruct_pix2pix
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from eval.runs.identity import fingerprinted
from instructedit.checkpoints import require_checkpoints
from instructedit.checks import is_number, require, require_whole
from instructedit.files import located
from instructedit.types import Failure, StageError
from scripts.app import OK, SOME_FAILED, launch
from scripts.bars import Bars
from scripts.requested import given_captions, load_method, require_given
from scripts.values import check_values

VERBATIM = ("scene", "instruction", "captions.input", "captions.edited")
POSITIONAL = ("scene", "instruction")


def task(config: DictConfig) -> int:
    """Edit the scene that ``scene`` names; an edit that is there is not repeated."""
    require_given(config, POSITIONAL, "python -m scripts.nerf folder 'Change the cat to a lion'")
    check_values(config)
    require_whole("path_frames", config.path_frames, 2)
    require_whole("fps", config.fps, 1)
    require(is_number(config.least_psnr), "least_psnr", config.least_psnr, "numbers, in dB, such as 24")
    captions = given_captions(config)
    require_checkpoints(config.models, config.wrapper)
    # Only now: these load torch and PyAV.
    from PIL import Image

    from eval.benchmarks.packed import unpack_around
    from eval.runs import scenes
    from instructedit.applications.nerf.editor import SceneEditor
    from instructedit.applications.nerf.scenes import read_scene

    radiance, update = (instantiate(config[key], _convert_="all") for key in ("radiance", "update"))
    path = located(str(config.scene))
    unpack_around(path)
    scene = read_scene(path)
    described: Any = OmegaConf.to_container(config.wrapper, resolve=True)
    order = scenes.SceneOrder(
        instruction=str(config.instruction),
        captions=captions,
        seed=int(config.seed),
        method=str(config.label),
        identity=fingerprinted(described),
        scene=scene,
        nerf={"radiance": radiance.identity(), "update": update.identity()},
        path_frames=int(config.path_frames),
        fps=int(config.fps),
    )
    name = order.folder_name(scene.source, order.address)
    folder = Path(config.out) if config.out else Path(config.results) / "scenes" / name
    trace = scenes.stored(folder, order)
    is_new = trace is None
    if trace is None:
        context, method = load_method(config, captions)
        lpips = instantiate(config.models.lpips)
        editor = SceneEditor(context, method, radiance, update, lpips, str(config.models.lpips_calibration))
        request = order.request(scene.source.name, Image.fromarray(scene.pictures[scene.train[0]]))
        with Bars() as bars:
            try:
                outcome = editor.edit(scene, request, bars.tick, order.address)
            except StageError as error:
                outcome = Failure(request.id, error.stage, type(error).__name__, str(error))
        trace = scenes.store(folder, order, outcome, float(config.least_psnr))
    return _tell(trace, folder, is_new)


def _tell(trace: Mapping[str, Any], folder: Path, is_new: bool) -> int:
    """Print what was decided, what could not be edited, and where the scene is; returns the exit code."""
    for note in trace["notes"]:
        print(f"note: {trace['scene']}: {note}")
    if "stage" in trace:
        print(f"error: {trace['stage']}: {trace['message']}", file=sys.stderr)
        return SOME_FAILED
    if prompt := trace["decisions"]["segmentation_prompt"]:
        print(f"{'segmentation prompt:':<21}{prompt}")
    fit = trace["reconstruction"]
    print(
        f"{'reconstruction:':<21}{fit['mean']:.1f} dB on average, {fit['least']:.1f} dB at least ({fit['views']} views)"
    )
    if fit["below"]:
        print(f"warning: views below {fit['least_psnr']} dB: {', '.join(map(str, fit['below']))}")
    if trace["unedited"]:
        listed = ", ".join(map(str, trace["unedited"]))
        print(f"warning: {len(trace['unedited'])} of {len(trace['train'])} training views are not edited: {listed}")
    for line in trace["failures"]:
        print(f"note: {line}")
    print(
        f"edited/ (the scene with edited views), path.mp4, sheet.png and trace.json are in {folder}"
        + ("" if is_new else " (edited before)")
    )
    return OK


def main() -> int:
    """Edit, with scene and instruction taken as they are typed."""
    return launch(task, "nerf", VERBATIM, POSITIONAL)


if __name__ == "__main__":
    sys.exit(main())
