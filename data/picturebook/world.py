"""Picturebook's world: scenes, how they are drawn, and their ground truth.

A :class:`Scene` is plain data, and :func:`render` draws it as 128 x 128 pixels, deterministically. An edit changes
things of a scene, so the reference edit is drawn from the edited scene and equals the input outside the edit.
"""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageChops, ImageDraw, ImageFilter

SIZE = 128
ATLAS = Path(__file__).with_name("atlas.png")
ATLAS_COLUMNS = 7
SPRITE_SIZE = 112

FACES = ("cat", "dog", "lion", "fox", "panda", "frog", "bear")
"""Animals drawn from the front, which can wear things."""
ANIMALS = (*FACES, "horse", "zebra")
FOODS = ("apple", "orange", "lemon", "strawberry", "shrimp", "cake", "pizza")
THINGS = ("car", "house", "tree", "ball", "balloon", "rose")
NOUNS = (*ANIMALS, *FOODS, *THINGS)
WEARABLES = ("hat", "crown", "bow", "glasses", "sunglasses", "scarf")
SPRITES = (*NOUNS, *WEARABLES)
COLOURS = ("red", "blue", "yellow", "pink", "white")
COLOURABLE = ("car", "balloon", "scarf")
BACKGROUNDS = ("grass", "sand", "snow", "night")
STYLES = ("photo", "painting", "drawing")

# Hue in degrees, and factors of saturation and value, with which a red sprite is repainted in each colour.
_PAINT = {
    "red": (0, 1.0, 1.0),
    "blue": (212, 1.0, 1.0),
    "yellow": (48, 1.0, 1.12),
    "pink": (330, 0.55, 1.12),
    "white": (210, 0.06, 1.15),
}
_SKY = {
    "grass": ((122, 192, 240), (206, 232, 246)),
    "sand": ((104, 178, 232), (250, 226, 188)),
    "snow": ((168, 190, 222), (226, 232, 242)),
    "night": ((16, 20, 58), (52, 48, 104)),
}
_GROUND = {
    "grass": ((126, 196, 90), (74, 142, 66)),
    "sand": ((240, 214, 154), (220, 184, 122)),
    "snow": ((250, 251, 254), (214, 222, 236)),
    "night": ((48, 76, 66), (24, 40, 44)),
}


@dataclass(frozen=True)
class Part:
    """Something an animal wears."""

    noun: str
    colour: str | None = None


@dataclass(frozen=True)
class Thing:
    """One object of a scene. ``x, y`` is its centre and ``size`` its side, in pixels."""

    noun: str
    x: float
    y: float
    size: float
    colour: str | None = None
    parts: tuple[Part, ...] = ()
    mixed_with: str | None = None
    """A second noun: the thing is drawn as a blend of both."""


@dataclass(frozen=True)
class Scene:
    """A picture before it is drawn. ``seed`` determines only the details of the background."""

    seed: int
    style: str
    background: str
    things: tuple[Thing, ...] = ()


@cache
def sprite(noun: str, colour: str | None = None) -> Image.Image:
    """Return the RGBA sprite of a noun, ``SPRITE_SIZE`` pixels square, repainted in ``colour`` if it is given."""
    row, column = divmod(SPRITES.index(noun), ATLAS_COLUMNS)
    box = (column * SPRITE_SIZE, row * SPRITE_SIZE, (column + 1) * SPRITE_SIZE, (row + 1) * SPRITE_SIZE)
    with Image.open(ATLAS) as atlas:
        image = atlas.convert("RGBA").crop(box)
    return image if colour in (None, "red") else _paint(image, str(colour))


def _paint(image: Image.Image, colour: str) -> Image.Image:
    """Repaint the red and orange pixels of a sprite in another colour and keep their shading."""
    hue, saturation, value = _PAINT[colour]
    pixels = np.asarray(image).copy()
    for y, x in zip(*np.nonzero(pixels[..., 3]), strict=True):
        h, s, v = colorsys.rgb_to_hsv(*(pixels[y, x, :3] / 255.0))
        if s > 0.35 and (h < 0.09 or h > 0.93):
            rgb = colorsys.hsv_to_rgb(
                hue / 360, min(1.0, s * saturation), min(1.0, (v * value) ** (0.6 if colour == "white" else 1))
            )
            pixels[y, x, :3] = np.round(np.array(rgb) * 255)
    return Image.fromarray(pixels)


# Positions of worn parts on a face: y of the eyes, y of the top of the head, y of the chin, and width of a pair of
# glasses, as fractions of the sprite's side.
_ANATOMY = {
    "cat": (0.53, 0.20, 0.96, 0.78),
    "dog": (0.49, 0.12, 0.93, 0.66),
    "lion": (0.42, 0.16, 0.80, 0.62),
    "fox": (0.60, 0.30, 0.96, 0.66),
    "panda": (0.50, 0.14, 0.94, 0.78),
    "frog": (0.30, 0.12, 0.94, 0.84),
    "bear": (0.49, 0.14, 0.96, 0.72),
}


def _part_box(thing: Thing, part: Part) -> tuple[float, float, float]:
    """Return centre x, centre y and side of a part's square sprite, in pixels."""
    eyes, crown, chin, width = _ANATOMY[thing.noun]
    left, top = thing.x - thing.size / 2, thing.y - thing.size / 2
    match part.noun:
        case "glasses" | "sunglasses":
            return left + 0.5 * thing.size, top + eyes * thing.size, width * thing.size
        case "hat" | "crown":
            side = 0.62 * thing.size
            return left + 0.5 * thing.size, top + crown * thing.size - 0.22 * side, side
        case "bow":
            return left + 0.74 * thing.size, top + (crown + 0.02) * thing.size, 0.46 * thing.size
        case "scarf":
            return left + 0.5 * thing.size, top + (chin + 0.04) * thing.size, 0.8 * thing.size
    raise ValueError(f"nothing wears {part.noun!r}; wearables are {', '.join(WEARABLES)}")


@lru_cache(4096)
def _scaled(noun: str, colour: str | None, mixed_with: str | None, size: int) -> Image.Image:
    image = sprite(noun, colour)
    if mixed_with is not None:
        image = Image.blend(image, sprite(mixed_with), 0.5)
    return image.resize((size, size), Image.Resampling.LANCZOS)


def _paste(canvas: Image.Image, what: Thing | Part, x: float, y: float, side: float) -> None:
    """Alpha-composite a square sprite onto ``canvas``, centred at (x, y)."""
    mixed_with = what.mixed_with if isinstance(what, Thing) else None
    scaled = _scaled(what.noun, what.colour, mixed_with, max(1, round(side)))
    left, top = round(x - side / 2), round(y - side / 2)
    # alpha_composite accepts no negative position, so the sprite is cropped at the left and upper edges.
    canvas.alpha_composite(scaled, (max(0, left), max(0, top)), (max(0, -left), max(0, -top)))


def _draw(thing: Thing, only: str | None = None) -> Image.Image:
    """Draw a thing on a transparent canvas of the picture's size; with ``only``, draw just its part of that noun."""
    canvas = Image.new("RGBA", (SIZE, SIZE), (0, 0, 0, 0))
    # A scarf is drawn behind the face, and its ends hang below.
    for part in thing.parts:
        if part.noun == "scarf" and only in (None, "scarf"):
            _paste(canvas, part, *_part_box(thing, part))
    body = Image.new("RGBA", (SIZE, SIZE), (0, 0, 0, 0))
    _paste(body, thing, thing.x, thing.y, thing.size)
    if only is None:
        canvas.alpha_composite(body)
    elif only == "scarf":
        canvas.putalpha(ImageChops.subtract(canvas.getchannel("A"), body.getchannel("A")))
    for part in thing.parts:
        if part.noun != "scarf" and only in (None, part.noun):
            _paste(canvas, part, *_part_box(thing, part))
    return canvas


def _gradient(top: Sequence[int], bottom: Sequence[int], at: np.ndarray) -> np.ndarray:
    at = np.clip(at, 0, 1)[..., None]
    return np.asarray(top) * (1 - at) + np.asarray(bottom) * at


def background_pixels(scene: Scene, shift: float = 0.0) -> Float[np.ndarray, "128 128 3"]:
    """Return sky and ground, with clouds, a sun or a moon depending on the place, as RGB in [0, 255].

    Args:
        scene: Its seed and background are used.
        shift: Pixels by which the camera is moved to the right, a fraction too.
    """
    rng = np.random.default_rng([7, scene.seed])
    ys, xs = (np.mgrid[0:SIZE, 0:SIZE] + np.array([0, shift]).reshape(2, 1, 1)) / SIZE
    wave, lift, phase = rng.uniform(0.012, 0.04), rng.uniform(0.42, 0.6), rng.uniform(0, 2 * np.pi)
    horizon = lift + wave * np.sin(2 * np.pi * xs * rng.uniform(0.6, 1.4) + phase)
    sky = sky_pixels(scene.background, rng, xs, ys, horizon)
    ground = ground_pixels(scene.background, ys, horizon)
    # The horizon is antialiased over one pixel, which the autoencoder reconstructs more easily.
    edge = np.clip((ys - horizon) * SIZE + 0.5, 0, 1)[..., None]
    drawn: Float[np.ndarray, "128 128 3"] = (sky * (1 - edge) + ground * edge).clip(0, 255)
    return drawn


def ground_pixels(background: str, ys: np.ndarray, horizon: np.ndarray | float) -> Float[np.ndarray, "*n 3"]:
    """Return the colour of the ground, RGB in [0, 255], at heights in a picture (0 is its top, 1 its bottom)."""
    return _gradient(*_GROUND[background], (ys - horizon) / (1 - horizon))


def sky_pixels(
    background: str, rng: np.random.Generator, xs: np.ndarray, ys: np.ndarray, horizon: np.ndarray | float
) -> Float[np.ndarray, "*n 3"]:
    """Return the sky with clouds, a sun or a moon at places in a picture (0 to 1 from its upper left corner)."""
    sky = _gradient(*_SKY[background], ys / horizon)
    if background in ("sand", "night"):
        x, y, radius = rng.uniform(0.12, 0.88), rng.uniform(0.08, 0.2), 0.07
        disc = np.clip((radius - np.hypot(xs - x, ys - y)) * SIZE, 0, 1)[..., None]
        return sky * (1 - disc) + np.asarray((255, 236, 150) if background == "sand" else (238, 238, 220)) * disc
    for _ in range(rng.integers(1, 4)):
        x, y, w = rng.uniform(0, 1), rng.uniform(0.05, 0.3), rng.uniform(0.1, 0.2)
        cloud = np.exp(-(((xs - x) / w) ** 2 + ((ys - y) / (w * 0.32)) ** 2))[..., None]
        sky = sky * (1 - 0.75 * cloud) + 255 * 0.75 * cloud
    return sky


def _background(scene: Scene) -> Image.Image:
    return Image.fromarray(background_pixels(scene).astype(np.uint8))


def _shadow(picture: Image.Image, thing: Thing) -> None:
    if thing.noun == "balloon":
        return
    layer = Image.new("L", (SIZE, SIZE), 0)
    half, bottom = 0.42 * thing.size, thing.y + 0.47 * thing.size
    ImageDraw.Draw(layer).ellipse(
        (thing.x - half, bottom - 0.08 * thing.size, thing.x + half, bottom + 0.1 * thing.size), fill=90
    )
    picture.paste((20, 24, 40), mask=layer.filter(ImageFilter.GaussianBlur(0.03 * thing.size)))


def _stylise(picture: Image.Image, style: str) -> Image.Image:
    if style == "painting":
        dabs = picture.filter(ImageFilter.MedianFilter(5)).filter(ImageFilter.GaussianBlur(0.4))
        warm = Image.new("RGB", picture.size, (255, 232, 196))
        return Image.blend(dabs, ImageChops.multiply(dabs, warm), 0.9)
    if style == "drawing":
        grey = picture.convert("L").filter(ImageFilter.GaussianBlur(0.5))
        lines = ImageChops.invert(grey.filter(ImageFilter.FIND_EDGES)).point(
            lambda v: max(120, min(255, int(1.4 * v - 85)))
        )
        # The filter does not change the outermost pixels, so they are set to white.
        for rim in ((0, 0, SIZE, 1), (0, SIZE - 1, SIZE, SIZE), (0, 0, 1, SIZE), (SIZE - 1, 0, SIZE, SIZE)):
            lines.paste(255, rim)
        pale = Image.blend(picture, Image.new("RGB", picture.size, (250, 246, 236)), 0.5)
        return ImageChops.multiply(pale, lines.convert("RGB"))
    return picture


def render(scene: Scene) -> Image.Image:
    """Draw a scene as an RGB picture of ``SIZE`` x ``SIZE`` pixels; the same scene gives the same bytes."""
    picture = _background(scene)
    for thing in scene.things:
        _shadow(picture, thing)
    for thing in scene.things:
        layer = _draw(thing)
        picture.paste(layer, mask=layer)
    return _stylise(picture, scene.style)


def mask(scene: Scene, index: int, part: str | None = None) -> Bool[np.ndarray, "128 128"]:
    """Return the visible pixels of thing ``index``, or of its part ``part``, without those hidden by other things."""
    visible = np.asarray(_draw(scene.things[index], only=part))[..., 3] >= 128
    for later in scene.things[index + 1 :]:
        # Things are no wider than their sprites, so things that are far apart do not overlap.
        if abs(later.x - scene.things[index].x) > (later.size + scene.things[index].size) / 2 + 2:
            continue
        visible &= np.asarray(_draw(later))[..., 3] < 128
    return visible


def box(region: Bool[np.ndarray, "h w"]) -> tuple[float, float, float, float]:
    """Return the tight box of a mask as x1, y1, x2, y2 in pixels (right and bottom exclusive).

    Raises:
        ValueError: The mask is empty.
    """
    ys, xs = np.nonzero(region)
    if not len(xs):
        raise ValueError("an empty mask has no box")
    return float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1)


def pixels(scene: Scene) -> UInt8[np.ndarray, "128 128 3"]:
    return np.asarray(render(scene))


# --- drawing scenes at random ---------------------------------------------------------------------------------------


def sample_parts(rng: np.random.Generator, count: int) -> tuple[Part, ...]:
    """Sample ``count`` parts to wear in different places: on the head, on the eyes, or below the chin."""
    places = [("hat", "crown", "bow"), ("glasses", "sunglasses"), ("scarf",)]
    chosen = sorted(rng.choice(3, size=count, replace=False, p=(0.35, 0.35, 0.3)))
    nouns = [str(rng.choice(places[place])) for place in chosen]
    return tuple(Part(noun, str(rng.choice(COLOURS)) if noun in COLOURABLE else None) for noun in nouns)


def _place(rng: np.random.Generator, nouns: Sequence[str], sizes: Sequence[float]) -> list[Thing]:
    """Place things from left to right without overlap on the ground, or above it for balloons."""
    free = SIZE - sum(sizes)
    gaps = rng.dirichlet(np.full(len(sizes) + 1, 2.0)) * max(0.0, free)
    things, left = [], 0.0
    for noun, size, gap in zip(nouns, sizes, gaps, strict=False):
        left += gap
        y = rng.uniform(0.3, 0.5) * SIZE if noun == "balloon" else rng.uniform(0.54, 0.7) * SIZE
        colour = str(rng.choice(COLOURS)) if noun in COLOURABLE else None
        things.append(Thing(noun, left + size / 2, float(np.clip(y, size / 2, SIZE - size / 2)), size, colour))
        left += size
    return things


def sample_sizes(rng: np.random.Generator, count: int) -> list[float]:
    low, high = {1: (72, 100), 2: (46, 62), 3: (36, 42)}[count]
    return [float(s) for s in rng.uniform(low, high, count)]


def sample_scene(
    rng: np.random.Generator, kind: str | None = None, noun_weights: Sequence[float] | None = None
) -> Scene:
    """Sample a scene.

    Args:
        rng: Random generator.
        kind: One of the paper's three categories, or None for a mixture of all. ``single``: one animal that wears one
            or two things; ``same``: two or three things of one noun that differ in size, colour or place;
            ``different``: two or three things of different nouns.
        noun_weights: Relative frequencies of :data:`NOUNS`; None draws all equally often.
    """
    share = None if noun_weights is None else np.asarray(noun_weights) / np.sum(noun_weights)
    face_share = None if share is None else share[: len(FACES)] / share[: len(FACES)].sum()
    kind = kind or str(rng.choice(["one", "single", "same", "different", "empty"], p=(0.22, 0.3, 0.18, 0.27, 0.03)))
    style = str(rng.choice(STYLES, p=(0.8, 0.1, 0.1)))
    head = Scene(int(rng.integers(2**31)), style, str(rng.choice(BACKGROUNDS)))
    if kind == "empty":
        return head
    if kind in ("one", "single"):
        noun = str(rng.choice(FACES, p=face_share) if kind == "single" else rng.choice(NOUNS, p=share))
        size = float(rng.uniform(70, 88)) if kind == "single" else sample_sizes(rng, 1)[0]
        (thing,) = _place(rng, [noun], [size])
        if kind == "single":
            # A hat needs space above the head, a scarf below the chin.
            parts = sample_parts(rng, int(rng.choice([1, 2], p=(0.65, 0.35))))
            high, low = (0.42, 0.46) if any(p.noun == "scarf" for p in parts) else (0.53, 0.58)
            thing = replace(thing, y=float(rng.uniform(high, low) * SIZE), parts=parts)
        return replace(head, things=(thing,))
    count = int(rng.choice([2, 3], p=(0.65, 0.35)))
    if kind == "same":
        nouns = [str(rng.choice(NOUNS, p=share))] * count
        sizes = sample_sizes(rng, count)
        if count == 2 and rng.random() < 0.6:
            sizes = [float(rng.uniform(58, 70)), float(rng.uniform(36, 44))][:: int(rng.choice([1, -1]))]
    else:
        nouns = [str(n) for n in rng.choice(NOUNS, count, replace=False, p=share)]
        sizes = sample_sizes(rng, count)
    things = _place(rng, nouns, sizes)
    if kind == "same" and nouns[0] in COLOURABLE:
        colours = rng.choice(COLOURS, count, replace=False)
        things = [replace(t, colour=str(c)) for t, c in zip(things, colours, strict=True)]
    return replace(head, things=tuple(things))


def sample_mix(rng: np.random.Generator, scene: Scene) -> Scene:
    """Mix one thing of a scene with another animal (the paper's fourth edit type); unsuitable things are unchanged."""
    if not scene.things:
        return scene
    index = int(rng.integers(len(scene.things)))
    thing = scene.things[index]
    other = str(rng.choice([n for n in ANIMALS if n != thing.noun]))
    if thing.noun not in ANIMALS or thing.parts:
        return scene
    return replace(scene, things=swap(scene.things, index, replace(thing, mixed_with=other)))


def swap(things: tuple[Thing, ...], index: int, new: Thing | None) -> tuple[Thing, ...]:
    """Return ``things`` with the one at ``index`` replaced by ``new``, or removed if ``new`` is None."""
    return (*things[:index], *(() if new is None else (new,)), *things[index + 1 :])
