"""Write the benchmark of clips: ten filmstrips with ground truth, byte for byte reproducible.

python -m scripts.draw clips
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data.picturebook.benchmark_card import PACKED
from data.picturebook.cards import CardScene
from data.picturebook.clips import FRAMES, RATE, Film, flow, frames, masks, strip
from data.picturebook.phrases import describe
from data.picturebook.world import SIZE
from eval.benchmarks.base import MANIFEST
from eval.benchmarks.packed import pack
from eval.metrics.video import encoded_flow
from instructedit.files import write_aside

FOLDER = Path(__file__).with_name("benchmark_video")
_CARD = """\
# picturebook_video

{count} clips of {frames} frames of {size} x {size} pixels, with an instruction, two captions, and ground truth: every
frame's mask, the edited clip, and the optical flow. Things move, scale and cross in front of each other, and the camera
pans. No model was trained on these scenes.

A clip is a *filmstrip*: its frames below each other in one picture, the first on top, {rate} frames a second. Clips are
lossless WebP, which is smaller than PNG.

## How it is drawn

    python -m scripts.draw clips

This command draws this folder again, byte for byte (with the package versions of `constraints.txt`), including this
card. `data/picturebook/clips.py` lists the clips.

## Contents

| clip | instruction | things | camera |
| --- | --- | --- | --- |
{table}
{packed}
A line of `manifest.jsonl` is one sample:

- `image`: the filmstrip. `instruction` and `captions`: of the clip's first frame.
- `truth.mask`: the visible pixels of the referred thing in each frame, before the edit.
- `truth.edited`: the filmstrip after a perfect edit. `truth.referred`, `truth.target`: as in the other benchmarks.
- `flow/<id>.png`: the optical flow from each frame to the next, one frame fewer. Of each pixel's 24 bits (red, green,
  blue), the upper 12 are the flow to the right and the lower 12 the flow down, in 1/64 pixel, plus 2048. 0 means that
  the surface is hidden in the next frame or leaves it.

## Licence

The pictures are composed of emoji from Google's Noto Color Emoji, Apache License 2.0 (see NOTICE). The code that draws
them and the texts are under the MIT License.
"""


def line(film: Film | CardScene) -> dict[str, Any]:
    """Return the line of a clip or a scene in the manifest."""
    edit = film.edit
    category = "same" if len({t.noun for t in film.scene.things}) < len(film.scene.things) else "different"
    return {
        "id": film.id,
        "image": f"images/{film.id}.webp",
        "instruction": edit.wish.words(film.template),
        "captions": {"input": describe(edit.scene), "edited": describe(edit.edited)},
        "category": "single" if len(film.scene.things) == 1 else category,
        "edit": edit.edit,
        "truth": {
            "mask": f"masks/{film.id}.png",
            "edited": f"edited/{film.id}.webp",
            "referred": edit.reference.phrase,
            "target": edit.target,
        },
    }


def write(films: Sequence[Film], folder: Path) -> None:
    """Write clips, ground truth, their archive, manifest and card."""
    for film in films:
        drawn = frames(film)
        visible = masks(film, drawn)
        moved = encoded_flow(flow(film, drawn))
        save(strip([frame.pixels for frame in drawn]), folder / "images" / f"{film.id}.webp")
        save(strip([frame.pixels for frame in frames(film.edited)]), folder / "edited" / f"{film.id}.webp")
        save(strip(list(visible.astype(np.uint8) * 255)), folder / "masks" / f"{film.id}.png")
        save(strip(list(moved)), folder / "flow" / f"{film.id}.png")
    pack(folder)
    lines = [line(film) for film in films]
    with write_aside(folder / MANIFEST) as file:
        file.write("".join(json.dumps(item) + "\n" for item in lines).encode())
    with write_aside(folder / "README.md") as file:
        file.write(card(films, lines).encode())


def save(picture: Image.Image | np.ndarray, path: Path) -> None:
    """Write a picture without loss, as WebP or PNG by the path's ending."""
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    with write_aside(path) as file:
        if path.suffix == ".webp":
            picture.save(file, "WEBP", lossless=True, quality=100, method=4, exact=True)
        else:
            picture.save(file, "PNG", compress_level=9)


def card(films: Sequence[Film], lines: Sequence[dict[str, Any]]) -> str:
    """Return the benchmark's card in Markdown, from clips and their lines of the manifest."""
    rows = []
    for film, item in zip(films, lines, strict=True):
        things = ", ".join(
            f"{thing.noun} {_motion(motion)}" for thing, motion in zip(film.scene.things, film.motions, strict=True)
        )
        camera = f"pans {film.pan:+.0f}" if film.pan else "stands"
        rows.append(f"| `{film.id}` | {item['instruction']} | {things} | {camera} |")
    table = "\n".join(rows)
    return _CARD.format(count=len(films), frames=FRAMES, size=SIZE, rate=RATE, table=table, packed=PACKED)


def _motion(motion: Any) -> str:
    parts = [f"{name} {value:+.0f}" for name, value in vars(motion).items() if value]
    return f"({', '.join(parts)})" if parts else "(still)"
