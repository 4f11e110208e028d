"""Write the benchmark of scenes: five scenes with ground truth, byte for byte reproducible.

python -m scripts.draw scenes
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from data.picturebook.benchmark_card import PACKED
from data.picturebook.cards import (
    ARC,
    FOCAL,
    HEIGHT,
    HELD_OUT,
    RADIUS,
    VIEWS,
    CardScene,
    Shot,
    box,
    mask,
    poses,
    shoot,
)
from data.picturebook.clips_benchmark import line, save
from data.picturebook.world import SIZE
from eval.benchmarks.base import MANIFEST
from eval.benchmarks.packed import pack
from instructedit.applications.nerf.cameras import Camera
from instructedit.applications.nerf.scenes import Scene, write_scene
from instructedit.applications.strips import rolled
from instructedit.files import write_aside

FOLDER = Path(__file__).with_name("benchmark_3d")
DEPTH_UNIT = 1 / 1000
"""Of the stored depth, in world units: nerfstudio's ``depth_unit_scale_factor``."""
FARTHEST = 2**16 - 1
_CARD = """\
# picturebook_3d

{count} scenes of {views} views of {size} x {size} pixels, with an instruction, two captions, and ground truth: every
view's mask, the edited scene, and the depth of both. Textured cards stand on a ground plane under a sky that is
infinitely far away. No model was trained on these scenes.

The cameras stand on an arc of {arc:.0f} degrees with a radius of {radius:.0f}, at heights around {height:.0f}. Views
{held_out} are held out: no field is trained on them.

## How it is drawn

    python -m scripts.draw scenes

This command draws this folder again, byte for byte (with the package versions of `constraints.txt`), including this
card. `data/picturebook/cards.py` lists the scenes, and casts the rays exactly: 16 for each pixel.

## Contents

| scene | instruction | things |
| --- | --- | --- |
{table}
{packed}
- `scenes/<id>/`: the scene as nerfstudio reads it, `transforms.json` and PNGs, with the splits. `aabb` is a key of
  this project: the box in which the scene lies.
- `images/<id>.webp`: the same views as a *strip*, below each other in the order of `transforms.json`, which is the
  order along the arc. The harness edits strips. They are lossless WebP, which is smaller than PNG.

A line of `manifest.jsonl` is one sample:

- `image`: the strip. `instruction` and `captions`: of the middle view.
- `truth.mask`: the visible pixels of the referred thing in each view, before the edit.
- `truth.edited`: the strip after a perfect edit. `truth.referred`, `truth.target`: as in the other benchmarks.
- `depth/<id>.png` and `depth_edited/<id>.png`: distance along the optical axis at each pixel's centre, 16 bits, in
  thousandths of a world unit; 0 is the sky, and 65535 stands for ground that is farther away.

## Licence

The pictures are composed of emoji from Google's Noto Color Emoji, Apache License 2.0 (see NOTICE). The code that draws
them and the texts are under the MIT License.
"""


def posed(scene: CardScene, pictures: UInt8[np.ndarray, "n h w 3"]) -> Scene:
    """Return a scene's views with their cameras and splits."""
    cameras = tuple(Camera(SIZE, SIZE, FOCAL, FOCAL, SIZE / 2, SIZE / 2, pose) for pose in poses())
    names = tuple(f"images/{view:03d}.png" for view in range(VIEWS))
    train = tuple(view for view in range(VIEWS) if view not in HELD_OUT)
    return Scene(names, cameras, pictures, train, HELD_OUT, box(scene), Path(scene.id))


def depth_strip(shots: Sequence[Shot]) -> Float[np.ndarray, "h w"]:
    """Return the depths of some views below each other, in :data:`DEPTH_UNIT`, at most :data:`FARTHEST`."""
    stacked: Float[np.ndarray, "h w"] = np.concatenate([shot.depth for shot in shots]) / DEPTH_UNIT
    return np.minimum(stacked, FARTHEST)


def write(scenes: Sequence[CardScene], folder: Path) -> None:
    """Write scenes, ground truth, archive, manifest and card."""
    for scene in scenes:
        shots = [shoot(scene, pose) for pose in poses()]
        edited = [shoot(scene.edited, pose) for pose in poses()]
        pictures = np.stack([shot.pixels for shot in shots])
        write_scene(folder / "scenes" / scene.id, posed(scene, pictures), pictures)
        save(rolled(pictures), folder / "images" / f"{scene.id}.webp")
        save(rolled(np.stack([shot.pixels for shot in edited])), folder / "edited" / f"{scene.id}.webp")
        visible = np.concatenate([mask(scene, shot) for shot in shots])
        save(visible, folder / "masks" / f"{scene.id}.png")
        save(depth_strip(shots).round().astype(np.uint16), folder / "depth" / f"{scene.id}.png")
        save(depth_strip(edited).round().astype(np.uint16), folder / "depth_edited" / f"{scene.id}.png")
    pack(folder)
    lines = [line(scene) for scene in scenes]
    with write_aside(folder / MANIFEST) as file:
        file.write("".join(json.dumps(item) + "\n" for item in lines).encode())
    with write_aside(folder / "README.md") as file:
        file.write(card(scenes, lines).encode())


def card(scenes: Sequence[CardScene], lines: Sequence[Mapping[str, Any]]) -> str:
    """Return the benchmark's card in Markdown, from scenes and their lines of the manifest."""
    rows = [
        f"| `{scene.id}` | {item['instruction']} | {', '.join(t.noun for t in scene.scene.things)} |"
        for scene, item in zip(scenes, lines, strict=True)
    ]
    return _CARD.format(
        count=len(scenes), views=VIEWS, size=SIZE, arc=2 * np.degrees(ARC), radius=RADIUS, height=HEIGHT,
        held_out=", ".join(map(str, HELD_OUT)), table="\n".join(rows), packed=PACKED,
    )  # fmt: skip
