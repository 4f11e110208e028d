"""Scenes of picturebook's world in three dimensions: textured cards that stand on a ground plane.

World coordinates are nerfstudio's: z points up, the ground is z = 0, and the cameras stand on an arc around the origin.
A card is given as a thing of the picture that the arc's middle camera takes: its foot's row determines how far away the
card stands. So an edit of that picture's scene is an edit of the cards.

Pictures are ray-cast with ``FINE`` x ``FINE`` rays per pixel.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, UInt8

from data.picturebook.edits import Edit, edit_of
from data.picturebook.phrases import Wish
from data.picturebook.world import SIZE, SPRITE_SIZE, Scene, Thing, _scaled, ground_pixels, sky_pixels

VIEWS = 24
HELD_OUT = (3, 9, 15, 21)
"""Views that no field is trained on."""
FOCAL = 150.0
"""Focal length in pixels."""
RADIUS = 4.0
"""Distance of the cameras from the origin, in world units."""
HEIGHT = 1.0
"""Height of the middle camera."""
ARC = math.radians(28)
"""Largest angle of a camera from the arc's middle."""
FINE = 4
_HORIZON = SIZE / 2
"""Row of the horizon in the middle camera's picture: the camera looks horizontally."""
_MARGIN = 0.5
"""Ground beside and behind the cards that is in their box, in world units."""
_GROUND_TO = 1.8
"""Distance of the box's front from the origin, towards the cameras: where the lowest rows see the ground."""
_FOOT = 0.47
"""Distance of a sprite's foot below its centre, as a share of its side."""


@dataclass(frozen=True)
class CardScene:
    """A scene before it is drawn."""

    id: str
    scene: Scene
    """What the middle camera sees."""
    wish: Wish
    template: str

    @property
    def edit(self) -> Edit:
        """The edit of the middle camera's picture."""
        return edit_of(self.scene, self.wish)

    @property
    def edited(self) -> "CardScene":
        """The scene after a perfect edit."""
        return replace(self, scene=self.edit.edited)


@dataclass(frozen=True)
class Card:
    """A card that faces the arc's middle camera."""

    thing: Thing
    x: float
    y: float
    side: float
    bottom: float
    """Height of its lower edge, slightly below the ground, as sprites have a margin."""


@dataclass(frozen=True)
class Shot:
    """What a camera sees."""

    pixels: UInt8[np.ndarray, "h w 3"]
    depth: Float[np.ndarray, "h w"]
    """Distance along the optical axis at each pixel's centre, in world units; 0 for the sky."""
    shares: Float[np.ndarray, "things h w"]
    """Visible share of each thing in each pixel."""


def cards(scene: CardScene) -> list[Card]:
    """Return a card for each thing."""
    return [_card(thing) for thing in scene.scene.things]


def _card(thing: Thing) -> Card:
    distance = FOCAL * HEIGHT / (thing.y + _FOOT * thing.size - _HORIZON)
    scale = distance / FOCAL
    side = thing.size * scale
    return Card(thing, (thing.x - SIZE / 2) * scale, distance - RADIUS, side, -(0.5 - _FOOT) * side)


def box(scene: CardScene) -> Float[np.ndarray, "2 3"]:
    """Return lower and upper corner of what a field has to hold: the cards, and the ground in front of them."""
    corners = [
        (c.x - c.side / 2, c.y, c.x + c.side / 2, c.bottom + c.side) for s in (scene, scene.edited) for c in cards(s)
    ]
    left, _, right, top = np.array(corners).T
    depth = max(y for _, y, _, _ in corners)
    lower = [min(left) - _MARGIN, -_GROUND_TO, -0.05]
    return np.array([lower, [max(right) + _MARGIN, depth + _MARGIN, max(top) + 0.1]]).round(3)


def poses() -> Iterator[Float[np.ndarray, "4 4"]]:
    """Yield the camera-to-world matrix of each view (x right, y up, z backward), from the left end of the arc on.

    Heights vary, so that the views are not all in one plane.
    """
    for view in range(VIEWS):
        at = 2 * view / (VIEWS - 1) - 1
        angle, height = ARC * at, HEIGHT + 0.22 * math.sin(2.5 * math.pi * at)
        centre = np.array([RADIUS * math.sin(angle), -RADIUS * math.cos(angle), height])
        back = centre - np.array([0.0, 0.0, HEIGHT])
        back /= np.linalg.norm(back)
        right = np.cross([0.0, 0.0, 1.0], back)
        right /= np.linalg.norm(right)
        pose = np.eye(4)
        pose[:3] = np.stack([right, np.cross(back, right), back, centre], axis=1)
        yield pose


def shoot(scene: CardScene, pose: Float[np.ndarray, "4 4"]) -> Shot:
    """Draw what a camera sees."""
    fine = (np.arange(SIZE * FINE) + 0.5) / FINE
    colours, weights, _ = _cast(scene, pose, *np.meshgrid(fine, fine))
    coarse = colours.reshape(SIZE, FINE, SIZE, FINE, 3).mean(axis=(1, 3))
    shares = weights.reshape(-1, SIZE, FINE, SIZE, FINE).mean(axis=(2, 4))
    centres = np.arange(SIZE) + 0.5
    _, _, depth = _cast(scene, pose, *np.meshgrid(centres, centres))
    return Shot(coarse.round().clip(0, 255).astype(np.uint8), depth, shares)


def mask(scene: CardScene, shot: Shot) -> Bool[np.ndarray, "h w"]:
    """Return the visible pixels of the referred things."""
    shares: Float[np.ndarray, "h w"] = shot.shares[list(scene.edit.reference.indices)].sum(axis=0)
    return shares >= 0.5


def _cast(
    scene: CardScene, pose: np.ndarray, xs: np.ndarray, ys: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return colour, each thing's weight, and depth of the rays through places in the picture."""
    own = np.stack([(xs - SIZE / 2) / FOCAL, -(ys - SIZE / 2) / FOCAL, -np.ones_like(xs)], axis=-1)
    # The ray's length is the depth along the optical axis, as its direction's z is -1 in camera coordinates.
    ray, eye = own @ pose[:3, :3].T, pose[:3, 3]
    with np.errstate(divide="ignore"):
        to_ground = np.where(ray[..., 2] < 0, -eye[2] / ray[..., 2], np.inf)
    colour = np.where(np.isfinite(to_ground)[..., None], _ground(scene, eye, ray, to_ground), _sky(scene, ray))
    depth = np.where(np.isfinite(to_ground), to_ground, 0.0)
    stood = cards(scene)
    weights = np.zeros((len(stood), *xs.shape))
    # From the farthest to the nearest; all cards face the same way.
    for index in sorted(range(len(stood)), key=lambda i: -stood[i].y):
        card = stood[index]
        along = (card.y - eye[1]) / ray[..., 1]
        place = eye + along[..., None] * ray
        u, v = (place[..., 0] - card.x) / card.side + 0.5, 1 - (place[..., 2] - card.bottom) / card.side
        texture = _texture(card.thing, u, v) * ((along > 0) & (along < to_ground))[..., None]
        alpha = texture[..., 3:]
        colour = colour * (1 - alpha) + 255 * texture[..., :3]
        weights *= 1 - alpha[..., 0]
        weights[index] = alpha[..., 0]
        depth = np.where(alpha[..., 0] >= 0.5, along, depth)
    return colour, weights, depth


def _texture(thing: Thing, u: np.ndarray, v: np.ndarray) -> Float[np.ndarray, "h w 4"]:
    """Return a sprite's premultiplied RGBA in [0, 1], bilinear, at places from 0 to 1; transparent beyond."""
    sprite = np.asarray(_scaled(thing.noun, thing.colour, thing.mixed_with, SPRITE_SIZE), dtype=np.float64) / 255
    sprite[..., :3] *= sprite[..., 3:]
    padded = np.pad(sprite, ((1, 1), (1, 1), (0, 0)))
    x, y = (np.clip(at * SPRITE_SIZE + 0.5, 0, SPRITE_SIZE + 1) for at in (u, v))
    left, top = (np.minimum(np.floor(at).astype(int), SPRITE_SIZE) for at in (x, y))
    right, low = (x - left)[..., None], (y - top)[..., None]
    upper = padded[top, left] * (1 - right) + padded[top, left + 1] * right
    lower = padded[top + 1, left] * (1 - right) + padded[top + 1, left + 1] * right
    mixed: Float[np.ndarray, "h w 4"] = upper * (1 - low) + lower * low
    return mixed


def _ground(scene: CardScene, eye: np.ndarray, ray: np.ndarray, along: np.ndarray) -> Float[np.ndarray, "h w 3"]:
    place = eye + np.where(np.isfinite(along), along, 0)[..., None] * ray
    # Coloured as the middle camera's picture is, by the row of a place in it.
    distance = np.maximum(place[..., 1] + RADIUS, 0.1)
    row = (_HORIZON + FOCAL * HEIGHT / distance) / SIZE
    colour = ground_pixels(scene.scene.background, row, _HORIZON / SIZE)
    for card in cards(scene):
        away = np.hypot((place[..., 0] - card.x) / (0.42 * card.side), (place[..., 1] - card.y) / (0.16 * card.side))
        shade = 90 / 255 * np.clip((1.15 - away) / 0.3, 0, 1)[..., None]
        colour = colour * (1 - shade) + np.array((20.0, 24.0, 40.0)) * shade
    return colour


def _sky(scene: CardScene, ray: np.ndarray) -> Float[np.ndarray, "h w 3"]:
    """Return the colour of the sky, which is infinitely far away: a cylinder around the scene."""
    flat = np.hypot(ray[..., 0], ray[..., 1])
    x = 0.5 + FOCAL / SIZE * np.arctan2(ray[..., 0], ray[..., 1])
    y = (_HORIZON - FOCAL * ray[..., 2] / flat) / SIZE
    rng = np.random.default_rng([7, scene.scene.seed])
    return sky_pixels(scene.scene.background, rng, x, np.minimum(y, 0.5), _HORIZON / SIZE)


def _scene(name: str, background: str, wish: Wish, template: str, *things: Thing, seed: int) -> CardScene:
    return CardScene(name, Scene(seed, "photo", background, things), wish, template)


_CHANGE = "Change the {r} to {n}"
SCENES = (
    _scene(
        "scene_01_cat_to_lion", "grass", Wish("change", "cat", "lion"), _CHANGE,
        Thing("tree", 102, 76, 48), Thing("cat", 42, 78, 60), seed=9101,
    ),
    _scene(
        "scene_02_red_car_blue", "sand", Wish("recolour", "car", "blue"), "Paint the {r} {c}",
        Thing("house", 26, 76, 46), Thing("car", 84, 80, 58, "red"), seed=9102,
    ),
    _scene(
        "scene_03_orange_to_apple", "snow", Wish("change", "orange", "apple"), "Replace the {r} with {n}",
        Thing("orange", 42, 80, 56), Thing("cake", 100, 82, 46), seed=9103,
    ),
    _scene(
        "scene_04_dog_to_fox", "sand", Wish("change", "dog", "fox"), _CHANGE,
        Thing("tree", 25, 76, 46), Thing("dog", 84, 78, 62), seed=9104,
    ),
    _scene(
        "scene_05_horse_to_zebra", "grass", Wish("change", "horse", "zebra"), "Turn the {r} into {n}",
        Thing("house", 103, 76, 46), Thing("horse", 42, 78, 62), seed=9105,
    ),
)  # fmt: skip
"""The five scenes."""
