"""Scenes in nerfstudio's and Blender's formats; the convention of poses; wrong scenes are named in one line."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from instructedit.applications.nerf.cameras import Camera, focus, path_through
from instructedit.applications.nerf.scenes import TRANSFORMS, read_scene, read_strip, write_scene
from instructedit.applications.strips import rolled
from instructedit.types import ConfigError
from tests.applications.worlds import camera, looking_at_origin, scene


def nerfstudio(folder: Path, change: Callable[[dict[str, Any]], object] = lambda values: None, count: int = 4) -> Path:
    """Write a scene by hand, as the format's documentation describes it."""
    frames: list[dict[str, Any]] = []
    for index in range(count):
        angle = 0.3 * index
        pose = looking_at_origin((3 * math.sin(angle), -3 * math.cos(angle), 1.0))
        frames.append({"file_path": f"images/frame_{index:05d}.png", "transform_matrix": pose.tolist()})
        path = folder / f"images/frame_{index:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (24, 16), (10 * index, 100, 200)).save(path)
    values = {
        "fl_x": 30.0, "fl_y": 31.0, "cx": 12.5, "cy": 7.5, "w": 24, "h": 16, "camera_model": "OPENCV",
        "k1": 0.0, "k2": 0.0, "p1": 0.0, "p2": 0.0, "frames": frames,
    }  # fmt: skip
    change(values)
    (folder / TRANSFORMS).write_text(json.dumps(values))
    return folder


def test_a_camera_at_the_identity_looks_down_with_x_right_and_y_up() -> None:
    """nerfstudio: "+X is right, +Y is up, and +Z is pointing back and away from the camera"."""
    own = Camera(4, 4, 2.0, 2.0, 2.0, 2.0, np.eye(4))
    assert own.axis.tolist() == [0, 0, -1]
    # The lower right pixel's centre is 1.5 pixels right of and below the principal point.
    expected = np.array([1.5 / 2, -1.5 / 2, -1.0])
    np.testing.assert_allclose(own.directions[3, 3], expected / np.linalg.norm(expected), atol=1e-6)


def test_columns_of_a_pose_are_the_cameras_axes_in_the_world() -> None:
    # 90 degrees about x: the camera looks along the world's +y, and its up is the world's +z.
    pose = np.array([[1.0, 0, 0, 5], [0, 0, -1, 6], [0, 1, 0, 7], [0, 0, 0, 1]])
    own = Camera(3, 3, 3.0, 3.0, 1.5, 1.5, pose)
    np.testing.assert_allclose(own.directions[1, 1], [0, 1, 0], atol=1e-7)
    assert own.directions[0, 1][2] > 0
    assert own.directions[1, 2][0] > 0
    assert own.origin.tolist() == [5, 6, 7]


def test_a_world_point_projects_where_its_ray_passes() -> None:
    view = camera((1.0, -3.0, 0.7), side=33, focal=45.0)
    point = np.array([0.2, 0.1, -0.15])
    x, y, z = view.pose[:3, :3].T @ (point - view.pose[:3, 3])
    column, row = view.cx + view.fl_x * x / -z, view.cy + view.fl_y * -y / -z
    towards = (point - view.pose[:3, 3]) / np.linalg.norm(point - view.pose[:3, 3])
    nearest = np.unravel_index(np.argmax(view.directions @ towards), (33, 33))
    assert nearest == (int(row), int(column))


def test_a_distorted_pixel_is_where_opencvs_model_puts_it() -> None:
    lens = (0.12, -0.03, 0.002, -0.001)
    own = Camera(64, 48, 50.0, 52.0, 32.0, 24.0, np.eye(4), lens)
    ray = own.directions[5, 9]
    x, y = ray[0] / -ray[2], -ray[1] / -ray[2]
    k1, k2, p1, p2 = lens
    square = x * x + y * y
    radial = 1 + k1 * square + k2 * square**2
    distorted = (x * radial + 2 * p1 * x * y + p2 * (square + 2 * x * x),
                 y * radial + p1 * (square + 2 * y * y) + 2 * p2 * x * y)  # fmt: skip
    assert 50 * distorted[0] + 32 == pytest.approx(9.5, abs=1e-3)
    assert 52 * distorted[1] + 24 == pytest.approx(5.5, abs=1e-3)


def test_a_scene_of_the_published_format_is_read(tmp_path: Path) -> None:
    found = read_scene(nerfstudio(tmp_path, count=12))
    assert found.pictures.shape == (12, 16, 24, 3)
    assert found.held_out == (4,)
    assert found.train == (0, 1, 2, 3, *range(5, 12))
    first = found.cameras[0]
    assert (first.fl_x, first.fl_y, first.cx, first.cy) == (30, 31, 12.5, 7.5)
    assert found.pictures[3, 0, 0].tolist() == [30, 100, 200]
    # All cameras look at the origin, so the estimated box is around it.
    np.testing.assert_allclose(found.box.mean(axis=0), 0, atol=1e-6)
    point = focus(found.cameras)
    assert point is not None
    np.testing.assert_allclose(point, 0, atol=1e-6)


def test_splits_boxes_and_intrinsics_of_single_views_are_used(tmp_path: Path) -> None:
    def change(values: dict[str, Any]) -> None:
        names = [frame["file_path"] for frame in values["frames"]]
        values |= {"train_filenames": names[1:], "test_filenames": names[:1]}
        values["aabb"] = [[-1, -2, -3], [1, 2, 3]]
        values["frames"][2]["fl_x"] = 60.0

    found = read_scene(nerfstudio(tmp_path, change))
    assert (found.train, found.held_out) == ((1, 2, 3), (0,))
    assert found.box.tolist() == [[-1, -2, -3], [1, 2, 3]]
    assert [c.fl_x for c in found.cameras] == [30, 30, 60, 30]


def test_a_scene_survives_being_written_and_read(tmp_path: Path) -> None:
    own = scene()
    write_scene(tmp_path, own, 255 - own.pictures)
    again = read_scene(tmp_path)
    assert np.array_equal(again.pictures, 255 - own.pictures)
    assert (again.train, again.held_out) == (own.train, own.held_out)
    np.testing.assert_array_equal(again.box, own.box)
    for a, b in zip(again.cameras, own.cameras, strict=True):
        np.testing.assert_array_equal(a.pose, b.pose)
        np.testing.assert_array_equal(a.directions, b.directions)
    strip = read_strip(tmp_path / TRANSFORMS, rolled(own.pictures))
    assert np.array_equal(strip.pictures, own.pictures)


def blender(folder: Path) -> Path:
    """Write a scene as Blender's synthetic ones: an angle, paths without ending, transparent pictures."""
    for split, count in (("train", 3), ("test", 2)):
        frames = []
        (folder / split).mkdir(parents=True)
        for index in range(count):
            angle = 0.5 * index + (0.2 if split == "test" else 0)
            pose = looking_at_origin((4 * math.sin(angle), -4 * math.cos(angle), 0.5))
            frames.append({"file_path": f"./{split}/r_{index}", "rotation": 0.01, "transform_matrix": pose.tolist()})
            Image.new("RGBA", (20, 20), (9, 9, 9, 0)).save(folder / split / f"r_{index}.png")
        values = {"camera_angle_x": 0.6911112070083618, "frames": frames}
        (folder / f"transforms_{split}.json").write_text(json.dumps(values))
    return folder


def test_blenders_format_is_read_and_written(tmp_path: Path) -> None:
    found = read_scene(blender(tmp_path / "in"))
    assert (found.train, found.held_out) == ((0, 1, 2), (3, 4))
    # 0.5 * width / tan(0.5 * angle): 1111.111 pixels at the format's 800.
    assert found.cameras[0].fl_x == pytest.approx(1111.111 * 20 / 800, rel=1e-5)
    assert (found.pictures == 255).all()  # transparent pixels are composited on white
    write_scene(tmp_path / "out", found, found.pictures // 2)
    again = read_scene(tmp_path / "out")
    assert again.is_blender
    assert (again.train, len(again.held_out)) == ((0, 1, 2), 2)
    assert (again.pictures == 127).all()
    assert again.cameras[0].fl_x == pytest.approx(found.cameras[0].fl_x)
    assert (tmp_path / "out" / "train" / "r_0.png").is_file()


def frame(index: int, **changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda values: values["frames"][index].update(changes)


def flipped(values: dict[str, Any]) -> None:
    """Turn the poses into OpenCV's convention, in which cameras look along +z."""
    for view in values["frames"]:
        view["transform_matrix"] = (np.array(view["transform_matrix"]) @ np.diag([1.0, -1, -1, 1])).tolist()


def parallel(values: dict[str, Any]) -> None:
    for view in values["frames"]:
        view["transform_matrix"] = np.eye(4).tolist()


WRONG: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda v: v.pop("frames"), "frames is missing or empty"),
    (frame(1, file_path=None), "frames[1].file_path is missing"),
    (lambda v: v["frames"][2].pop("transform_matrix"), "frames[2]: transform_matrix is missing"),
    (frame(1, transform_matrix=[[1, 0], [0, 1]]), "frames[1]: transform_matrix is not a matrix of 4 x 4"),
    (frame(1, transform_matrix=[[math.nan] * 4] * 4), "frames[1]: transform_matrix has values that are not finite"),
    (frame(1, transform_matrix=np.diag([2.0, 2, 2, 1]).tolist()), "has no rotation"),
    (frame(1, transform_matrix=np.diag([-1.0, 1, 1, 1]).tolist()), "has no rotation"),
    (frame(3, file_path="images/absent.png"), "images/absent.png is listed, but"),
    (frame(3, file_path="images/frame_00000.png"), "images/frame_00000.png is listed twice"),
    (flipped, "4 of 4 cameras look away from the scene"),
    (lambda v: v.update(frames=v["frames"][:1]), "1 training view; a scene has at least two"),
    (lambda v: v.update(camera_model="OPENCV_FISHEYE"), "camera_model=OPENCV_FISHEYE: accepted are OPENCV"),
    (lambda v: v.update(fl_x=-3), "focal lengths above 0"),
    (lambda v: v.update(fl_x="long"), "fl_x=long: a finite number is expected"),
    (lambda v: v.update(w=48), "w=48, but the picture has 24 pixels"),
    (lambda v: v.update(aabb=[[1, 1, 1], [0, 0, 0]]), "lower corner first"),
    (lambda v: v.update(train_filenames=["images/other.png"]), "train_filenames names images/other.png"),
    (parallel, "all cameras look in one direction"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "line"), WRONG)
def test_a_wrong_scene_is_named_in_one_line(
    change: Callable[[dict[str, Any]], object], line: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_scene(nerfstudio(tmp_path, change))
    assert line in str(caught.value)
    assert TRANSFORMS in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file; a folder with transforms.json"):
        read_scene(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="no poses in it"):
        read_scene(tmp_path)
    (tmp_path / TRANSFORMS).write_text("{")
    with pytest.raises(ConfigError, match="cannot be read as JSON"):
        read_scene(tmp_path)
    folder = nerfstudio(tmp_path / "sizes")
    Image.new("RGB", (8, 8)).save(folder / "images" / "frame_00002.png")
    with pytest.raises(ConfigError, match=r"frame_00002.png is 8x8, the first picture 24x16"):
        read_scene(folder)


def test_names_that_lead_out_of_the_folder_are_written_inside(tmp_path: Path) -> None:
    own = scene()
    names = ("../../a.jpg", *own.names[1:])
    write_scene(tmp_path / "deep" / "out", type(own)(**vars(own) | {"names": names}), own.pictures)
    assert (tmp_path / "deep" / "out" / "a.png").is_file()


def test_a_path_passes_the_first_and_the_last_camera() -> None:
    cameras = scene().cameras
    path = path_through(cameras, 11)
    np.testing.assert_allclose(path[0].pose, cameras[0].pose, atol=1e-9)
    np.testing.assert_allclose(path[-1].pose, cameras[-1].pose, atol=1e-9)
    for view in path:
        np.testing.assert_allclose(view.pose[:3, :3].T @ view.pose[:3, :3], np.eye(3), atol=1e-9)
