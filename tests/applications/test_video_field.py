"""Flow and field against closed forms, and warps against their inverses."""

import numpy as np
import pytest
import torch

from instructedit.applications.strips import psnr
from instructedit.applications.video.carry import carry
from instructedit.applications.video.encoding import DenseGrid, HashGrid, annealed, halved
from instructedit.applications.video.field import Field, Fit, prepared
from instructedit.applications.video.flow import dis, inverted, key_frame, positions, sample
from instructedit.types import ConfigError
from tests.applications.clips import HEIGHT, WIDTH, moved, settings, texture

CPU = torch.device("cpu")
INNER = (slice(8, -8), slice(8, -8))


def fitted(frames: np.ndarray, **changes: object) -> Field:
    field = prepared(frames, settings(**changes), CPU)
    Fit(field, frames, settings(**changes)).run()
    return field


def offsets(field: Field, frame: int) -> np.ndarray:
    return field.map(frame) - field.margin - positions(field.height, field.width)


@pytest.mark.parametrize("shift", [(1.5, 0.0), (-0.7, 1.2)])
def test_a_translation_is_found(shift: tuple[float, float]) -> None:
    frames = moved(shift)
    field = fitted(frames)
    for t in range(len(frames)):
        expected = np.array(shift) * (field.key - t)
        # The canonical image may slide a little: only differences of offsets are determined by the clip.
        assert np.abs(np.median(offsets(field, t)[INNER], axis=(0, 1)) - expected).max() < 0.25
        assert np.abs(offsets(field, t)[INNER] - expected).mean() < 0.25
        assert psnr(field.reconstruction(t), frames[t]) > 30


def test_a_scale_is_found() -> None:
    frames = moved(scale=1.03)
    field = fitted(frames)
    own = positions(HEIGHT, WIDTH) - np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
    for t in range(len(frames)):
        expected = own * (1.03 ** (field.key - t) - 1)
        assert np.abs(offsets(field, t)[INNER] - expected[INNER]).mean() < 0.2
        assert psnr(field.reconstruction(t), frames[t]) > 30


def occluded() -> tuple[np.ndarray, np.ndarray]:
    """Return a still texture behind a red square that moves, and where the square is."""
    frames, masks = np.stack([texture()[:HEIGHT, :WIDTH]] * 8), np.zeros((8, HEIGHT, WIDTH), bool)
    for t in range(8):
        masks[t, 18:30, 4 + 6 * t : 16 + 6 * t] = True
    frames[masks] = (255, 0, 0)
    return frames, masks


def test_a_surface_behind_another_keeps_its_place_and_what_hides_it_stays() -> None:
    frames, hidden = occluded()
    field = fitted(frames)
    canonical = field.image()
    edited = (255 - canonical.astype(int)).astype(np.uint8)
    for t, frame in enumerate(frames):
        rest = ~hidden[t] & ~hidden[field.key]
        assert np.abs(offsets(field, t)[rest]).mean() < 0.3
        assert psnr(field.reconstruction(t)[rest], frame[rest]) > 30
        # The edit is of the whole background; the square is no part of it.
        mask = ~np.pad(hidden[field.key], field.margin)
        carried = carry(frame, field.map(t), canonical, edited, mask)
        assert (carried.mask & hidden[t]).sum() < 0.25 * hidden[t].sum()
        assert carried.mask[rest].mean() > 0.9
        assert np.array_equal(carried.image[~carried.mask], frame[~carried.mask])
        assert psnr(carried.image[carried.mask & rest], 255 - frame[carried.mask & rest]) > 25


def test_the_reference_frame_is_one_that_sees_most_of_the_clip() -> None:
    assert key_frame(moved((3.0, 0.0), count=9)) in (2, 4, 6)


def test_a_camera_that_pans_gives_the_canonical_image_a_margin() -> None:
    frames = moved((3.0, 0.0), count=8)
    field = prepared(frames, settings(), CPU)
    assert field.margin >= 8
    # What the reference frame does not see comes from the others.
    t = 0 if field.key > 3 else 7
    assert psnr(field.reconstruction(t)[INNER], frames[t][INNER]) > 30


def test_a_warp_and_its_inverse_leave_each_pixel_in_its_place() -> None:
    own = positions(40, 40)
    flow = np.stack([2 * np.sin(own[..., 1] / 9), 1.5 * np.cos(own[..., 0] / 7)], axis=-1).astype(np.float32)
    there = own + flow
    back = there + sample(inverted(flow), there)
    assert np.abs(back - own)[6:-6, 6:-6].max() < 0.05


def test_dis_finds_a_translation_of_tiny_frames_too() -> None:
    frames = moved((1.0, 0.0))
    assert np.abs(np.median(dis(frames[0], frames[1]), axis=(0, 1)) - (1, 0)).max() < 0.1
    assert dis(frames[0][:12, :12], frames[1][:12, :12]).shape == (12, 12, 2)


@pytest.mark.parametrize("encoding", ["dense", "hash"])
def test_a_fit_without_flow_improves_the_reconstruction(encoding: str) -> None:
    frames = moved((1.0, 0.0))[:, :16, :16]
    values = settings(encoding=encoding, steps=40, pixels=512, learning_rate=5e-3, flow=False, halve_at=())
    field = prepared(frames, values, CPU)

    def quality() -> float:
        return float(np.mean([min(psnr(field.reconstruction(t), frame), 60) for t, frame in enumerate(frames)]))

    before = quality()
    losses: list[float] = []
    Fit(field, frames, values).run(losses.append)
    assert len(losses) == 40
    assert quality() > before + 0.5


def test_a_continued_fit_equals_an_uninterrupted_one() -> None:
    frames, values = moved((1.0, 0.0)), settings(steps=8)
    whole = Fit(prepared(frames, values, CPU), frames, values)
    whole.run()

    class Killed(Exception):
        pass

    def kill(_: float) -> None:
        if first.step == 5:
            raise Killed

    first = Fit(prepared(frames, values, CPU), frames, values)
    with pytest.raises(Killed):
        first.run(kill)
    second = Fit(prepared(frames, values, CPU), frames, values)
    second.load({k: v.clone() for k, v in first.state().items()})
    assert second.step == 5
    second.run()
    for name, expected in whole.field.state_dict().items():
        assert torch.equal(second.field.state_dict()[name], expected), name


def test_a_dense_grid_interpolates_between_its_nodes() -> None:
    grid = DenseGrid([(2, 3)], 1)
    with torch.no_grad():
        grid.grids[0].copy_(torch.tensor([[[[0.0, 1], [2, 3], [8, 9]]]]))
    at = torch.tensor([[0.0, 0], [1, 0], [0.5, 0.25], [0, 1], [2, 2]])
    assert grid(at)[:, 0, 0].tolist() == pytest.approx([0, 1, 1.5, 8, 9])


@pytest.mark.parametrize("axes", [2, 3])
def test_a_hash_grid_has_its_entries_at_its_nodes_and_is_linear_between(axes: int) -> None:
    grid = HashGrid(axes, 2, 2, 12, 4, 2.0, torch.Generator().manual_seed(0))
    node = torch.full((1, axes), 0.25)
    other = node + torch.eye(axes)[0] * 0.25
    middle = (node + other) / 2
    stride = sum(5**axis for axis in range(axes))
    assert torch.allclose(grid(node)[0, 0], grid.tables[0][stride])
    assert torch.allclose(grid(middle)[0, 0], (grid(node) + grid(other))[0, 0] / 2, atol=1e-7)
    # The finer level has more nodes than entries in three dimensions only where the table is small.
    tiny = HashGrid(axes, 1, 2, 3, 8, 2.0, torch.Generator().manual_seed(0))
    assert torch.isfinite(tiny(torch.rand(50, axes))).all()


def test_levels_fade_in_from_coarse_to_fine() -> None:
    ones = torch.ones(1, 4, 1)
    assert annealed(ones, 0.0).flatten().tolist() == pytest.approx([1, 0, 0, 0])
    assert annealed(ones, 0.5).flatten().tolist() == pytest.approx([1, 1, 0.5, 0])
    assert annealed(ones, 1.0).flatten().tolist() == pytest.approx([1, 1, 1, 1])
    assert halved((64, 48, 6), 3, (False, False, True)) == [(16, 12, 6), (32, 24, 6), (64, 48, 6)]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"encoding": "grid"}, "field.encoding=grid: accepted are dense, hash"),
        ({"steps": -1}, "field.steps=-1: accepted are whole numbers from 0 on"),
        ({"pixels": 10}, "field.pixels=10: accepted are whole numbers from 256 on"),
        ({"smoothness": -1.0}, "field.smoothness=-1.0"),
        ({"coarse_until": 2}, "field.coarse_until=2: accepted are numbers from 0 to 1"),
        ({"flow": "dis"}, "field.flow=dis: accepted are true and false"),
    ],
)
def test_a_wrong_setting_is_named(changes: dict[str, object], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(**changes)
    assert line in str(caught.value)
