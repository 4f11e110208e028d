"""Edit a picture or each picture of a folder, and write the edits with their intermediate results.

python -m scripts.edit image=cat.png instruction="Change the cat to a lion"
python -m scripts.edit image=photos instruction="Change the cat to a lion" paste_back=true
"""

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from eval.runs.runner import guarded
from instructedit.checkpoints import require_checkpoints
from instructedit.files import write_aside
from instructedit.images import FORMATS, load_image, overlay, panel, save_png
from instructedit.models import Context
from instructedit.types import Captions, ConfigError, EditRequest, EditResult, Failure, Method, StageError
from scripts.app import OK, SOME_FAILED, launch


def task(config: DictConfig) -> int:
    """Edit the pictures that ``image`` names. Failures are isolated per picture."""
    for key in ("image", "instruction"):
        if OmegaConf.is_missing(config, key):
            raise ConfigError(f"{key}=... is needed, as in image=cat.png instruction='\"Change the cat to a lion\"'")
    require_checkpoints(config.models, config.wrapper)
    path, instruction = Path(str(config.image)), str(config.instruction)
    paths = pictures(path) if path.is_dir() else [path]
    context = Context.create(Path(config.results) / "cache", str(config.device))
    method = instantiate(config.wrapper, _convert_="all")(context=context)
    pair = [config.captions.input, config.captions.edited]
    if not all(pair) and (any(pair) or method.needs_captions):
        raise ConfigError(f"method={config.name} takes captions.input=... and captions.edited=..., both")
    captions = Captions(*map(str, pair)) if all(pair) else None
    slug = re.sub(r"[^a-z0-9]+", "_", f"{config.name} {path.stem} {instruction}".lower()).strip("_")[:80]
    out = Path(config.out or Path(config.results) / "edits" / slug)
    if not path.is_dir():
        image = load_image(path)
        request = EditRequest(path.stem, image, instruction, captions, int(config.seed))
        return edit(method, request, path, str(config.label), out)
    codes = []
    for picture in paths:
        print(f"{picture}:")
        try:
            request = EditRequest(picture.stem, load_image(picture), instruction, captions, int(config.seed))
        except StageError as error:
            print(f"error: {error.stage}: {error}", file=sys.stderr)
            codes.append(SOME_FAILED)
        else:
            codes.append(edit(method, request, picture, str(config.label), out / picture.name))
    print(f"{codes.count(OK)} of {len(codes)} pictures edited, in {out}")
    return max(codes)


def pictures(folder: Path) -> list[Path]:
    """Return the pictures of a folder, recognised by their endings, in sorted order; print the other files.

    Raises:
        ConfigError: The folder has no pictures.
    """
    endings = {ending for ending, name in Image.registered_extensions().items() if name in FORMATS}
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    images = [p for p in files if p.suffix.lower() in endings]
    if not images:
        raise ConfigError(f"image={folder}: no pictures in it; accepted are {', '.join(FORMATS)}")
    if len(images) < len(files):
        others = ", ".join(p.name for p in files if p not in images)
        print(f"{folder}: left out, no pictures by their endings: {others}")
    return images


def edit(method: Method, request: EditRequest, path: Path, label: str, folder: Path) -> int:
    """Edit one picture and return the exit code.

    Writes the edited image, the input with the mask, a panel of these, and a trace of all intermediate results.
    """
    (outcome,) = guarded(method, [request])
    trace = {"image": str(path), "instruction": request.instruction, "method": label} | _trace(outcome)
    with write_aside(folder / "trace.json") as file:
        file.write(json.dumps(trace, indent=2).encode() + b"\n")
    if not isinstance(outcome, EditResult):
        print(f"error: {outcome.stage}: {outcome.message}", file=sys.stderr)
        return SOME_FAILED
    pictures = [(request.image, "input")]
    if outcome.mask is not None:
        masked = overlay(request.image, outcome.mask)
        save_png(masked, folder / "mask.png")
        pictures.append((masked, str(outcome.decisions.segmentation_prompt or "mask")))
    save_png(outcome.image, folder / "edited.png")
    pictures.append((outcome.image, request.instruction))
    save_png(panel([i for i, _ in pictures], [t for _, t in pictures]), folder / "panel.png")
    decisions = outcome.decisions
    if decisions.description:
        print(f"description:         {decisions.description}")
    if decisions.captions:
        if decisions.segmentation_prompt:
            print(f"segmentation prompt: {decisions.segmentation_prompt}")
        print(f"input caption:       {decisions.captions.input}")
        print(f"edited caption:      {decisions.captions.edited}")
    if decisions.ratio is not None:
        print(f"ratio chosen:        {decisions.ratio}")
    for box in decisions.boxes:
        print(f"box: {box.phrase} {box.score:.2f} at {box.x1:.0f},{box.y1:.0f} to {box.x2:.0f},{box.y2:.0f}")
    mask = "" if outcome.mask is None else "mask.png, "
    print(f"edited.png, {mask}panel.png and trace.json are in {folder}")
    return OK


def _trace(outcome: EditResult | Failure) -> dict[str, object]:
    return {k: v for k, v in asdict(outcome).items() if k not in ("id", "image", "mask")}


if __name__ == "__main__":
    sys.exit(launch(task, "edit"))
