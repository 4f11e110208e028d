"""Clips are edited by any method, outside the mask their pixels stay, and a killed fit goes on."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from instructedit.applications.strips import psnr, rolled, summed, unrolled
from instructedit.applications.video import editor as video
from instructedit.applications.video.editor import ClipEditor, EditedClip
from instructedit.applications.video.field import Fit
from instructedit.applications.video.filmstrip import Filmstrip
from instructedit.cache import StageCache
from instructedit.models import Context, ModelPool
from instructedit.types import ConfigError, EditRequest, EditResult, Failure, Method, StageError, Tokens
from tests.applications.clips import moved, settings

FRAMES = moved((1.0, 0.0))


class Inverts(Method):
    """Inverts the colours of the middle of a picture; a method as any other."""

    def __init__(self, context: Context | None = None, is_empty: bool = False, has_mask: bool = True) -> None:
        self.is_empty, self.has_mask, self.seen = is_empty, has_mask, 0

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | Failure]:
        self.seen += len(requests)
        return [self.one(request) for request in requests]

    def one(self, request: EditRequest) -> EditResult | Failure:
        if request.instruction == "fail":
            return Failure(request.id, "editor", "StageError", "asked to")
        mask = np.zeros((request.image.height, request.image.width), bool)
        if not self.is_empty:
            mask[mask.shape[0] // 4 : -mask.shape[0] // 4, mask.shape[1] // 4 : -mask.shape[1] // 4] = True
        return EditResult(request.id, ImageOps.invert(request.image), mask if self.has_mask else None)


def context(root: Path) -> Context:
    return Context(ModelPool(), StageCache(root), torch.device("cpu"))


def request(instruction: str = "invert") -> EditRequest:
    return EditRequest("clip", Image.fromarray(FRAMES[0]), instruction)


def edited(outcome: EditedClip | Failure) -> EditedClip:
    assert isinstance(outcome, EditedClip)
    return outcome


@pytest.mark.parametrize(("propagation", "edits"), [("field", 1), ("flow", 1), ("per_frame", 6)])
def test_every_frame_has_the_edit_and_its_own_pixels_outside(propagation: str, edits: int, tmp_path: Path) -> None:
    method = Inverts()
    clip = edited(ClipEditor(context(tmp_path), method, settings(), propagation, batch_size=4).edit(FRAMES, request()))
    assert method.seen == edits
    assert clip.frames.shape == FRAMES.shape
    for frame, own, mask in zip(clip.frames, FRAMES, clip.masks, strict=True):
        assert 0.1 < mask.mean() < 0.5
        assert np.array_equal(frame[~mask], own[~mask])
        assert psnr(frame[mask], 255 - own[mask]) > 20


def test_the_edit_moves_with_the_clip(tmp_path: Path) -> None:
    clip = edited(ClipEditor(context(tmp_path), Inverts(), settings()).edit(FRAMES, request()))
    centres = [np.nonzero(mask)[1].mean() for mask in clip.masks]
    assert np.diff(centres) == pytest.approx([1.0] * 5, abs=0.35)


def test_an_empty_mask_changes_nothing(tmp_path: Path) -> None:
    for propagation in video.PROPAGATIONS:
        clip = edited(
            ClipEditor(context(tmp_path), Inverts(is_empty=True), settings(), propagation).edit(FRAMES, request())
        )
        assert np.array_equal(clip.frames, FRAMES)
        assert not clip.masks.any()


def test_a_method_without_masks_edits_the_whole_frame(tmp_path: Path) -> None:
    clip = edited(ClipEditor(context(tmp_path), Inverts(has_mask=False), settings()).edit(FRAMES, request()))
    assert clip.masks.mean() > 0.9


def test_a_failure_of_the_method_is_the_clips(tmp_path: Path) -> None:
    for propagation in video.PROPAGATIONS:
        outcome = ClipEditor(context(tmp_path), Inverts(), settings(), propagation).edit(FRAMES, request("fail"))
        assert isinstance(outcome, Failure)


def test_one_frame_is_refused_and_a_wrong_propagation_is_named(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="one frame; a clip has at least two"):
        ClipEditor(context(tmp_path), Inverts(), settings()).edit(FRAMES[:1], request())
    with pytest.raises(ConfigError, match="propagation=optical: accepted are field, per_frame, flow"):
        ClipEditor(context(tmp_path), Inverts(), settings(), "optical")


def test_a_fitted_field_is_in_the_cache_and_a_killed_fit_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ClipEditor(context(tmp_path / "a"), Inverts(), settings(steps=10)).fit(FRAMES)
    monkeypatch.setattr(video, "_SAVE_SECONDS", 0.0)

    class Killed(BaseException):
        pass

    def kill(what: str, done: int, total: int, loss: float) -> None:
        if done == 6:
            raise Killed

    with pytest.raises(Killed):
        ClipEditor(context(tmp_path / "b"), Inverts(), settings(steps=10)).fit(FRAMES, kill)
    steps: list[int] = []
    again = ClipEditor(context(tmp_path / "b"), Inverts(), settings(steps=10))
    fitted = again.fit(FRAMES, lambda what, done, total, loss: steps.append(done))
    assert steps[0] == 6  # five were stored
    assert fitted.is_new
    assert np.array_equal(fitted.field.image(), whole.field.image())
    assert not list((tmp_path / "b" / video.PROGRESS).glob("*/*.safetensors"))
    monkeypatch.setattr(Fit, "run", None)
    cached = again.fit(FRAMES)
    assert not cached.is_new
    assert cached.psnr == fitted.psnr
    assert cached.below(1000.0) == list(range(6))


def test_a_filmstrip_is_a_sample_of_the_harness(tmp_path: Path) -> None:
    strip = rolled(FRAMES)
    assert strip.size == (64, 6 * 48)
    assert np.array_equal(unrolled(strip, 6), FRAMES)
    method = Filmstrip(context(tmp_path), Inverts, frames=6, settings=settings())
    (result,) = method.edit([dataclasses.replace(request(), image=strip)])
    assert isinstance(result, EditResult)
    assert result.image.size == strip.size
    assert result.mask is not None
    assert result.mask.shape == (6 * 48, 64)
    assert len(result.decisions.reconstruction or ()) == 6
    with pytest.raises(StageError, match="no 7 frames"):
        Filmstrip(context(tmp_path), Inverts, frames=7, settings=settings()).edit(
            [dataclasses.replace(request(), image=strip)]
        )
    with pytest.raises(ConfigError, match="benchmark=picturebook_video"):
        Filmstrip(context(tmp_path), Inverts, frames=None, settings=settings())


def test_the_costs_of_all_edits_are_summed() -> None:
    """A stage that the cache saved in one frame is counted as saved, and the first frame's alone is not enough."""
    image = Image.new("RGB", (8, 8))
    first = EditResult("a", image, None, seconds={"editor": 1.0}, evaluations={"edit": 10}, tokens=Tokens(5, 2))
    second = EditResult("b", image, None, seconds={"editor": 0.5, "mask": 1.0}, evaluations={"edit": 0}, tokens=None,
                        cached_evaluations={"edit": 10})  # fmt: skip
    both = summed([first, second, second])
    assert both.id == "a"
    assert both.seconds == {"editor": 2.0, "mask": 2.0}
    assert (both.evaluations, both.cached_evaluations) == ({"edit": 10}, {"edit": 20})
    assert both.tokens == Tokens(5, 2)
