"""Grids of pictures, like the paper's qualitative figures, drawn from stored runs."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from eval.runs.records import EditRecord, FailureRecord
from eval.runs.run import Run
from instructedit.images import glimpse, load_image, overlay
from instructedit.types import Sample, StageError

CELL, GAP, MARGIN, LINE, SIZE = 192, 8, 14, 22, 15
NOTE_LINE, NOTE_SIZE = 17, 12
INK, GREY, EMPTY, RED = (34, 40, 49), (105, 114, 125), (238, 239, 241), (150, 60, 50)
Cell = Image.Image | str


@dataclass(frozen=True)
class Row:
    """Pictures side by side with a caption above them."""

    caption: str
    """One or several lines; empty if the row continues the one above."""
    cells: tuple[Cell, ...]
    """RGB pictures, or the text that is shown instead of a missing one."""
    notes: tuple[str, ...] = ()
    """Text below each cell; may be empty."""


@dataclass(frozen=True)
class Drawn:
    """The encoded files of a figure."""

    png: bytes
    pdf: bytes
    width: int
    """Width of the PNG in pixels."""
    height: int


def grid(heads: Sequence[str], rows: Sequence[Row]) -> Drawn:
    """Draw rows of pictures with a head above each column."""
    font, small = _font(SIZE), _font(NOTE_SIZE)
    lines = [_wrap(head, font) for head in heads]
    top = MARGIN + LINE * max(map(len, lines)) + GAP
    notes = [[_wrap(note, small) for note in row.notes] for row in rows]
    under = [NOTE_LINE * max(map(len, of_row), default=0) for of_row in notes]
    width = len(heads) * (CELL + GAP) - GAP
    captions = [
        [w for line in r.caption.split("\n") for w in _wrap(line, font, width)] if r.caption else [] for r in rows
    ]
    over = [LINE * len(caption) + (GAP if caption else 0) for caption in captions]
    heights = [CELL + GAP + o + u for o, u in zip(over, under, strict=True)]
    size = (2 * MARGIN + len(heads) * (CELL + GAP) - GAP, top + sum(heights) + MARGIN - GAP)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for column, words in enumerate(lines):
        place = (MARGIN + column * (CELL + GAP) + CELL / 2, top - GAP)
        draw.multiline_text(place, "\n".join(words), INK, font, anchor="md", align="center", spacing=4)
    for row, height, caption, row_notes, room in zip(rows, heights, captions, notes, under, strict=True):
        for number, line in enumerate(caption):
            place = (MARGIN, top + 2 + number * LINE)
            draw.text(place, line, GREY, font)
        for column, cell in enumerate(row.cells):
            _place(sheet, draw, cell, (MARGIN + column * (CELL + GAP), top + height - room - CELL - GAP))
        for column, words in enumerate(row_notes):
            place = (MARGIN + column * (CELL + GAP), top + height - room - GAP + 2)
            draw.multiline_text(place, "\n".join(words), GREY, small, spacing=NOTE_LINE - NOTE_SIZE - 2)
        top += height
    return save(sheet)


def save(sheet: Image.Image) -> Drawn:
    """Encode a picture as PNG and as PDF with 200 pixels per inch."""
    png, pdf = io.BytesIO(), io.BytesIO()
    sheet.save(png, "PNG")
    # The PDF has no dates, so that equal results give equal files.
    sheet.save(pdf, "PDF", resolution=200, quality=92, creationDate=None, modDate=None)
    return Drawn(png.getvalue(), pdf.getvalue(), *sheet.size)


def source(sample: Sample) -> Cell:
    """Return a sample's input image."""
    return _read(sample.image, "no input")


def truth(sample: Sample) -> Cell:
    """Return a sample's reference edit."""
    return _read(sample.truth.edited, "unknown")


def edit(run: Run, sample: Sample) -> Cell:
    """Return a run's edit of a sample, or a text that says at which stage it failed."""
    record = run.records.get(sample.id)
    if record is None:
        return "not run"
    if isinstance(record, FailureRecord):
        return f"failed: {record.stage}"
    return _read(run.store.image_path(sample.id), "no picture")


def mask(run: Run, sample: Sample) -> Cell:
    """Return a run's mask in red over the input, as in the paper's Fig. 3, with the mask IoU if it was computed."""
    record, image = run.records.get(sample.id), source(sample)
    if not isinstance(record, EditRecord):
        return edit(run, sample)
    if isinstance(image, str) or record.mask_sha256 is None:
        return image if isinstance(image, str) else "no mask"
    with Image.open(run.store.mask_path(sample.id)) as stored:
        inside = np.asarray(stored.convert("L")) > 0
    if inside.shape != (image.height, image.width):
        return "mask of another size"
    cell = _fit(overlay(image, inside))
    values = run.metrics[(run.metrics["sample_id"] == sample.id) & (run.metrics["metric"] == "mask_iou")]["value"]
    for value in values.dropna():
        _tag(cell, f"IoU {value:.2f}")
    return cell


def chosen(samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples in the order of all figures: the first of each category, then the second of each, etc."""
    categories = dict.fromkeys(s.category for s in samples)
    queues = [[s for s in samples if s.category == c] for c in categories]
    return list(_round_robin(queues))


def _round_robin(queues: list[list[Sample]]) -> Iterator[Sample]:
    for place in range(max(map(len, queues), default=0)):
        yield from (queue[place] for queue in queues if place < len(queue))


def _read(path: Path | None, otherwise: str) -> Cell:
    try:
        return load_image(path) if path is not None else otherwise
    except StageError:
        return otherwise


def _fit(image: Image.Image) -> Image.Image:
    """Scale an image to a cell, keep its aspect ratio, and pad it with white."""
    image = glimpse(image)
    scale = CELL / max(image.size)
    small = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    if small.size == (CELL, CELL):
        return small
    cell = Image.new("RGB", (CELL, CELL), "white")
    cell.paste(small, ((CELL - small.width) // 2, (CELL - small.height) // 2))
    return cell


def _place(sheet: Image.Image, draw: ImageDraw.ImageDraw, cell: Cell, at: tuple[int, int]) -> None:
    if isinstance(cell, Image.Image):
        sheet.paste(_fit(cell), at)
        return
    draw.rectangle((*at, at[0] + CELL - 1, at[1] + CELL - 1), fill=EMPTY)
    middle = (at[0] + CELL / 2, at[1] + CELL / 2)
    ink = RED if cell.startswith("failed") else GREY
    draw.multiline_text(middle, "\n".join(_wrap(cell, _font(SIZE))), ink, _font(SIZE), anchor="mm", align="center")


def _tag(cell: Image.Image, text: str) -> None:
    draw, font = ImageDraw.Draw(cell), _font(13)
    width = font.getlength(text) + 10
    draw.rectangle((0, CELL - 20, width, CELL), fill="white")
    draw.text((5, CELL - 18), text, INK, font)


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: float = CELL) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(_cut(word, font, width))
        else:
            lines[-1] = _cut(longer, font, width)
    return lines


def _cut(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    text = " ".join(text.split())
    while len(text) > 1 and font.getlength(text) > width:
        text = text[:-2] + "…"
    return text


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # Pillow's default font has no Greek letters; the font that matplotlib ships has them.
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)
