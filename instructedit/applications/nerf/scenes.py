"""Read and write scenes: nerfstudio's ``transforms.json``, and Blender's synthetic format of the first NeRF paper.

A nerfstudio scene may have ``aabb``, two corners in world coordinates between which the scene lies; other programs
ignore the key. Without it, a cube is estimated from the cameras.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from instructedit.applications.nerf.cameras import Camera, estimated_box, focus
from instructedit.applications.strips import unrolled
from instructedit.files import kind_of_file, write_aside
from instructedit.images import load_image, save_png
from instructedit.types import ConfigError, StageError

TRANSFORMS = "transforms.json"
BLENDER = {split: f"transforms_{split}.json" for split in ("train", "val", "test")}
MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE")
"""Accepted camera models: perspective, with k1, k2, p1 and p2 of OpenCV's distortion (``OPENCV``)."""
HELD_OUT_EVERY = 10
"""Of a scene without splits, every tenth view is held out, from the fifth on; nerfstudio trains on 90 % as well."""
_LENSES = ("k1", "k2", "p1", "p2")
_ORTHOGONAL = 1e-2
"""Largest deviation of a rotation's products from those of an orthonormal matrix."""


@dataclass(frozen=True)
class Scene:
    """A scene in memory."""

    names: tuple[str, ...]
    """Path of each view's picture, relative to the folder."""
    cameras: tuple[Camera, ...]
    pictures: UInt8[np.ndarray, "n h w 3"]
    train: tuple[int, ...]
    """Views that a field is trained on."""
    held_out: tuple[int, ...]
    box: Float[np.ndarray, "2 3"]
    """Lower and upper corner, in world coordinates."""
    source: Path
    is_blender: bool = False
    notes: tuple[str, ...] = ()
    """What was assumed, one line each."""


def read_scene(path: Path) -> Scene:
    """Read a scene with its pictures.

    Args:
        path: A folder with ``transforms.json`` or ``transforms_train.json``, or one of these files.

    Raises:
        ConfigError: In one line with the file and what is accepted.
    """
    folder = path if path.is_dir() else path.parent
    name = path.name if path.is_file() else TRANSFORMS if (folder / TRANSFORMS).is_file() else BLENDER["train"]
    if not (folder / name).is_file():
        expected = f"a folder with {TRANSFORMS} (nerfstudio) or {BLENDER['train']} (Blender) is expected"
        raise ConfigError(f"{path}: {kind_of_file(path) if not path.is_dir() else 'no poses in it'}; {expected}")
    if name in BLENDER.values():
        return _read_blender(folder)
    file = folder / name
    parsed = _parsed(file)
    frames = _frames(file, parsed)
    return _posed(file, parsed, frames, _pictures(folder, file, [str(frame["file_path"]) for frame in frames]))


def read_strip(file: Path, strip: Image.Image) -> Scene:
    """Read a nerfstudio scene whose pictures are a strip, in the order of its frames.

    Args:
        file: ``transforms.json``; its pictures are not read.
        strip: The views below each other, RGB.

    Raises:
        ConfigError: See :func:`read_scene`.
        ValueError: The strip's height is not a multiple of the number of views.
    """
    parsed = _parsed(file)
    frames = _frames(file, parsed)
    return _posed(file, parsed, frames, unrolled(strip, len(frames)))


def _posed(
    file: Path, parsed: dict[str, Any], frames: Sequence[dict[str, Any]], pictures: UInt8[np.ndarray, "n h w 3"]
) -> Scene:
    names = tuple(str(frame["file_path"]) for frame in frames)
    train, held_out = _splits(file, parsed, names)
    cameras = tuple(_camera(file, i, parsed | frame, pictures.shape[1:3]) for i, frame in enumerate(frames))
    box = _box(file, parsed, cameras, train)
    return _checked(file, Scene(names, cameras, pictures, train, held_out, box, file.parent), "aabb" in parsed)


def _read_blender(folder: Path) -> Scene:
    names: list[str] = []
    cameras: list[Camera] = []
    splits: dict[str, list[int]] = {}
    pictures: list[np.ndarray] = []
    for split, name in BLENDER.items():
        file = folder / name
        if not file.is_file():
            continue
        parsed = _parsed(file)
        frames = _frames(file, parsed)
        # The format leaves out the ending, and gives the focal length as an angle.
        found = [f"{frame['file_path']}" for frame in frames]
        own = tuple(n if Path(n).suffix else f"{n}.png" for n in found)
        read = _pictures(folder, file, own)
        cameras += [_camera(file, i, parsed | frame, read.shape[1:3]) for i, frame in enumerate(frames)]
        splits[split] = list(range(len(names), len(names) + len(own)))
        names += own
        pictures.append(read)
    if len({p.shape[1:] for p in pictures}) > 1:
        raise ConfigError(f"{folder}: the splits have pictures of several sizes; one size is expected")
    held_out = tuple(splits.get("test") or splits.get("val") or ())
    train = tuple(splits["train"])
    file = folder / BLENDER["train"]
    box = _box(file, {}, cameras, train)
    scene = Scene(tuple(names), tuple(cameras), np.concatenate(pictures), train, held_out, box, folder, is_blender=True)
    return _checked(file, scene, is_box_given=False)


def _parsed(file: Path) -> dict[str, Any]:
    try:
        parsed = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: cannot be read as JSON ({' '.join(str(error).split())})") from None
    if not isinstance(parsed, dict):
        raise ConfigError(f"{file}: a JSON object with frames is expected")
    model = parsed.get("camera_model", "OPENCV")
    if model not in MODELS:
        raise ConfigError(f"{file}: camera_model={model}: accepted are {', '.join(MODELS)}")
    return parsed


def _frames(file: Path, parsed: Mapping[str, Any]) -> list[dict[str, Any]]:
    frames = parsed.get("frames")
    if not isinstance(frames, list) or not frames:
        raise ConfigError(f"{file}: frames is missing or empty; a list of views is expected")
    for index, frame in enumerate(frames):
        if not isinstance(frame, dict) or not isinstance(frame.get("file_path"), str):
            raise ConfigError(f"{file}: frames[{index}].file_path is missing; the path of a picture is expected")
    listed = [frame["file_path"] for frame in frames]
    if twice := next((name for name in listed if listed.count(name) > 1), None):
        raise ConfigError(f"{file}: {twice} is listed twice; each picture has one pose")
    return frames


def _splits(file: Path, parsed: Mapping[str, Any], names: Sequence[str]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the views to train on and those held out."""
    given: dict[str, tuple[int, ...]] = {}
    for split in ("train", "val", "test"):
        listed = parsed.get(f"{split}_filenames")
        if listed is None:
            continue
        missing = [name for name in listed if name not in names]
        if missing:
            raise ConfigError(f"{file}: {split}_filenames names {missing[0]}, which frames does not list")
        given[split] = tuple(names.index(name) for name in listed)
    if "train" in given:
        return given["train"], given.get("test") or given.get("val") or ()
    held_out = given.get("test") or given.get("val") or tuple(range(4, len(names), HELD_OUT_EVERY))
    return tuple(i for i in range(len(names)) if i not in held_out), held_out


def _pictures(folder: Path, file: Path, names: Sequence[str]) -> UInt8[np.ndarray, "n h w 3"]:
    pictures: list[np.ndarray] = []
    for name in names:
        if not (folder / name).is_file():
            raise ConfigError(f"{file}: the picture {name} is listed, but {folder / name} is absent")
        try:
            pixels = np.asarray(load_image(folder / name))
        except StageError as error:
            raise ConfigError(str(error)) from None
        if pictures and pixels.shape != pictures[0].shape:
            sizes = [f"{p.shape[1]}x{p.shape[0]}" for p in (pixels, pictures[0])]
            raise ConfigError(f"{file}: {name} is {sizes[0]}, the first picture {sizes[1]}; one size is expected")
        pictures.append(pixels)
    return np.stack(pictures)


def _camera(file: Path, index: int, values: Mapping[str, Any], size: Sequence[int]) -> Camera:
    """Return a view's camera; ``values`` are those of the view over those of the file."""
    place = f"{file}: frames[{index}]"
    height, width = size

    def number(key: str, default: float | None = None) -> float:
        value = values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ConfigError(f"{place}: {key}={value}: a finite number is expected")
        return float(value)

    if "camera_angle_x" in values and "fl_x" not in values:
        focal = 0.5 * width / math.tan(0.5 * number("camera_angle_x"))
        fl_x = fl_y = focal
    else:
        fl_x = number("fl_x")
        fl_y = number("fl_y", fl_x)
    if fl_x <= 0 or fl_y <= 0:
        raise ConfigError(f"{place}: fl_x={fl_x}, fl_y={fl_y}: focal lengths above 0, in pixels, are expected")
    for key, own in (("w", width), ("h", height)):
        if number(key, own) != own:
            raise ConfigError(f"{place}: {key}={values[key]}, but the picture has {own} pixels; resize one of them")
    k1, k2, p1, p2 = (number(key, 0.0) for key in _LENSES)
    centre = number("cx", width / 2), number("cy", height / 2)
    return Camera(width, height, fl_x, fl_y, *centre, _pose(place, values), (k1, k2, p1, p2))


def _pose(place: str, values: Mapping[str, Any]) -> Float[np.ndarray, "4 4"]:
    if "transform_matrix" not in values:
        raise ConfigError(f"{place}: transform_matrix is missing; camera to world, 4 x 4, is expected")
    try:
        matrix = np.asarray(values["transform_matrix"], np.float64)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    if matrix.shape not in ((4, 4), (3, 4)):
        raise ConfigError(f"{place}: transform_matrix is not a matrix of 4 x 4 (or 3 x 4) numbers")
    if not np.isfinite(matrix).all():
        raise ConfigError(f"{place}: transform_matrix has values that are not finite")
    rotation = matrix[:3, :3]
    if abs(rotation.T @ rotation - np.eye(3)).max() > _ORTHOGONAL or np.linalg.det(rotation) < 0:
        raise ConfigError(
            f"{place}: transform_matrix has no rotation in its first three columns (right-handed, unscaled)"
        )
    pose = np.eye(4)
    pose[:3] = matrix[:3]
    return pose


def _box(
    file: Path, parsed: Mapping[str, Any], cameras: Sequence[Camera], train: Sequence[int]
) -> Float[np.ndarray, "2 3"]:
    """Return the file's box, or an estimate."""
    if parsed.get("aabb") is not None:
        try:
            box = np.asarray(parsed["aabb"], np.float64)
        except (TypeError, ValueError):
            box = np.zeros(0)
        if box.shape != (2, 3) or not np.isfinite(box).all() or not (box[0] < box[1]).all():
            raise ConfigError(f"{file}: aabb={parsed['aabb']}: accepted is [[x, y, z], [x, y, z]], lower corner first")
        return box
    own = [cameras[i] for i in train]
    centre = focus(own)
    if centre is None:
        if len(own) < 2:
            # Refused with a better reason by the caller.
            return np.array([[-1.0] * 3, [1.0] * 3])
        raise ConfigError(f"{file}: all cameras look in one direction; aabb=[[x, y, z], [x, y, z]] is needed")
    return estimated_box(own, centre)


def _checked(file: Path, scene: Scene, is_box_given: bool) -> Scene:
    """Check what concerns all views.

    Raises:
        ConfigError: There are too few training views, or most cameras look away from the scene.
    """
    if len(scene.train) < 2:
        raise ConfigError(
            f"{file}: {len(scene.train)} training view; a scene has at least two (scripts.edit edits one)"
        )
    centre = scene.box.mean(axis=0)
    away = []
    for index in scene.train:
        camera = scene.cameras[index]
        # Inside a given box, a camera may look anywhere: the scene is around it.
        is_inside = is_box_given and bool(
            (scene.box[0] < camera.pose[:3, 3]).all() and (camera.pose[:3, 3] < scene.box[1]).all()
        )
        away.append(not is_inside and float((centre - camera.pose[:3, 3]) @ camera.axis) <= 0)
    if 2 * sum(away) > len(away):
        raise ConfigError(
            f"{file}: {sum(away)} of {len(away)} cameras look away from the scene; poses are camera to world with x "
            f"right, y up and z backward (OpenCV's have y and z the other way)"
        )
    return scene


def write_scene(folder: Path, scene: Scene, pictures: UInt8[np.ndarray, "n h w 3"]) -> None:
    """Write a scene with other pictures, in its own format, as PNG; the files of poses are written last.

    Args:
        folder: Where to write it.
        scene: Its poses, splits and format.
        pictures: One per view.
    """
    names = [str(Path(_inside(name)).with_suffix(".png")) for name in scene.names]
    if len(set(names)) < len(names):
        names = [f"images/{index:05d}.png" for index in range(len(names))]
    for name, pixels in zip(names, pictures, strict=True):
        save_png(Image.fromarray(pixels), folder / name)
    if scene.is_blender:
        for split, file in BLENDER.items():
            views = scene.train if split == "train" else scene.held_out
            _write(folder / file, _blender(scene, views, names))
        return
    _write(folder / TRANSFORMS, _nerfstudio(scene, names))


def _inside(name: str) -> str:
    """Return a picture's path without what would lead out of the scene's folder."""
    return str(Path(*[part for part in Path(name).parts if part not in ("..", "/", ".")]))


def _nerfstudio(scene: Scene, names: Sequence[str]) -> dict[str, Any]:
    frames = [_intrinsics(c) | {"file_path": n, "transform_matrix": c.pose.tolist()}
              for n, c in zip(names, scene.cameras, strict=True)]  # fmt: skip
    # What all views share is said once.
    shared = {k: v for k, v in frames[0].items() if all(frame[k] == v for frame in frames)}
    return {
        "camera_model": "OPENCV",
        **shared,
        "aabb": scene.box.tolist(),
        "train_filenames": [names[i] for i in scene.train],
        **{f"{split}_filenames": [names[i] for i in scene.held_out or scene.train] for split in ("val", "test")},
        "frames": [{k: v for k, v in frame.items() if k not in shared} for frame in frames],
    }


def _intrinsics(camera: Camera) -> dict[str, Any]:
    own = {"w": camera.width, "h": camera.height, "fl_x": camera.fl_x, "fl_y": camera.fl_y}
    own |= {"cx": camera.cx, "cy": camera.cy}
    return own | (dict(zip(_LENSES, camera.distortion, strict=True)) if any(camera.distortion) else {})


def _blender(scene: Scene, views: Sequence[int], names: Sequence[str]) -> dict[str, Any]:
    first = scene.cameras[0]
    frames = [{"file_path": f"./{names[i].removesuffix('.png')}", "transform_matrix": scene.cameras[i].pose.tolist()}
              for i in views or scene.train]  # fmt: skip
    return {"camera_angle_x": 2 * math.atan(0.5 * first.width / first.fl_x), "frames": frames}


def _write(file: Path, values: dict[str, Any]) -> None:
    with write_aside(file) as opened:
        opened.write(json.dumps(values, indent=1).encode() + b"\n")
