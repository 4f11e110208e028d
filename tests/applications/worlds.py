"""Small scenes with known geometry, and settings that train in seconds."""

from pathlib import Path
from typing import Any

import numpy as np

from instructedit.applications.nerf.cameras import Camera
from instructedit.applications.nerf.field import GridSettings
from instructedit.applications.nerf.scenes import Scene
from instructedit.applications.nerf.update import UpdateSettings
from tests.applications.clips import texture

SIDE, VIEWS = 32, 6
BOX = np.array([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])


def looking_at_origin(eye: tuple[float, float, float]) -> np.ndarray:
    """Return a pose: x right, y up, z backward, at ``eye``, with z of the world upwards."""
    back = np.asarray(eye) / np.linalg.norm(eye)
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3] = np.stack([right, np.cross(back, right), back, eye], axis=1)
    return pose


def camera(eye: tuple[float, float, float], side: int = SIDE, focal: float = 40.0) -> Camera:
    """Return a camera that looks at the origin."""
    return Camera(side, side, focal, focal, side / 2, side / 2, looking_at_origin(eye))


def arc(count: int = VIEWS) -> tuple[Camera, ...]:
    """Return cameras on an arc in front of the origin."""
    angles = np.linspace(-0.4, 0.4, count)
    return tuple(camera((3 * float(np.sin(a)), -3 * float(np.cos(a)), 0.3 * i / count)) for i, a in enumerate(angles))


def card(view: Camera) -> np.ndarray:
    """Return what a camera sees of a textured square in the plane y = 0 before a grey background."""
    along = -view.origin[1] / view.directions[..., 1]
    place = view.origin + along[..., None] * view.directions
    x, z = place[..., 0], place[..., 2]
    colours = texture(64)
    rows, columns = (np.clip((v + 0.7) / 1.4 * 63, 0, 63).round().astype(int) for v in (-z, x))
    is_hit = (np.abs(x) < 0.7) & (np.abs(z) < 0.7)
    return np.where(is_hit[..., None], colours[rows, columns], 128).astype(np.uint8)


def scene(count: int = VIEWS) -> Scene:
    """Return the card from an arc; the third view is held out."""
    cameras = arc(count)
    pictures = np.stack([card(view) for view in cameras])
    names = tuple(f"images/{i}.png" for i in range(count))
    return Scene(names, cameras, pictures, tuple(i for i in range(count) if i != 2), (2,), BOX, Path("card"))


def radiance(**changes: Any) -> GridSettings:
    """Return the settings of a small, quick field."""
    values: dict[str, Any] = {
        "voxels": 8000, "double_at": (10,), "features": 4, "hidden": 8, "directions": 0, "environment": 16,
        "samples_per_voxel": 1.0, "start_opacity": 0.01, "steps": 60, "rays": 256, "learning_rate": 0.1,
        "network_rate": 5e-3, "decay": 0.3, "seed": 0,
    }  # fmt: skip
    return GridSettings(**values | changes)


def update(**changes: Any) -> UpdateSettings:
    """Return the settings of a small, quick dataset update."""
    values: dict[str, Any] = {
        "steps": 30, "edit_every": 5, "edit_count": 1, "diffusion_steps": 4, "noise": (0.3, 0.9), "restart": True,
        "dilate": 0, "patch": 16, "patches": 2, "rays": 0, "l1_weight": 1.0, "lpips_weight": 0.0,
        "learning_rate": 0.05, "network_rate": 2e-3, "decay": 0.5, "seed": 0,
    }  # fmt: skip
    return UpdateSettings(**values | changes)
