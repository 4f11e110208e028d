"""GIE-Bench (Qian et al., Apple, 2025): edits of photographs with an object's mask and a multiple-choice question.

Its folder has ``gie_bench.json`` and the photographs under ``images2000/``, where the project's own script downloads
them, or beside the file. An entry has ``image`` (such as ``/animals/name.jpg``), ``edit_instruction``, ``object_mask``
(224 rows of 224 numbers from 0 to 255), ``evaluation_question``, ``multiple_choice_options`` and ``expected_answer``.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, UInt8
from PIL import ExifTags, Image

from eval.benchmarks.base import Benchmark, revision
from eval.benchmarks.masks import kept
from eval.benchmarks.schema import Entry, distinct, entry_of, kind, noted, quoted, read_json
from instructedit.images import FORMATS
from instructedit.types import ConfigError, Question, Sample, Truth

EXPECTED = (
    "benchmark.folder= names GIE-Bench's folder, with gie_bench.json and images2000/; "
    "the project gives it out: https://github.com/apple/ml-gie-bench"
)
PICTURES = "images2000"
INSIDE = 128
"""Numbers of a mask from here on are inside the object, as in the authors' evaluation."""


def read(folder: Path, masks: Path | None = None) -> Benchmark:
    """Read the whole benchmark, in the order of its file.

    A sample's id is the number of its entry from 0, after which the authors' example names edits; its category is the
    folder of its photograph. The ground-truth mask is the object's, enlarged to the photograph by nearest neighbour as
    in the authors' evaluation; it is omitted if the photograph cannot be read.

    Raises:
        ConfigError: The file is not valid. The one-line message names the file, the item, the key and the accepted
            values.
    """
    file = folder / "gie_bench.json"
    data, items = read_json(file, EXPECTED)
    if not isinstance(items, list) or not items:
        raise ConfigError(
            f"{file}: a list of entries is expected, not {'an empty one' if items == [] else kind(items)}"
        )
    samples = tuple(distinct(_samples(file, items, masks)))
    return Benchmark("gie_bench", revision(data, (s.image for s in samples)), samples)


def _samples(file: Path, items: list[Any], masks: Path | None) -> Iterator[tuple[Entry, Sample]]:
    under = PICTURES if (file.parent / PICTURES).is_dir() else ""
    for number, value in enumerate(items):
        entry = entry_of(file, f"item {number}", value)
        if entry is None:
            continue
        # The published paths begin with a slash.
        name = entry.text("image").lstrip("/")
        image = replace(entry, fields={"image": name}).path("image", under) if name else Path()
        yield (
            entry,
            Sample(
                id=str(number),
                image=image,
                instruction=entry.text("edit_instruction"),
                category=Path(name).parent.name,
                truth=Truth(mask=_mask(entry, image, masks), question=_question(entry)),
            ),
        )


def _question(entry: Entry) -> Question | None:
    if entry.optional("evaluation_question") is None:
        return None
    question = Question(
        entry.text("evaluation_question"), entry.texts("multiple_choice_options"), entry.text("expected_answer")
    )
    if question.answer and question.answer not in question.options:
        accepted = ", ".join(map(quoted, question.options)) or "none"
        noted(entry.error("expected_answer", f"{quoted(question.answer)}; the options are {accepted}"))
    return question


def _mask(entry: Entry, image: Path, masks: Path | None) -> Path | None:
    try:
        values = np.asarray(entry.fields.get("object_mask"), dtype=np.uint8)
        if values.ndim != 2 or not values.size:
            raise ValueError
    except (ValueError, TypeError, OverflowError):
        noted(entry.error("object_mask", "rows of equal length with numbers from 0 to 255 are expected"))
        return None
    size = _size(image)
    if size is None:
        return None
    name = f"gie_bench-{hashlib.sha256(values.tobytes()).hexdigest()[:32]}-{size[0]}x{size[1]}"
    return kept(masks, name, lambda: enlarged(values, size))


def enlarged(values: UInt8[np.ndarray, "rows columns"], size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """Return a mask at a picture's size (width, height), True inside."""
    return cv2.resize(values, size, interpolation=cv2.INTER_NEAREST) >= INSIDE


def _size(path: Path) -> tuple[int, int] | None:
    """Return the size of a picture, upright; None if it cannot be read."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            # Only the header is read.
            turned = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
            return (image.height, image.width) if turned else image.size
    # For damaged files, Pillow's decoders raise many types; see instructedit.images.
    except Exception:
        return None
