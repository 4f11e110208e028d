"""Cameras in nerfstudio's convention: x right, y up, and looking along -z; world coordinates have z up."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation, Slerp

SMALLEST_SINE = 0.05
"""Sine of the angle between optical axes below which they count as parallel."""
BOX_SHARE = 0.8
"""Half the side of an estimated box, as a share of the cameras' mean distance from its centre."""


@dataclass(frozen=True, eq=False)
class Camera:
    """A perspective camera with a pose."""

    width: int
    height: int
    fl_x: float
    """Focal lengths in pixels."""
    fl_y: float
    cx: float
    """Principal point in pixels; the centre of the upper left pixel is at 0.5."""
    cy: float
    pose: Float[np.ndarray, "4 4"]
    """Camera to world, as ``transform_matrix`` in ``transforms.json``."""
    distortion: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """k1, k2, p1, p2 of OpenCV's model."""

    @cached_property
    def directions(self) -> Float[np.ndarray, "h w 3"]:
        """Unit vectors in world coordinates through the centre of each pixel."""
        xs, ys = np.meshgrid(np.arange(self.width) + 0.5, np.arange(self.height) + 0.5)
        x, y = (xs - self.cx) / self.fl_x, (ys - self.cy) / self.fl_y
        if any(self.distortion):
            matrix = np.array([[self.fl_x, 0, self.cx], [0, self.fl_y, self.cy], [0, 0, 1]], np.float64)
            distorted = np.stack([xs, ys], axis=-1).reshape(-1, 1, 2)
            flat = cv2.undistortPoints(distorted, matrix, np.array(self.distortion)).reshape(*xs.shape, 2)
            x, y = flat[..., 0], flat[..., 1]
        own = np.stack([x, -y, -np.ones_like(x)], axis=-1)
        rays: Float[np.ndarray, "h w 3"] = own @ self.pose[:3, :3].T
        return (rays / np.linalg.norm(rays, axis=-1, keepdims=True)).astype(np.float32)

    @property
    def origin(self) -> Float[np.ndarray, "3"]:
        """The camera's centre in world coordinates."""
        centre: Float[np.ndarray, 3] = self.pose[:3, 3].astype(np.float32)
        return centre

    @property
    def axis(self) -> Float[np.ndarray, "3"]:
        """The direction in which the camera looks."""
        forward: Float[np.ndarray, 3] = -self.pose[:3, 2]
        return forward


def focus(cameras: Sequence[Camera]) -> Float[np.ndarray, "3"] | None:
    """Return the point that is nearest to all optical axes, in the least-squares sense; None if they are parallel."""
    total, moment = np.zeros((3, 3)), np.zeros(3)
    for camera in cameras:
        across = np.eye(3) - np.outer(camera.axis, camera.axis)
        total, moment = total + across, moment + across @ camera.pose[:3, 3]
    if np.linalg.eigvalsh(total)[0] < len(cameras) * SMALLEST_SINE**2:
        return None
    point: Float[np.ndarray, 3] = np.linalg.solve(total, moment)
    return point


def estimated_box(cameras: Sequence[Camera], centre: Float[np.ndarray, "3"]) -> Float[np.ndarray, "2 3"]:
    """Return lower and upper corner of a cube around the point at which the cameras look."""
    distance = float(np.mean([np.linalg.norm(camera.pose[:3, 3] - centre) for camera in cameras]))
    return np.stack([centre - BOX_SHARE * distance, centre + BOX_SHARE * distance])


def path_through(cameras: Sequence[Camera], frames: int) -> list[Camera]:
    """Return cameras that move evenly along the given ones, in their order, with the intrinsics of the first.

    Rotations are interpolated on the shortest way, centres linearly.
    """
    at = np.linspace(0, len(cameras) - 1, frames)
    keys = np.arange(len(cameras))
    turns = Slerp(keys, Rotation.from_matrix(np.stack([c.pose[:3, :3] for c in cameras])))(at).as_matrix()
    centres = np.stack([np.interp(at, keys, [c.pose[axis, 3] for c in cameras]) for axis in range(3)], axis=1)
    path = []
    for turn, centre in zip(turns, centres, strict=True):
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = turn, centre
        path.append(replace(cameras[0], pose=pose))
    return path
