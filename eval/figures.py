"""Pictures of results, made from what runs left on disk."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from eval.benchmark import Benchmark
from eval.records import EDITED
from eval.runner import RunReport
from eval.store import RunStore
from instructedit.images import load_image, overlay
from instructedit.types import EditResult, StageError

CELL, GAP, LINE = 128, 6, 18
MISSING = (228, 228, 228)


def sheet(benchmark: Benchmark, reports: Sequence[RunReport], results: Path, blocks: int = 2) -> Image.Image:
    """Every sample in one picture: input, mask, an edit for each run, and the true edit where it is known.

    Args:
        benchmark: Whose samples, in its order.
        reports: Runs, a column each.
        results: The results folder that they were stored in.
        blocks: How many samples stand side by side.

    Returns:
        An RGB picture; a sample that failed has a grey cell that says at which stage.
    """
    stores = [RunStore(results, r.run_id) for r in reports]
    heads = ["input", "mask", *(r.label for r in reports), "true edit"]
    width = len(heads) * (CELL + GAP) + 3 * GAP
    row = CELL + LINE + 2 * GAP
    rows = -(-len(benchmark.samples) // blocks)
    page = Image.new("RGB", (blocks * width, LINE + 2 * GAP + rows * row), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(12)
    for block in range(blocks):
        for column, head in enumerate(heads):
            x = block * width + 2 * GAP + column * (CELL + GAP)
            draw.text((x, GAP), _fit(head, font), "black", font)
    for index, sample in enumerate(benchmark.samples):
        block, place = divmod(index, rows)
        x, y = block * width + 2 * GAP, LINE + GAP + place * row
        cells = _cells(benchmark, index, stores)
        draw.text((x, y), f"{sample.instruction}", (70, 70, 70), font)
        for column, cell in enumerate(cells):
            at = (x + column * (CELL + GAP), y + LINE)
            if isinstance(cell, Image.Image):
                page.paste(cell.resize((CELL, CELL), Image.Resampling.LANCZOS), at)
            else:
                draw.rectangle((*at, at[0] + CELL - 1, at[1] + CELL - 1), fill=MISSING)
                draw.text((at[0] + 6, at[1] + 6), cell, (120, 60, 60), font)
    return page


def _cells(benchmark: Benchmark, index: int, stores: Sequence[RunStore]) -> list[Image.Image | str]:
    sample = benchmark.samples[index]
    try:
        image = load_image(sample.image)
    except StageError:
        return ["no input"] * (len(stores) + 3)
    outcomes = [_outcome(store, sample.id) for store in stores]
    masks = [o.mask for o in outcomes if isinstance(o, EditResult) and o.mask is not None]
    edited: list[Image.Image | str] = [o.image if isinstance(o, EditResult) else o for o in outcomes]
    truth = load_image(sample.truth.edited) if sample.truth.edited else "unknown"
    return [image, overlay(image, masks[0]) if masks else "no mask", *edited, truth]


def _outcome(store: RunStore, sample_id: str) -> EditResult | str:
    record = store.finished().get(sample_id)
    if record is None:
        return "not run"
    return store.read_result(sample_id) if record["status"] == EDITED else f"failed:\n{record['stage']}"


def _fit(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The end of a label, as much as a cell is wide: "ratio=0.5" tells runs apart, the method's name does not."""
    words = text.split()
    while len(words) > 1 and font.getlength(" ".join(words)) > CELL:
        words = words[1:]
    return " ".join(words)
