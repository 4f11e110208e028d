"""Scenes are edited by any method; views without an edit are kept and counted; killed work goes on."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from instructedit.applications.nerf import editor as nerf
from instructedit.applications.nerf.editor import EditedScene, SceneEditor
from instructedit.applications.nerf.field import GridField
from instructedit.applications.nerf.fit import Fit
from instructedit.applications.nerf.scenes import write_scene
from instructedit.applications.nerf.strip import SceneStrip
from instructedit.applications.nerf.update import UpdateSettings
from instructedit.applications.strips import psnr, rolled
from instructedit.cache import StageCache
from instructedit.editor import grow
from instructedit.models import Checkpoint, Context, ModelPool
from instructedit.types import ConfigError, EditRequest, EditResult, Failure, Method, StageError
from tests.applications.worlds import BOX, radiance, scene, update

SCENE = scene()
LPIPS = Checkpoint("data/picturebook/models/lpips")


class Killed(BaseException):
    """As if the process had been killed."""


class Inverts(Method):
    """Inverts the colours of the middle of a picture; a method as any other."""

    takes_restart = True

    def __init__(self, context: Context | None = None, empty: Sequence[int] = (), failing: Sequence[int] = ()) -> None:
        self.empty, self.failing = empty, failing
        self.seen: list[EditRequest] = []

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | Failure]:
        self.seen += requests
        return [self.one(request) for request in requests]

    def one(self, request: EditRequest) -> EditResult | Failure:
        view = int(request.id.rpartition("-")[2])
        if view in self.failing or request.instruction == "fail":
            return Failure(request.id, "segmenter", "StageError", "no box found")
        mask = np.zeros((request.image.height, request.image.width), bool)
        if view not in self.empty:
            mask[8:-8, 8:-8] = True
        inverted = np.asarray(ImageOps.invert(request.image))
        image = Image.fromarray(np.where(mask[..., None], inverted, 0).astype(np.uint8))
        return EditResult(request.id, image, mask, evaluations={"edit": 3}, seconds={"editor": 0.5})


def context(root: Path) -> Context:
    return Context(ModelPool(), StageCache(root), torch.device("cpu"))


def editor(root: Path, method: Method, settings: UpdateSettings | None = None, steps: int = 60) -> SceneEditor:
    return SceneEditor(context(root), method, radiance(steps=steps), settings or update(), LPIPS, "none")


def request(instruction: str = "invert") -> EditRequest:
    return EditRequest("card", Image.fromarray(SCENE.pictures[0]), instruction)


def edited(outcome: EditedScene | Failure) -> EditedScene:
    assert isinstance(outcome, EditedScene)
    return outcome


@pytest.mark.slow
def test_a_scene_is_reconstructed_and_its_edit_reaches_a_held_out_view(tmp_path: Path) -> None:
    method = Inverts()
    settings = update(steps=150, edit_every=5, learning_rate=0.1, network_rate=5e-3)
    outcome = edited(editor(tmp_path, method, settings, steps=200).edit(SCENE, request()))
    assert outcome.fitted.psnr[2] > 22
    middle = np.s_[10:-10, 10:-10]
    own = SCENE.pictures[2][middle]
    after, before = (psnr(outcome.renders[2][middle], target) for target in (255 - own, own))
    assert after > 15
    # Even a perfect inversion of this pale texture is as near to the original as that.
    assert before < psnr(255 - own, own) + 3
    assert psnr(outcome.renders[2][:5], SCENE.pictures[2][:5]) > 22


def test_every_training_view_is_edited_conditioned_on_the_original(tmp_path: Path) -> None:
    method = Inverts()
    outcome = edited(editor(tmp_path, method, update(steps=50), steps=5).edit(SCENE, request()))
    assert len(method.seen) == 10
    # In one order for all rounds; five training views.
    ids = [r.id for r in method.seen]
    assert ids[:5] == ids[5:]
    assert len(set(ids)) == 5
    levels = set()
    for own in method.seen:
        view = SCENE.train[int(own.id.rpartition("-")[2])]
        assert np.array_equal(np.asarray(own.image), SCENE.pictures[view])
        assert own.restart is not None
        assert not np.array_equal(np.asarray(own.restart.image), SCENE.pictures[view])
        assert 0.3 <= own.restart.noise <= 0.9
        assert own.restart.steps == 4
        levels.add((own.restart.noise, own.restart.draw))
    assert len(levels) == 10
    assert outcome.edit.evaluations == {"edit": 30}
    assert outcome.unedited == ()
    # The edited dataset has the edit inside the mask and the original view outside.
    for view in SCENE.train:
        mask = outcome.masks[view]
        assert np.array_equal(outcome.pictures[view][mask], 255 - SCENE.pictures[view][mask])
        assert np.array_equal(outcome.pictures[view][~mask], SCENE.pictures[view][~mask])
    assert not outcome.masks[2].any()
    assert np.array_equal(outcome.pictures[2], outcome.renders[2])


def test_without_restarts_each_view_is_edited_once(tmp_path: Path) -> None:
    method = Inverts()
    edited(editor(tmp_path, method, update(steps=50, restart=False), steps=5).edit(SCENE, request()))
    assert len(method.seen) == 5
    assert all(own.restart is None for own in method.seen)


def test_a_method_without_restarts_edits_each_view_once(tmp_path: Path) -> None:
    method = Inverts()
    method.takes_restart = False
    edited(editor(tmp_path, method, update(steps=50), steps=5).edit(SCENE, request()))
    assert len(method.seen) == 5
    assert all(own.restart is None for own in method.seen)


def test_views_with_an_empty_mask_or_a_failure_are_left_and_counted(tmp_path: Path) -> None:
    method = Inverts(empty=(0, 3), failing=(1,))
    outcome = edited(editor(tmp_path, method, steps=5).edit(SCENE, request()))
    # Training views 0, 1 and 3 of (0, 1, 3, 4, 5) are the scene's views 0, 1 and 4.
    assert outcome.unedited == (0, 1, 4)
    assert outcome.failures == ("view 1: segmenter: no box found",)
    for view in outcome.unedited:
        assert np.array_equal(outcome.pictures[view], SCENE.pictures[view])


def test_if_no_view_can_be_edited_the_scene_fails(tmp_path: Path) -> None:
    outcome = editor(tmp_path, Inverts(), steps=5).edit(SCENE, request("fail"))
    assert isinstance(outcome, Failure)
    assert outcome.message == "no box found"


def test_a_killed_fit_goes_on_and_a_finished_one_is_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = editor(tmp_path / "a", Inverts(), steps=20).fit(SCENE)
    monkeypatch.setattr(nerf, "_SAVE_SECONDS", 0.0)

    def kill(what: str, done: int, total: int, loss: float) -> None:
        if done == 13:
            raise Killed

    with pytest.raises(Killed):
        editor(tmp_path / "b", Inverts(), steps=20).fit(SCENE, kill)
    steps: list[int] = []
    again = editor(tmp_path / "b", Inverts(), steps=20)
    fitted = again.fit(SCENE, lambda what, done, total, loss: steps.append(done) if what == "fit" else None)
    assert steps[0] == 13  # twelve were stored; the number of voxels had doubled at ten
    assert fitted.is_new
    assert np.array_equal(fitted.renders, whole.renders)
    assert not list((tmp_path / "b" / nerf.PROGRESS).glob("*/*.safetensors"))
    monkeypatch.setattr(Fit, "run", None)
    cached = again.fit(SCENE)
    assert not cached.is_new
    assert cached.psnr == fitted.psnr


def test_a_killed_update_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = edited(editor(tmp_path / "a", Inverts(), steps=5).edit(SCENE, request()))
    monkeypatch.setattr(nerf, "_SAVE_SECONDS", 0.0)

    def kill(what: str, done: int, total: int, loss: float) -> None:
        if what == "update" and done == 17:
            raise Killed

    with pytest.raises(Killed):
        editor(tmp_path / "b", Inverts(), steps=5).edit(SCENE, request(), kill, address="v2-1")
    steps: list[int] = []
    method = Inverts()
    again = edited(
        editor(tmp_path / "b", method, steps=5).edit(
            SCENE, request(), lambda what, done, *_: steps.append(done) if what == "update" else None, address="v2-1"
        )
    )
    assert steps[0] == 17
    assert len(method.seen) == 2  # the updates of steps 20 and 25
    assert np.array_equal(again.renders, whole.renders)
    assert np.array_equal(again.masks, whole.masks)
    assert not list((tmp_path / "b" / nerf.UPDATE_PROGRESS).glob("*/*.safetensors"))


def test_lpips_of_patches_is_part_of_the_loss(tmp_path: Path) -> None:
    with_it = update(steps=1, lpips_weight=1.0, patch=32, patches=1)
    losses: dict[float, float] = {}
    for settings in (with_it, dataclasses.replace(with_it, lpips_weight=0.0)):

        def note(what: str, done: int, total: int, loss: float, weight: float = settings.lpips_weight) -> None:
            if what == "update":
                losses[weight] = loss

        editor(tmp_path, Inverts(), settings, steps=5).edit(SCENE, request(), note)
    assert losses[1.0] > losses[0.0] + 0.01


def test_rays_from_all_views_make_the_field_follow_the_edited_views(tmp_path: Path) -> None:
    followed = []
    for rays in (0, 1024):
        found = edited(
            editor(tmp_path, Inverts(), update(steps=12, edit_every=2, patches=1, rays=rays), steps=60).edit(
                SCENE, request()
            )
        )
        train = [*SCENE.train]
        followed.append(np.mean([nerf.psnr(found.renders[i], found.pictures[i]) for i in train]))
    assert followed[1] > followed[0] + 0.2, followed


def test_a_mask_grows_before_its_pixels_are_replaced(tmp_path: Path) -> None:
    found = edited(editor(tmp_path, Inverts(), update(dilate=2, steps=5), steps=5).edit(SCENE, request()))
    (view,) = (i for i in SCENE.train if found.masks[i].any())
    black = (found.pictures[view] == 0).all(-1)
    grown = grow(found.masks[view], 2)
    assert black[grown & ~found.masks[view]].all()
    assert np.array_equal(found.pictures[view][~grown], SCENE.pictures[view][~grown])


def test_a_strip_is_a_sample_of_the_harness(tmp_path: Path) -> None:
    write_scene(tmp_path / "scenes" / "card", SCENE, SCENE.pictures)
    arguments = {"radiance": radiance(steps=5), "update": update(steps=5), "lpips": LPIPS, "calibration": "none"}
    method = SceneStrip(context(tmp_path), Inverts, str(tmp_path / "scenes"), **arguments)  # type: ignore[arg-type]
    strip = rolled(SCENE.pictures)
    (result,) = method.edit([dataclasses.replace(request(), image=strip)])
    assert isinstance(result, EditResult)
    assert result.image.size == strip.size
    assert result.mask is not None
    assert result.mask.shape == (6 * 32, 32)
    assert len(result.decisions.reconstruction or ()) == 1  # of the held-out view
    with pytest.raises(StageError, match="no 6 frames"):
        method.edit([dataclasses.replace(request(), image=strip.crop((0, 0, 32, 191)))])
    with pytest.raises(StageError, match=r"other: .*transforms.json"):
        method.edit([dataclasses.replace(request(), id="other", image=strip)])
    with pytest.raises(ConfigError, match="benchmark=picturebook_3d"):
        SceneStrip(context(tmp_path), Inverts, None, **arguments)  # type: ignore[arg-type]


def test_a_finer_field_has_the_same_scene() -> None:
    coarse = GridField(BOX, radiance(), 0, torch.device("cpu"))
    with torch.no_grad():
        coarse.raw_density.add_(torch.randn(coarse.raw_density.shape, generator=torch.Generator().manual_seed(0)))
    fine = coarse.doubled()
    assert fine.raw_density.numel() == pytest.approx(2 * coarse.raw_density.numel(), rel=0.25)
    points = torch.rand(100, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1
    # A node of the finer grid rarely lies on one of the coarser, so peaks are cut.
    raws = [f.density(points) * f.voxel for f in (coarse, fine)]
    assert torch.corrcoef(torch.stack(raws))[0, 1] > 0.85
    torch.testing.assert_close(coarse.background(points), fine.background(points))


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: radiance(voxels=3), "radiance.voxels=3: accepted are whole numbers from 64 on"),
        (lambda: radiance(start_opacity=1), "radiance.start_opacity=1: accepted are numbers between 0 and 1"),
        (lambda: radiance(learning_rate=0), "radiance.learning_rate=0: accepted are numbers above 0"),
        (lambda: radiance(double_at=(-1,)), "radiance.double_at=-1"),
        (lambda: update(noise=(0.9, 0.2)), "update.noise=[0.9, 0.2]: accepted are two numbers above 0 and up to 1"),
        (lambda: update(edit_every=0), "update.edit_every=0: accepted are whole numbers from 1 on"),
        (lambda: update(restart="no"), "update.restart=no"),
        (lambda: update(lpips_weight=1.0), "update.patch=16: accepted are sides from 31 on"),
    ],
)
def test_a_wrong_setting_is_named(make: Callable[[], object], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert line in str(caught.value)
