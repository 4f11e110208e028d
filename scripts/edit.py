"""Edit one picture, and show how.

python -m scripts.edit image=cat.png instruction="Change the cat to a lion"
"""

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from instructedit.files import write_aside
from instructedit.images import load_image, overlay, panel, save_png
from instructedit.models import Context
from instructedit.types import Captions, ConfigError, EditRequest, EditResult
from scripts.app import OK, SOME_FAILED, launch


def task(config: DictConfig) -> int:
    """Write the edited image, the mask over the input, a panel and a trace of every decision."""
    for key in ("image", "instruction"):
        if OmegaConf.is_missing(config, key):
            raise ConfigError(f"{key}=... is needed, as in image=cat.png instruction='\"Change the cat to a lion\"'")
    path, instruction = Path(str(config.image)), str(config.instruction)
    context = Context.create(Path(config.results) / "cache", str(config.device))
    method = instantiate(config.method, _convert_="all")(context=context)
    given = [config.captions.input, config.captions.edited]
    if not all(given) and (any(given) or getattr(method, "needs_captions", False)):
        raise ConfigError(f"method={config.name} takes captions.input=... and captions.edited=..., both")
    captions = Captions(*map(str, given)) if all(given) else None
    image = load_image(path)
    (outcome,) = method.edit([EditRequest(path.stem, image, instruction, captions, int(config.seed))])
    slug = re.sub(r"[^a-z0-9]+", "_", f"{config.name} {path.stem} {instruction}".lower()).strip("_")[:80]
    folder = Path(config.out or Path(config.results) / "edits" / slug)
    trace = {"image": str(path), "instruction": instruction, "method": str(config.label)} | _trace(outcome)
    with write_aside(folder / "trace.json") as file:
        file.write(json.dumps(trace, indent=2).encode() + b"\n")
    if not isinstance(outcome, EditResult):
        print(f"error: {outcome.stage}: {outcome.message}", file=sys.stderr)
        return SOME_FAILED
    shown = [(image, "input")]
    if outcome.mask is not None:
        masked = overlay(image, outcome.mask)
        save_png(masked, folder / "mask.png")
        shown.append((masked, str(outcome.decisions.segmentation_prompt or "mask")))
    save_png(outcome.image, folder / "edited.png")
    shown.append((outcome.image, instruction))
    save_png(panel([i for i, _ in shown], [t for _, t in shown]), folder / "panel.png")
    decisions = outcome.decisions
    if decisions.captions:
        if decisions.segmentation_prompt:
            print(f"segmentation prompt: {decisions.segmentation_prompt}")
        print(f"input caption:       {decisions.captions.input}")
        print(f"edited caption:      {decisions.captions.edited}")
    for box in decisions.boxes:
        print(f"box: {box.phrase} {box.score:.2f} at {box.x1:.0f},{box.y1:.0f} to {box.x2:.0f},{box.y2:.0f}")
    mask = "" if outcome.mask is None else "mask.png, "
    print(f"edited.png, {mask}panel.png and trace.json are in {folder}")
    return OK


def _trace(outcome: object) -> dict[str, object]:
    found = asdict(outcome)  # type: ignore[call-overload]
    return {k: v for k, v in found.items() if k not in ("id", "image", "mask")}


if __name__ == "__main__":
    sys.exit(launch(task, "edit"))
