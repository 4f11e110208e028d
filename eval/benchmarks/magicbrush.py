"""MagicBrush (Zhang et al., NeurIPS 2023): sessions of human edits in several turns, with masks and captions.

A split's folder has ``edit_turns.json``, the pictures under ``images/<id>/``, and, for dev and test,
``global_descriptions.json``. Every turn is a sample whose input is the reference edit of the previous turn, which
MagicBrush calls single-turn (or "independent") editing.
"""

import hashlib
import io
import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image

from eval.benchmarks.base import Benchmark, revision
from eval.benchmarks.masks import kept
from eval.benchmarks.schema import Entry, distinct, entry_of, kind, noted, quoted, read_json
from instructedit.images import FORMATS
from instructedit.types import Captions, ConfigError, Sample, Truth

log = logging.getLogger(__name__)
EXPECTED = (
    "benchmark.folder= names the folder of one of MagicBrush's splits, with edit_turns.json and images/; "
    "the project gives it out: https://osu-nlp-group.github.io/MagicBrush"
)
DESCRIPTIONS = "global_descriptions.json"
_NAME = re.compile(r"(?P<image>[A-Za-z0-9_]+)-(?P<rest>[A-Za-z0-9._-]+)")
_TURN = re.compile(r".*-output(\d+)")


def read(folder: Path, masks: Path | None = None) -> Benchmark:
    """Read every turn of a split, in the order of its file.

    A sample is named after its output, such as ``242679-output2``; its category is ``turn 2``, and its ``image_id`` is
    the id of the session's first picture, ``242679``, because the turns of a session are not independent. Captions are
    the global descriptions of input and output, if the split has both. The ground-truth mask is the transparent region
    of the published one (the picture with the region to edit erased, in DALL-E 2's format); a mask that is missing,
    damaged or without transparency is omitted with a warning.

    Raises:
        ConfigError: The files are not valid. The one-line message names the file, the item, the key and the accepted
            values.
    """
    file = folder / "edit_turns.json"
    data, turns = read_json(file, EXPECTED)
    if not isinstance(turns, list) or not turns:
        raise ConfigError(f"{file}: a list of turns is expected, not {'an empty one' if turns == [] else kind(turns)}")
    given = (entry_of(file, f"item {number}", turn) for number, turn in enumerate(turns, start=1))
    entries = [entry for entry in given if entry is not None]
    captions = folder / DESCRIPTIONS
    descriptions = _descriptions(captions)
    samples = tuple(distinct((e, _sample(e, descriptions, masks)) for e in entries))
    published = [_picture(e, "mask") for e in entries]
    unusable = [path for path, s in zip(published, samples, strict=True) if s.truth.mask is None]
    if unusable and masks is not None:
        log.warning("%s: %d of %d masks cannot be used, such as %s", folder, len(unusable), len(samples), unusable[0])
    files = (path for s, mask in zip(samples, published, strict=True) for path in (s.image, mask, s.truth.edited))
    return Benchmark("magicbrush", revision(data, (captions if captions.is_file() else None, *files)), samples)


def _sample(entry: Entry, descriptions: Mapping[str, Any], masks: Path | None) -> Sample:
    stem = Path(entry.text("output")).stem
    turn = _TURN.fullmatch(stem)
    return Sample(
        id=replace(entry, fields={"output": stem}).identity("output") if stem else "",
        image=_picture(entry, "input"),
        instruction=entry.text("instruction"),
        captions=_captions(entry, descriptions),
        category=f"turn {turn[1]}" if turn else "",
        truth=Truth(mask=_mask(_picture(entry, "mask"), masks), edited=_picture(entry, "output")),
        image_id=entry.text("input").partition("-")[0],
    )


def _picture(entry: Entry, key: str) -> Path:
    """Return the path of a picture; ``242679-mask1.png`` is in ``images/242679``."""
    text = entry.text(key)
    name = _NAME.fullmatch(text)
    if not name:
        if text:
            noted(entry.error(key, f"{quoted(text)}; a name such as 242679-{key}1.png is expected"))
        return Path()
    return entry.path(key, f"images/{name['image']}")


def _descriptions(file: Path) -> Mapping[str, Any]:
    if not file.is_file():
        return {}
    _, descriptions = read_json(file, EXPECTED)
    if not isinstance(descriptions, dict):
        noted(ConfigError(f"{file}: an object of captions by picture is expected, not {kind(descriptions)}"))
        return {}
    return descriptions


def _captions(entry: Entry, descriptions: Mapping[str, Any]) -> Captions | None:
    names = entry.text("input"), entry.text("output")
    image = names[0].partition("-")[0]
    session = entry_of(entry.file.parent / DESCRIPTIONS, f"entry {image}", descriptions.get(image, {}))
    before, after = (session.optional(name) if session else None for name in names)
    return Captions(before, after) if before and after else None


def _mask(path: Path, masks: Path | None) -> Path | None:
    if masks is None or not path.is_file():
        return None
    data = path.read_bytes()
    try:
        return kept(masks, f"magicbrush-{hashlib.sha256(data).hexdigest()}", lambda: transparent(data))
    except ValueError:
        return None


def transparent(data: bytes) -> Bool[np.ndarray, "h w"]:
    """Return where a picture's alpha is below one half.

    Args:
        data: Content of the picture's file.

    Raises:
        ValueError: The picture cannot be read, or no pixel is transparent.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            clear = np.asarray(image.convert("RGBA").getchannel("A")) < 128
    # For damaged files, Pillow's decoders raise many types; see instructedit.images.
    except Exception as error:
        raise ValueError(f"damaged ({error})") from error
    if not clear.any():
        raise ValueError("nothing in it is transparent")
    return clear
