"""Clips of picturebook's world with ground truth: things move, scale and cross, and the camera pans.

A clip is stored as a *filmstrip*: its frames below each other in one picture, first frame on top. So every part of the
harness that handles a picture also handles a clip. The mask and the edited clip are filmstrips too. The optical flow
from each frame to the next is a filmstrip of one frame fewer; see :func:`encode_flow`.

Layers are drawn at ``FINE`` times the size and averaged, so things move by 1 / ``FINE`` pixel without aliasing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFilter

from data.picturebook.edits import Edit, edit_of
from data.picturebook.phrases import Wish
from data.picturebook.world import SIZE, Scene, Thing, _scaled, background_pixels

FRAMES = 24
RATE = 12
"""Frames per second."""
FINE = 4


@dataclass(frozen=True)
class Motion:
    """How a thing changes from the first frame to the last, linearly, in pixels of the world (not of the frame)."""

    x: float = 0.0
    y: float = 0.0
    size: float = 0.0
    bounce: float = 0.0
    """Height of two bounces above the straight path."""


@dataclass(frozen=True)
class Film:
    """A clip before it is drawn."""

    id: str
    scene: Scene
    """The first frame; later things are in front of earlier ones."""
    motions: tuple[Motion, ...]
    """One for each thing."""
    pan: float
    """Pixels by which the camera moves to the right from the first frame to the last."""
    wish: Wish
    template: str

    @property
    def edit(self) -> Edit:
        """The edit of the first frame."""
        return edit_of(self.scene, self.wish)

    @property
    def edited(self) -> "Film":
        """The clip after a perfect edit."""
        motions = self.motions
        if self.wish.kind == "remove":
            gone = self.edit.reference.indices
            motions = tuple(m for i, m in enumerate(motions) if i not in gone)
        return replace(self, scene=self.edit.edited, motions=motions)

    def pan_at(self, frame: int) -> float:
        """Return the camera's position, in quarters of a pixel rounded to pixels of the fine grid."""
        return round(FINE * self.pan * frame / (FRAMES - 1)) / FINE

    def things_at(self, frame: int) -> list[tuple[Thing, int, int, int]]:
        """Return each thing with left, top and side of its square on the fine grid of the frame."""
        at = frame / (FRAMES - 1)
        placed = []
        for thing, motion in zip(self.scene.things, self.motions, strict=True):
            side = round(FINE * (thing.size + at * motion.size))
            lift = motion.bounce * abs(np.sin(2 * np.pi * at))
            x, y = thing.x + at * motion.x - self.pan_at(frame), thing.y + at * motion.y - lift
            placed.append((thing, round(FINE * x - side / 2), round(FINE * y - side / 2), side))
        return placed


@dataclass(frozen=True)
class Truth:
    """What is known about one frame."""

    pixels: UInt8[np.ndarray, "h w 3"]
    owner: Float[np.ndarray, "h w"]
    """Index of the thing that is visible at each pixel; -1 for the background."""


def _layer(thing: Thing, left: int, top: int, side: int) -> Float[np.ndarray, "h w 4"]:
    """Return a thing's premultiplied RGBA in [0, 1] at the frame's size."""
    canvas = Image.new("RGBA", (FINE * SIZE, FINE * SIZE), (0, 0, 0, 0))
    canvas.paste(_scaled(thing.noun, thing.colour, thing.mixed_with, side), (left, top))
    fine = np.asarray(canvas, dtype=np.float64) / 255
    fine[..., :3] *= fine[..., 3:]
    coarse: Float[np.ndarray, "h w 4"] = fine.reshape(SIZE, FINE, SIZE, FINE, 4).mean(axis=(1, 3))
    return coarse


def _shadow(thing: Thing, left: int, top: int, side: int, lift: float) -> Float[np.ndarray, "h w 1"]:
    if thing.noun == "balloon":
        return np.zeros((SIZE, SIZE, 1))
    x, size, bottom = (left + side / 2) / FINE, side / FINE, (top + 0.97 * side) / FINE + lift
    layer = Image.new("L", (SIZE * 2, SIZE * 2), 0)
    box = (x - 0.42 * size, bottom - 0.08 * size, x + 0.42 * size, bottom + 0.1 * size)
    ImageDraw.Draw(layer).ellipse(tuple(2 * v for v in box), fill=90)
    blurred = layer.filter(ImageFilter.GaussianBlur(0.06 * size)).resize((SIZE, SIZE), Image.Resampling.BOX)
    return np.asarray(blurred, dtype=np.float64)[..., None] / 255


def draw_frame(film: Film, frame: int) -> Truth:
    """Draw one frame of a clip."""
    picture = background_pixels(film.scene, film.pan_at(frame))
    owner = np.full((SIZE, SIZE), -1.0)
    placed, at = film.things_at(frame), frame / (FRAMES - 1)
    for (thing, left, top, side), motion in zip(placed, film.motions, strict=True):
        shade = _shadow(thing, left, top, side, motion.bounce * abs(np.sin(2 * np.pi * at)))
        picture = picture * (1 - shade) + np.array((20.0, 24.0, 40.0)) * shade
    for index, square in enumerate(placed):
        layer = _layer(*square)
        picture = picture * (1 - layer[..., 3:]) + 255 * layer[..., :3]
        owner[layer[..., 3] >= 0.5] = index
    return Truth(picture.round().clip(0, 255).astype(np.uint8), owner)


def frames(film: Film) -> list[Truth]:
    """Draw all frames of a clip."""
    return [draw_frame(film, frame) for frame in range(FRAMES)]


def masks(film: Film, drawn: Sequence[Truth]) -> Bool[np.ndarray, "t h w"]:
    """Return the visible pixels of the referred things in each frame, before the edit."""
    return np.stack([np.isin(frame.owner, film.edit.reference.indices) for frame in drawn])


def flow(film: Film, drawn: Sequence[Truth]) -> Float[np.ndarray, "t1 h w 2"]:
    """Return the optical flow from each frame to the next, as (x, y) in pixels.

    It is NaN where the surface is hidden in the next frame or leaves it.
    """
    ys, xs = np.mgrid[0:SIZE, 0:SIZE].astype(np.float64)
    flows = []
    for t in range(FRAMES - 1):
        moved = np.stack([np.full((SIZE, SIZE), film.pan_at(t) - film.pan_at(t + 1)), np.zeros((SIZE, SIZE))], axis=-1)
        pairs = zip(film.things_at(t), film.things_at(t + 1), strict=True)
        for index, ((_, left, top, side), (_, left2, top2, side2)) in enumerate(pairs):
            here = drawn[t].owner == index
            # Pixel centres are at half a pixel in the coordinates of the fine grid.
            u = (left2 + ((xs + 0.5) * FINE - left) * side2 / side) / FINE - 0.5 - xs
            v = (top2 + ((ys + 0.5) * FINE - top) * side2 / side) / FINE - 0.5 - ys
            moved[here] = np.stack([u, v], axis=-1)[here]
        x, y = np.round(xs + moved[..., 0]).astype(int), np.round(ys + moved[..., 1]).astype(int)
        is_inside = (x >= 0) & (x < SIZE) & (y >= 0) & (y < SIZE)
        after = drawn[t + 1].owner[y.clip(0, SIZE - 1), x.clip(0, SIZE - 1)]
        moved[~is_inside | (after != drawn[t].owner)] = np.nan
        flows.append(moved)
    return np.stack(flows)


def strip(parts: Sequence[np.ndarray]) -> Image.Image:
    """Return frames below each other as one picture."""
    return Image.fromarray(np.concatenate(list(parts)))


def film(
    name: str, background: str, wish: Wish, template: str, pan: float, *things: tuple[Thing, Motion], seed: int
) -> Film:
    """Return a clip of a photo-like scene."""
    scene = Scene(seed, "photo", background, tuple(t for t, _ in things))
    return Film(name, scene, tuple(m for _, m in things), pan, wish, template)


_CHANGE, _PAINT = "Change the {r} to {n}", "Paint the {r} {c}"
FILMS = (
    film(
        "clip_01_cat_to_lion", "grass", Wish("change", "cat", "lion"), _CHANGE, 14.0,
        (Thing("cat", 40, 76, 64), Motion(x=56)), seed=9001,
    ),
    film(
        "clip_02_horse_to_zebra", "grass", Wish("change", "horse", "zebra"), "Turn the {r} into {n}", 0.0,
        (Thing("horse", 34, 78, 58), Motion(x=58)), (Thing("tree", 84, 66, 44), Motion()), seed=9002,
    ),
    film(
        "clip_03_red_car_blue", "sand", Wish("recolour", "car", "blue"), _PAINT, 30.0,
        (Thing("house", 96, 60, 40), Motion()), (Thing("car", 46, 86, 56, "red"), Motion(x=48)), seed=9003,
    ),
    film(
        "clip_04_orange_to_apple", "snow", Wish("change", "orange", "apple"), "Replace the {r} with {n}", 0.0,
        (Thing("orange", 64, 72, 46), Motion(y=8, size=34)), seed=9004,
    ),
    film(
        "clip_05_bigger_cat_to_lion", "grass", Wish("change", "bigger cat", "lion"), _CHANGE, 8.0,
        (Thing("cat", 50, 64, 66), Motion(x=10)), (Thing("cat", 108, 98, 36), Motion(x=-70)), seed=9005,
    ),
    film(
        "clip_06_red_balloon_yellow", "grass", Wish("recolour", "balloon", "yellow"), _PAINT, -12.0,
        (Thing("tree", 96, 80, 48), Motion()), (Thing("balloon", 44, 70, 54, "red"), Motion(x=6, y=-28)), seed=9006,
    ),
    film(
        "clip_07_dog_to_fox", "sand", Wish("change", "dog", "fox"), _CHANGE, 16.0,
        (Thing("dog", 60, 72, 56), Motion(x=24, y=4, size=22)), seed=9007,
    ),
    film(
        "clip_08_cake_to_pizza", "snow", Wish("change", "cake", "pizza"), "Turn the {r} into {n}", 0.0,
        (Thing("cake", 56, 66, 60), Motion(x=12)), (Thing("ball", 14, 104, 30), Motion(x=98, bounce=26)), seed=9008,
    ),
    film(
        "clip_09_panda_to_bear", "snow", Wish("change", "panda", "bear"), _CHANGE, -10.0,
        (Thing("panda", 74, 70, 80), Motion(x=-22, size=-20)), seed=9009,
    ),
    film(
        "clip_10_remove_lemon", "grass", Wish("remove", "lemon", ""), "Remove the {r}", 6.0,
        (Thing("house", 42, 64, 56), Motion()), (Thing("lemon", 104, 92, 38), Motion(x=-28)), seed=9010,
    ),
)  # fmt: skip
"""The ten clips. The referred thing is visible in every frame."""
