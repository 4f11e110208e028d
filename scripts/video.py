"""Edit a clip: one edit of its canonical image, carried to every frame (paper §4.7).

python -m scripts.video clip.mp4 "Change the cat to a lion"
python -m scripts.video input=frames instruction="Change the cat to a lion" method=diffedit fps=12
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from eval.runs.identity import fingerprinted
from instructedit.checkpoints import require_checkpoints
from instructedit.checks import is_number, require
from instructedit.types import Failure, StageError
from scripts.app import OK, SOME_FAILED, launch
from scripts.bars import Bars
from scripts.requested import given_captions, load_method, require_given
from scripts.values import check_values

VERBATIM = ("input", "instruction", "captions.input", "captions.edited")
POSITIONAL = ("input", "instruction")


def task(config: DictConfig) -> int:
    """Edit the clip that ``input`` names; an edit that is there is not repeated."""
    require_given(config, POSITIONAL, "python -m scripts.video clip.mp4 'Change the cat to a lion'")
    check_values(config)
    require(is_number(config.fps) and config.fps > 0, "fps", config.fps, "numbers above 0")
    captions = given_captions(config)
    require_checkpoints(config.models, config.wrapper)
    # Only now: these load torch and PyAV.
    from PIL import Image

    from eval.runs import videos
    from instructedit.applications.video.editor import ClipEditor, check_least_psnr
    from instructedit.applications.video.io import ending, read_clip

    check_least_psnr(config.least_psnr)
    settings = instantiate(config.field, _convert_="all")
    clip = read_clip(Path(str(config.input)), float(config.fps))
    described: Any = OmegaConf.to_container(config.wrapper, resolve=True)
    order = videos.VideoOrder(
        clip=clip,
        instruction=str(config.instruction),
        captions=captions,
        seed=int(config.seed),
        method=str(config.label),
        identity=fingerprinted(described),
        video={"field": settings.identity(), "propagation": str(config.propagation)},
        ending=ending(clip, config.format),
    )
    folder = (
        Path(config.out)
        if config.out
        else Path(config.results) / "videos" / order.folder_name(clip.source, order.address)
    )
    trace = videos.stored(folder, order)
    is_new = trace is None
    if trace is None:
        context, method = load_method(config, captions)
        first = Image.fromarray(clip.frames[0])
        editor = ClipEditor(context, method, settings, str(config.propagation), int(config.batch_size))
        with Bars() as bars:
            try:
                outcome = editor.edit(clip.frames, order.request(clip.source.stem, first), bars.tick)
            except StageError as error:
                outcome = Failure(clip.source.stem, error.stage, type(error).__name__, str(error))
        trace = videos.store(folder, order, outcome, float(config.least_psnr))
    return _tell(trace, folder, is_new)


def _tell(trace: Mapping[str, Any], folder: Path, is_new: bool) -> int:
    """Print what was decided, what could not be kept, and where the clip is; returns the exit code."""
    for note in trace["notes"]:
        print(f"note: {trace['input']}: {note}")
    if "stage" in trace:
        print(f"error: {trace['stage']}: {trace['message']}", file=sys.stderr)
        return SOME_FAILED
    decisions = trace["decisions"]
    captions = decisions["captions"] or {}
    lines = {
        "segmentation prompt": decisions["segmentation_prompt"],
        "input caption": captions.get("input"),
        "edited caption": captions.get("edited"),
    }
    for name, value in lines.items():
        if value is not None:
            print(f"{name + ':':<21}{value}")
    if fit := trace.get("reconstruction"):
        print(f"{'reconstruction:':<21}{fit['mean']:.1f} dB on average, {min(fit['psnr']):.1f} dB at least")
        if fit["below"]:
            listed = ", ".join(map(str, fit["below"]))
            print(
                f"warning: {len(fit['below'])} of {trace['frames']} frames are below {fit['least_psnr']} dB: {listed}"
            )
    if missing := trace["frames_without_edit"]:
        print(f"warning: {len(missing)} of {trace['frames']} frames have no edit: {', '.join(map(str, missing))}")
    if trace["remark"]:
        print(f"note: {trace['remark']}")
    print(f"edited clip, mask, sheet.png and trace.json are in {folder}" + ("" if is_new else " (edited before)"))
    return OK


def main() -> int:
    """Edit, with input and instruction taken as they are typed."""
    return launch(task, "video", VERBATIM, POSITIONAL)


if __name__ == "__main__":
    sys.exit(main())
