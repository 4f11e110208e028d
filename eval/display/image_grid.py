"""Image grids of the results on disk."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from eval.benchmarks.base import Benchmark
from eval.display.style import two_lines
from eval.runs.records import EditRecord, FailureRecord
from eval.runs.run import Run
from instructedit.images import glimpse, load_image, overlay
from instructedit.types import Sample, StageError

CELL, GAP, LINE = 128, 6, 18
MISSING = (228, 228, 228)


@dataclass(frozen=True)
class _Column:
    """A column of one run's edits or masks."""

    head: str
    run: Run
    is_mask: bool

    def cell(self, sample: Sample, image: Image.Image) -> Image.Image | str:
        record = self.run.records.get(sample.id)
        if record is None:
            return "not run"
        if isinstance(record, FailureRecord):
            return f"failed:\n{record.stage}"
        result = self.run.store.read_result(sample.id)
        if not self.is_mask:
            return result.image
        return self._with_iou(overlay(image, result.mask), sample) if result.mask is not None else "no mask"

    def _with_iou(self, masked: Image.Image, sample: Sample) -> Image.Image:
        rows = self.run.metrics
        iou = rows[(rows["sample_id"] == sample.id) & (rows["metric"] == "mask_iou")]["value"].dropna()
        masked = glimpse(masked).resize((CELL, CELL), Image.Resampling.LANCZOS)
        if len(iou):
            draw = ImageDraw.Draw(masked)
            draw.rectangle((0, CELL - 15, 50, CELL), fill="white")
            draw.text((3, CELL - 15), f"IoU {iou.iloc[0]:.2f}", "black", ImageFont.load_default(12))
        return masked


def _columns(runs: Sequence[Run]) -> list[_Column]:
    """Return a column of edits for each run, preceded by its masks unless an earlier run has the same masks."""
    columns: list[_Column] = []
    seen: list[dict[str, str]] = []
    for run in runs:
        edits = {k: record for k, record in run.records.items() if isinstance(record, EditRecord)}
        masks = {k: record.mask_sha256 for k, record in edits.items() if record.mask_sha256 is not None}
        if masks and masks not in seen:
            columns.append(_Column(f"mask of {run.label}" if seen else "mask", run, is_mask=True))
            seen.append(masks)
        columns.append(_Column(run.label, run, is_mask=False))
    return columns


def sheet(benchmark: Benchmark, runs: Sequence[Run], blocks: int = 2) -> Image.Image:
    """Return a sheet of all samples: input, masks with their IoU, the edit of each run, and the reference edit.

    Args:
        benchmark: The benchmark; its samples are the rows.
        runs: Runs on disk, one column each, and another one for masks that no earlier run has.
        blocks: Maximum number of samples side by side.

    Returns:
        An RGB picture; a failed sample has a grey cell that names the stage.
    """
    columns = _columns(runs)
    heads = ["input", *(c.head for c in columns), "reference edit"]
    # The number of columns is limited so that the sheet fits a screen.
    blocks = max(1, min(blocks, 24 // len(heads)))
    width = len(heads) * (CELL + GAP) + 3 * GAP
    row = CELL + LINE + 2 * GAP
    rows = -(-len(benchmark.samples) // blocks)
    head = 2 * LINE + 2 * GAP
    page = Image.new("RGB", (blocks * width, head + GAP + rows * row), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(12)
    for block in range(blocks):
        for column, words in enumerate(heads):
            x = block * width + 2 * GAP + column * (CELL + GAP)
            draw.multiline_text((x, head - GAP), _fit(words, font), "black", font, anchor="ld", spacing=2)
    for index, sample in enumerate(benchmark.samples):
        block, place = divmod(index, rows)
        x, y = block * width + 2 * GAP, head + place * row
        draw.text((x, y), f"{sample.instruction}", (70, 70, 70), font)
        for column, cell in enumerate(_cells(sample, columns)):
            at = (x + column * (CELL + GAP), y + LINE)
            if isinstance(cell, Image.Image):
                page.paste(glimpse(cell).resize((CELL, CELL), Image.Resampling.LANCZOS), at)
            else:
                draw.rectangle((*at, at[0] + CELL - 1, at[1] + CELL - 1), fill=MISSING)
                draw.text((at[0] + 6, at[1] + 6), cell, (120, 60, 60), font)
    return page


def _cells(sample: Sample, columns: Sequence[_Column]) -> list[Image.Image | str]:
    try:
        image = load_image(sample.image)
    except StageError:
        return ["no input"] * (len(columns) + 2)
    return [image, *(c.cell(sample, image) for c in columns), _reference(sample)]


def _reference(sample: Sample) -> Image.Image | str:
    if sample.truth.edited is None:
        return "unknown"
    try:
        return load_image(sample.truth.edited)
    except StageError:
        return "cannot be read"


def _fit(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Return a label in two lines, without its first words if it is too wide; its end, such as "ratio=0.5", matters."""
    words = two_lines(text)
    while " " in words and max(font.getlength(line) for line in words.split("\n")) > CELL:
        words = two_lines(" ".join(words.split()[1:]))
    return words
