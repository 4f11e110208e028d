"""The drawn scenes: ground truth agrees with geometry, and the shipped benchmark is drawn again byte for byte."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.picturebook.cards import FOCAL, HELD_OUT, SCENES, VIEWS, box, cards, mask, poses, shoot
from data.picturebook.cards_benchmark import DEPTH_UNIT, FARTHEST, FOLDER, card, line, posed, write
from data.picturebook.world import SIZE, render
from eval.benchmarks.base import load_benchmark
from eval.benchmarks.packed import ARCHIVE, unpack
from eval.benchmarks.scenes import read
from instructedit.applications.nerf.scenes import TRANSFORMS, read_scene, read_strip
from instructedit.images import load_image

READER = "eval.benchmarks.scenes.read"
POSES = list(poses())
SCENE = SCENES[0]


@pytest.fixture(autouse=True, scope="module")
def _unpacked() -> None:
    unpack(FOLDER)


@pytest.mark.slow
def test_the_shipped_scenes_are_drawn_again_byte_for_byte(tmp_path: Path) -> None:
    write(SCENES[:1], tmp_path)
    drawn = [p.relative_to(tmp_path) for p in tmp_path.rglob("*.*") if p.parent != tmp_path]
    assert len(drawn) == VIEWS + 6
    for path in drawn:
        assert (tmp_path / path).read_bytes() == (FOLDER / path).read_bytes(), path


def test_five_scenes_with_ground_truth_are_there() -> None:
    benchmark = load_benchmark(FOLDER, reader=READER)
    assert [s.id for s in benchmark.samples] == [scene.id for scene in SCENES]
    for sample in benchmark.samples:
        strip = load_image(sample.image)
        scene = read_strip(FOLDER / "scenes" / sample.id / TRANSFORMS, strip)
        assert scene.held_out == HELD_OUT
        assert len(scene.train) == VIEWS - len(HELD_OUT)
        assert sample.captions
        for path in (sample.truth.mask, sample.truth.edited):
            assert path is not None
            assert load_image(path).size == strip.size
    assert (FOLDER / ARCHIVE).stat().st_size < 4e6


def test_the_card_is_what_the_code_writes() -> None:
    assert (FOLDER / "README.md").read_text() == card(SCENES, [line(scene) for scene in SCENES])


def test_a_scenes_folder_has_the_views_of_its_strip() -> None:
    found = read_scene(FOLDER / "scenes" / SCENE.id)
    strip = read_strip(FOLDER / "scenes" / SCENE.id / TRANSFORMS, load_image(FOLDER / "images" / f"{SCENE.id}.webp"))
    assert np.array_equal(found.pictures, strip.pictures)
    for camera, pose in zip(found.cameras, POSES, strict=True):
        np.testing.assert_allclose(camera.pose, pose, atol=1e-12)


def test_the_revision_covers_the_poses(tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    for path in FOLDER.rglob("*"):
        if path.is_file() and path.suffix in (".jsonl", ".json"):
            (folder / path.relative_to(FOLDER)).parent.mkdir(parents=True, exist_ok=True)
            (folder / path.relative_to(FOLDER)).write_bytes(path.read_bytes())
    before = read(folder).revision
    file = folder / "scenes" / SCENE.id / TRANSFORMS
    file.write_text(file.read_text().replace('"fl_x": 150.0', '"fl_x": 151.0'))
    assert read(folder).revision != before


def test_the_middle_of_the_arc_sees_the_scene_that_was_composed() -> None:
    """At the arc's middle, cards stand where the things of the flat picture are."""
    pose = np.eye(4)
    pose[:3] = np.array([[1.0, 0, 0, 0], [0, 0, -1, -4], [0, 1, 0, 1]])
    shot, flat = shoot(SCENE, pose), np.asarray(render(SCENE.scene)).astype(int)
    inside = mask(SCENE, shot)
    ys, xs = np.nonzero(inside)
    thing = SCENE.scene.things[1]
    assert xs.mean() == pytest.approx(thing.x, abs=2)
    assert ys.mean() == pytest.approx(thing.y, abs=4)
    assert np.abs(shot.pixels.astype(int) - flat)[inside].mean() < 12


def test_depth_is_the_distance_along_the_axis() -> None:
    pose = POSES[5]
    shot = shoot(SCENE, pose)
    flat = cards(SCENE)[1]
    inside = shot.shares[1] > 0.999
    # The card is the plane y = flat.y: depth = (flat.y - eye_y) / ray_y with a ray of unit depth.
    ys, xs = np.nonzero(inside)
    rays = np.stack([(xs + 0.5 - SIZE / 2) / FOCAL, -(ys + 0.5 - SIZE / 2) / FOCAL, -np.ones(len(xs))], axis=-1)
    world = rays @ pose[:3, :3].T
    np.testing.assert_allclose(shot.depth[inside], (flat.y - pose[1, 3]) / world[:, 1], atol=1e-9)
    assert (shot.depth[:40] == 0).mean() > 0.5  # the sky
    stored = np.asarray(Image.open(FOLDER / "depth" / f"{SCENE.id}.png"))[5 * SIZE : 6 * SIZE]
    np.testing.assert_allclose(stored * DEPTH_UNIT, np.minimum(shot.depth, FARTHEST * DEPTH_UNIT), atol=DEPTH_UNIT)


def test_the_box_holds_the_cards_and_the_cameras_see_it() -> None:
    for scene in SCENES:
        lower, upper = box(scene)
        for flat in cards(scene):
            assert (lower < [flat.x - flat.side / 2, flat.y, 0]).all()
            assert (upper > [flat.x + flat.side / 2, flat.y, flat.bottom + flat.side]).all()
        views = posed(scene, np.zeros((VIEWS, SIZE, SIZE, 3), np.uint8))
        assert all((views.box.mean(0) - c.pose[:3, 3]) @ c.axis > 0 for c in views.cameras)


def test_the_reference_edit_equals_the_scene_away_from_the_edit() -> None:
    scene, pose = SCENES[1], POSES[12]
    before, after = shoot(scene, pose), shoot(scene.edited, pose)
    changed = (before.pixels != after.pixels).any(-1)
    inside = mask(scene, before)
    assert changed[inside].mean() > 0.5  # the car's windows and wheels stay
    ys, xs = np.nonzero(inside)
    changed[ys.min() - 2 : ys.max() + 3, xs.min() - 2 : xs.max() + 3] = False
    assert not changed.any()
