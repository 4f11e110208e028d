"""PIE-Bench (Ju et al., PnP Inversion, ICLR 2024): 700 pictures of 512 x 512 with captions, instruction and mask.

Its folder has ``mapping_file.json`` and the pictures under ``annotation_images/``, as published by the project.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from eval.benchmarks.base import Benchmark, revision
from eval.benchmarks.masks import kept
from eval.benchmarks.schema import Entry, distinct, entry_of, kind, noted, quoted, read_json
from instructedit.files import digest
from instructedit.types import Captions, ConfigError, Sample, Truth

EXPECTED = (
    "benchmark.folder= names PIE-Bench's folder, with mapping_file.json and annotation_images/; "
    "the project gives it out: https://github.com/cure-lab/PnPInversion"
)
SIDE = 512
"""Side of the masks in pixels."""
TYPES = {
    "0": ("0_random", ""),
    "1": ("1_change_object", "change"),
    "2": ("2_add_object", "add"),
    "3": ("3_delete_object", "remove"),
    "4": ("4_change_attribute_content", "change"),
    "5": ("5_change_attribute_pose", "change"),
    "6": ("6_change_attribute_color", "change"),
    "7": ("7_change_attribute_material", "change"),
    "8": ("8_change_background", ""),
    "9": ("9_change_style", ""),
}
"""Category and the paper's edit type (§5), or an empty string, by ``editing_type_id``."""


def read(folder: Path, masks: Path | None = None) -> Benchmark:
    """Read the whole benchmark, in the order of its file.

    ``original_prompt`` and ``editing_prompt`` are the captions; the brackets around their differences are removed. The
    ground-truth mask is the region to edit. ``blended_word`` is for prompt-to-prompt and not read.

    Raises:
        ConfigError: The file is not valid. The one-line message names the file, the entry, the key and the accepted
            values.
    """
    file = folder / "mapping_file.json"
    data, mapping = read_json(file, EXPECTED)
    if not isinstance(mapping, dict) or not mapping:
        raise ConfigError(f"{file}: an object of samples by id is expected, not {_found(mapping)}")
    samples = tuple(distinct(_samples(file, mapping, masks)))
    return Benchmark("pie_bench", revision(data, (s.image for s in samples)), samples)


def mask_decode(runs: list[int]) -> Bool[np.ndarray, "512 512"]:
    """Decode a mask from run lengths, as PIE-Bench's own ``mask_decode`` does.

    Args:
        runs: Alternating starts and lengths of the runs, in row-major order; runs are clipped at the end.

    Returns:
        True inside the mask and on the image's border of one pixel, "to avoid annotation errors".
    """
    flat = np.zeros(SIDE * SIDE, dtype=bool)
    for start, length in zip(runs[::2], runs[1::2], strict=True):
        flat[start : start + length] = True
    mask = flat.reshape(SIDE, SIDE)
    mask[[0, -1], :] = True
    mask[:, [0, -1]] = True
    return mask


def _samples(file: Path, mapping: Mapping[str, Any], masks: Path | None) -> Iterator[tuple[Entry, Sample]]:
    for key, value in mapping.items():
        entry = entry_of(file, f"entry {key}", value)
        if entry is None:
            continue
        identity = Entry(file, entry.place, {"id": key}).identity("id")
        number = entry.text("editing_type_id")
        category, edit = TYPES.get(number, ("", ""))
        if number and number not in TYPES:
            noted(entry.error("editing_type_id", f"{quoted(number)}; accepted are {', '.join(TYPES)}"))
        sample = Sample(
            id=identity,
            image=entry.path("image_path", "annotation_images"),
            instruction=entry.text("editing_instruction"),
            captions=Captions(_unmarked(entry, "original_prompt"), _unmarked(entry, "editing_prompt")),
            category=category,
            edit=edit,
            truth=Truth(mask=_mask(entry, masks)),
        )
        yield entry, sample


def _unmarked(entry: Entry, key: str) -> str:
    marked = entry.text(key)
    return replace(entry, fields={key: marked.replace("[", "").replace("]", "")}).text(key) if marked else ""


def _mask(entry: Entry, masks: Path | None) -> Path | None:
    runs = entry.fields.get("mask")
    # In Python, bool is a subclass of int; in JSON, true is not a number.
    if not isinstance(runs, list) or len(runs) % 2 or any(type(run) is not int or run < 0 for run in runs):
        expected = "start and length of each run in turn are expected, a list of whole numbers from 0 on"
        noted(entry.error("mask", expected))
        return None
    return kept(masks, f"pie_bench-{digest(runs)}", lambda: mask_decode(runs))


def _found(value: Any) -> str:
    return "an empty one" if value == {} else kind(value)
