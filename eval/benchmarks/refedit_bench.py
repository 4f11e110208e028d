"""RefEdit-Bench (Pathiraja et al., ICCV 2025): 100 easy and 100 hard edits of one among several objects.

Its folder is that of the hub's ``bpathir1/RefEdit-Bench``: ``data/test-*.parquet`` with the columns ``input_image``,
``editing_instruction``, ``edit_instruction_single`` and ``mask``.
"""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageDraw

from eval.benchmarks.base import Benchmark
from eval.benchmarks.masks import kept
from eval.benchmarks.schema import Entry, distinct, noted
from eval.benchmarks.tables import read_table
from instructedit.files import digest
from instructedit.images import FORMATS
from instructedit.types import Sample, Truth

EXPECTED = (
    "benchmark.folder= names RefEdit-Bench's folder, with data/test-*.parquet; "
    "the project gives it out: https://huggingface.co/datasets/bpathir1/RefEdit-Bench"
)
EASY = 100
"""Number of easy samples, which come first."""
DILATION = 15
"""Side of the square by which the authors' evaluation dilates a mask, in pixels."""


def read(folder: Path, masks: Path | None = None) -> Benchmark:
    """Read the test split, in the order of its files.

    A sample's id is the number of its row from 0, after which the authors' code names edits; its category is
    ``easy`` or ``hard``. The instruction is ``editing_instruction``, which contains the referring expression. The
    ground-truth mask is the first polygon of ``mask``, dilated as in the authors' evaluation; it is omitted if the
    picture cannot be read.

    Raises:
        ConfigError: The files are not valid. The one-line message names the file, the row, the column and the accepted
            values.
    """
    table = read_table(folder, "test-*.parquet", ("editing_instruction", "mask"), ("input_image",), EXPECTED)
    rows = enumerate(zip(table.entries, table.pictures("input_image", masks), strict=True))
    samples = ((entry, _sample(number, entry, picture, masks)) for number, (entry, picture) in rows)
    return Benchmark("refedit_bench", table.revision, tuple(distinct(samples)))


def polygon_mask(polygon: list[float], size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """Return a filled polygon, dilated, as the ``mask_decode`` of RefEdit's evaluation does.

    Args:
        polygon: x and y of each corner in turn, in pixels.
        size: Width and height.
    """
    image = Image.new("L", size, 0)
    ImageDraw.Draw(image).polygon(polygon, outline=1, fill=1)
    return cv2.dilate(np.array(image), np.ones((DILATION, DILATION), np.uint8)) > 0


def _sample(number: int, entry: Entry, picture: Path, masks: Path | None) -> Sample:
    polygon = _polygon(entry)
    size = _size(picture)
    mask = None
    if polygon and size is not None:
        mask = kept(masks, f"refedit_bench-{digest([polygon, size])}", lambda: polygon_mask(polygon, size))
    return Sample(
        id=str(number),
        image=picture,
        instruction=entry.text("editing_instruction"),
        category="easy" if number < EASY else "hard",
        truth=Truth(mask=mask),
    )


def _size(picture: Path) -> tuple[int, int] | None:
    """Return width and height of a picture as it is stored, to which polygons refer; None if it cannot be read."""
    try:
        with Image.open(picture, formats=FORMATS) as image:
            return image.size
    except OSError:
        return None


def _polygon(entry: Entry) -> list[float]:
    text = entry.text("mask")
    try:
        polygons: Any = json.loads(text) if text else []
        polygon = [float(value) for value in polygons[0]]
        if len(polygon) < 6 or len(polygon) % 2:
            raise ValueError
    except (ValueError, TypeError, IndexError, KeyError):
        noted(entry.error("mask", "a JSON list of polygons is expected, each a list of x and y of at least 3 corners"))
        return []
    return polygon
