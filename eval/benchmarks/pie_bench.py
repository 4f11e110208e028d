"""PIE-Bench (Ju et al., PnP Inversion, ICLR 2024): 700 pictures of 512 x 512 with captions, instruction and mask.

Its folder has ``mapping_file.json`` and the pictures under ``annotation_images/``, as the project gives them out.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from eval.benchmarks.base import Benchmark, revision
from eval.benchmarks.masks import kept
from eval.benchmarks.schema import Entry, distinct, entry_of, kind, read_json
from instructedit.files import digest
from instructedit.types import Captions, ConfigError, Sample, Truth

EXPECTED = (
    "benchmark.folder= names PIE-Bench's folder, with mapping_file.json and annotation_images/; "
    "the project gives it out: https://github.com/cure-lab/PnPInversion"
)
SIDE = 512
"""Of the masks, in pixels."""
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
"""Category, and the paper's kind of edit (§5) where it is one, by ``editing_type_id``."""


def read(folder: Path, masks: Path | None = None) -> Benchmark:
    """Read the whole benchmark, in the order of its file.

    ``original_prompt`` and ``editing_prompt`` are the captions, without the brackets that mark what differs. The true
    mask is of the region to edit. ``blended_word`` serves prompt-to-prompt and is not read.

    Raises:
        ConfigError: In one line that names the file, the entry, the key and what is accepted.
    """
    file = folder / "mapping_file.json"
    data, mapping = read_json(file, EXPECTED)
    if not isinstance(mapping, dict) or not mapping:
        raise ConfigError(f"{file}: an object of samples by id is expected, not {_found(mapping)}")
    samples = tuple(distinct(_samples(file, mapping, masks)))
    return Benchmark("pie_bench", revision(data, (s.image for s in samples)), samples)


def mask_decode(runs: list[int]) -> Bool[np.ndarray, "512 512"]:
    """A mask from its runs, as PIE-Bench's own ``mask_decode`` does it.

    Args:
        runs: Start and length of each run in turn, row by row; a run over the end is cut there.

    Returns:
        True where the edit belongs, and in any case on the border of one pixel, "to avoid annotation errors".
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
        identity = Entry(file, entry.place, {"id": key}).identity("id")
        category, edit = TYPES.get(entry.text("editing_type_id"), (None, ""))
        if category is None:
            raise entry.error("editing_type_id", f"{entry.text('editing_type_id')!r}; accepted are {', '.join(TYPES)}")
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
    plain = entry.text(key).replace("[", "").replace("]", "")
    return Entry(entry.file, entry.place, {key: plain}).text(key)


def _mask(entry: Entry, masks: Path | None) -> Path | None:
    runs = entry.fields.get("mask")
    # bool is an int to Python, and no number to JSON.
    if not isinstance(runs, list) or len(runs) % 2 or any(type(run) is not int or run < 0 for run in runs):
        raise entry.error(
            "mask", "start and length of each run in turn are expected, a list of whole numbers from 0 on"
        )
    return kept(masks, f"pie_bench-{digest(runs)}", lambda: mask_decode(runs))


def _found(value: Any) -> str:
    return "an empty one" if value == {} else kind(value)
