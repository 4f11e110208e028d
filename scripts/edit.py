"""Edit one picture, or each in a folder, and show how.

python -m scripts.edit cat.png "Change the cat to a lion"
python -m scripts.edit image=photos instruction="Change the cat to a lion" paste_back=true
"""

import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from eval.runs import edits
from eval.runs.edits import Order
from eval.runs.identity import fingerprinted
from instructedit.checkpoints import require_checkpoints
from instructedit.images import FORMATS, load_image, picture_endings
from instructedit.types import ConfigError, Failure, Method, StageError
from scripts.app import OK, SOME_FAILED, launch
from scripts.requested import given_captions, load_method, require_given
from scripts.values import check_values

VERBATIM = ("image", "instruction", "captions.input", "captions.edited")
POSITIONAL = ("image", "instruction")


def task(config: DictConfig) -> int:
    """Edit what ``image`` names; failures are isolated per picture, and an edit that is there is not repeated."""
    require_given(config, POSITIONAL, "python -m scripts.edit cat.png 'Change the cat to a lion'")
    check_values(config)
    require_checkpoints(config.models, config.wrapper)
    source = Path(str(config.image))
    paths = pictures(source) if source.is_dir() else [_picture(source)]
    orders = [_order(config, path) for path in paths]
    root = Path(config.results) / "edits"
    if source.is_dir():
        into = Path(config.out) if config.out else root / edits.folder_name(orders[0], source, of_folder=True)
        folders = [into / (order.picture.name if config.out else edits.picture_name(order)) for order in orders]
    else:
        into = Path(config.out) if config.out else root / edits.folder_name(orders[0], source)
        folders = [into]
    traces = [edits.stored(folder, order) for folder, order in zip(folders, orders, strict=True)]
    method = cache(lambda: load_method(config, orders[0].captions)[1])
    if not source.is_dir():
        trace = traces[0] or _edit(method(), orders[0], into)
        return _tell(trace, into, is_new=traces[0] is None)
    codes = []
    bar = tqdm(list(zip(orders, folders, traces, strict=True)), desc=str(config.label), unit="edit")
    for order, folder, known in bar:
        trace = known or _edit(method(), order, folder)
        codes.append(SOME_FAILED if "stage" in trace else OK)
        if "stage" in trace:
            bar.write(f"error: {_named(trace, order)}", file=sys.stderr)
    before = sum(trace is not None for trace in traces)
    print(f"{codes.count(OK)} of {len(codes)} pictures edited{f', {before} of them before' * bool(before)}, in {into}")
    return max(codes)


def pictures(folder: Path) -> list[Path]:
    """The pictures in a folder by their endings, in order; what else is there is said.

    Raises:
        ConfigError: there are none.
    """
    endings = picture_endings()
    entries = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    found = [p for p in entries if p.is_file() and p.suffix.lower() in endings]
    if not found:
        raise ConfigError(f"image={folder}: no pictures in it; accepted are {', '.join(FORMATS)}")
    others = [p for p in entries if p.is_file() and p not in found]
    unreadable = [p for p in entries if not p.is_file() and not p.is_dir()]
    for names, reason in ((others, "no pictures by their endings"), (unreadable, "dead links, pipes or devices")):
        if names:
            print(f"{folder}: left out, {reason}: {', '.join(p.name for p in names)}")
    return found


def _picture(path: Path) -> Path:
    """The path, if a picture can be read there."""
    load_image(path)
    return path


def _order(config: DictConfig, picture: Path) -> Order:
    described: Any = OmegaConf.to_container(config.wrapper, resolve=True)
    words, label, seed = str(config.instruction), str(config.label), int(config.seed)
    return Order(words, given_captions(config), seed, label, fingerprinted(described), picture)


def _edit(method: Method, order: Order, folder: Path) -> dict[str, Any]:
    from eval.runs.runner import guarded

    try:
        image = load_image(order.picture)
    except StageError as error:
        failure = Failure(order.picture.stem, error.stage, type(error).__name__, str(error))
        return edits.store(folder, order, None, failure)
    (outcome,) = guarded(method, [order.request(order.picture.stem, image)])
    return edits.store(folder, order, image, outcome)


def _named(trace: Mapping[str, Any], order: Order) -> str:
    message = str(trace["message"])
    return f"{'' if str(order.picture) in message else f'{order.picture}: '}{trace['stage']}: {message}"


def _tell(trace: Mapping[str, Any], folder: Path, is_new: bool) -> int:
    """Print every decision, and where the pictures are; returns the exit code."""
    if "stage" in trace:
        print(f"error: {trace['stage']}: {trace['message']}", file=sys.stderr)
        return SOME_FAILED
    decisions = trace["decisions"]
    for line in _lines(decisions):
        print(line)
    names: Sequence[str] = [n for n in (edits.EDITED, edits.MASK, edits.PANEL) if (folder / n).is_file()]
    print(f"{', '.join(names)} and {edits.TRACE} are in {folder}" + ("" if is_new else " (edited before)"))
    return OK


def _lines(decisions: Mapping[str, Any]) -> list[str]:
    captions = decisions["captions"] or {}
    named = {
        "description": decisions["description"],
        "segmentation prompt": decisions["segmentation_prompt"],
        "input caption": captions.get("input"),
        "edited caption": captions.get("edited"),
        "ratio chosen": decisions["ratio"],
    }
    boxes = [
        f"box: {b['phrase']} {b['score']:.2f} at {b['x1']:.0f},{b['y1']:.0f} to {b['x2']:.0f},{b['y2']:.0f}"
        for b in decisions["boxes"]
    ]
    return [f"{name + ':':<21}{value}" for name, value in named.items() if value is not None] + boxes


def main() -> int:
    """Edit, with image and instruction taken as they are typed."""
    return launch(task, "edit", VERBATIM, POSITIONAL)


if __name__ == "__main__":
    sys.exit(main())
