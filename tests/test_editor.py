"""Mask-guided editing: unchanged pixels, shared inversions, and refused values."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from baselines.sd_inpainting import InpaintingEditor
from instructedit import diffusion
from instructedit.cache import StageCache
from instructedit.editor import (
    Edited,
    MaskGuidedEditor,
    grow,
    latent_mask,
    masked_sample,
    nearest_latent_mask,
    pixel_weight,
)
from instructedit.language.base import Parsed
from instructedit.method import InstructEdit
from instructedit.models import Checkpoint, Context, ModelPool
from instructedit.segmenter.base import Segmentation
from instructedit.types import Captions, ConfigError, EditRequest, EditResult, Failure, Restart, StageError
from tests import tiny
from tests.tiny import picture, square_mask

CAPTIONS = Captions("photo of a cat", "photo of a lion")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return Checkpoint(str(tiny.save_diffusion(tmp_path_factory.mktemp("diffusion"))))


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(ModelPool(), StageCache(tmp_path / "cache"), torch.device("cpu"))


def requests(images: list[Image.Image]) -> list[EditRequest]:
    return [EditRequest(str(i), image, "Change the cat to a lion") for i, image in enumerate(images)]


def arrays(images: list[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(i) for i in images]).astype(int)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 1.0])
def test_the_outside_stays_the_reconstruction(context: Context, checkpoint: Checkpoint, ratio: float) -> None:
    editor = MaskGuidedEditor(context, checkpoint, ratio, steps=10)
    image, mask = picture(0), square_mask()
    (edited,) = tiny.images(editor.edit(requests([image]), [CAPTIONS], [mask]))
    with torch.no_grad():
        kept = editor.backbone.decode(editor.backbone.encode([image]))[0]
    reference = kept.add(1).mul(127.5).permute(1, 2, 0).numpy()
    outside = ~functional.interpolate(latent_mask(mask, (8, 8))[None], size=(64, 64))[0, 0].bool().numpy()
    # 8-bit pixels may differ by rounding only.
    assert np.abs(np.asarray(edited)[outside] - reference[outside]).max() <= 0.5 + 1e-3
    assert np.abs(np.asarray(edited)[mask] - reference[mask]).max() > 2


@torch.no_grad()
def test_latents_outside_end_on_x0_for_the_paper_and_a_level_later_for_the_released_code() -> None:
    scheduler, unet = tiny.scheduler(), tiny.unet()
    schedule = diffusion.make_schedule(scheduler, 10)
    latents, condition = torch.randn(1, 4, 8, 8), diffusion.Condition(torch.randn(1, 5, 32))
    predict = diffusion.conditional(unet, scheduler, condition)
    trajectory = diffusion.invert(predict, latents, schedule)
    mask = latent_mask(square_mask(), (8, 8))[None]
    for blend, level in (("paper", 0), ("official", 1)):
        out = masked_sample(lambda _: predict, trajectory, mask, schedule, [5], blend)
        torch.testing.assert_close(out * (1 - mask), trajectory[level] * (1 - mask), rtol=0, atol=0)


@torch.no_grad()
def test_samples_that_join_at_their_own_level_end_where_they_would_alone() -> None:
    scheduler, unet = tiny.scheduler(), tiny.unet()
    schedule = diffusion.make_schedule(scheduler, 10)
    states, latents = torch.randn(3, 5, 32), torch.randn(3, 4, 8, 8)

    def predict(rows: slice) -> diffusion.NoisePredictor:
        return diffusion.conditional(unet, scheduler, diffusion.Condition(states[rows]))

    def give(predictor: diffusion.NoisePredictor, count: int) -> diffusion.NoisePredictor:
        assert count == 1
        return predictor

    trajectory = diffusion.invert(predict(slice(3)), latents, schedule)
    mask = torch.stack([latent_mask(square_mask(), (8, 8))] * 3)
    starts = [9, 6, 6]
    together = masked_sample(lambda count: predict(slice(count)), trajectory, mask, schedule, starts, "paper")
    for i, start in enumerate(starts):
        one = slice(i, i + 1)
        lone = predict(one)
        alone = masked_sample(partial(give, lone), trajectory[:, one], mask[one], schedule, [start], "paper")
        torch.testing.assert_close(together[one], alone, rtol=1e-4, atol=1e-4)


def test_a_finished_edit_is_a_stage(context: Context, checkpoint: Checkpoint) -> None:
    """Equal edits of a batch, and edits that were made before, cost nothing; another ratio costs its denoising."""

    def edit(ratio: float) -> list[Edited]:
        editor = MaskGuidedEditor(context, checkpoint, ratio, steps=10)
        return tiny.edits(editor.edit(requests([picture(5)] * 2), [CAPTIONS] * 2, [square_mask()] * 2))

    first, twin = edit(0.5)
    assert (first.evaluations, first.cached) == ({"inversion": 10, "edit": 10}, {"inversion": 0})
    assert (twin.evaluations, twin.cached) == ({"inversion": 0, "edit": 0}, {"inversion": 10, "edit": 10})
    again, _ = edit(0.5)
    assert again.evaluations == {"inversion": 0, "edit": 0}
    assert np.array_equal(np.asarray(again.image), np.asarray(first.image))
    assert np.array_equal(np.asarray(twin.image), np.asarray(first.image))
    other, _ = edit(0.8)
    assert (other.evaluations, other.cached) == ({"inversion": 0, "edit": 16}, {"inversion": 10})


def test_all_ratios_share_one_inversion(context: Context, checkpoint: Checkpoint) -> None:
    images, masks = [picture(0), picture(1)], [square_mask()] * 2
    costs = [
        [
            e.evaluations
            for e in tiny.edits(
                MaskGuidedEditor(context, checkpoint, r, steps=10).edit(requests(images), [CAPTIONS] * 2, masks)
            )
        ]
        for r in (0.5, 0.7, 0.9)
    ]
    assert [c["inversion"] for cost in costs for c in cost] == [10, 10, 0, 0, 0, 0]
    assert [cost[0]["edit"] for cost in costs] == [10, 14, 18]
    assert context.cache.hits["inversion"] == 4


def test_a_cached_inversion_gives_the_same_picture(context: Context, checkpoint: Checkpoint) -> None:
    editor = MaskGuidedEditor(context, checkpoint, 0.7, steps=10)
    first, second = (tiny.images(editor.edit(requests([picture(0)]), [CAPTIONS], [square_mask()])) for _ in range(2))
    assert (arrays(first) == arrays(second)).all()


@pytest.mark.parametrize("batch", [1, 3])
def test_neither_batch_size_nor_order_changes_a_result(tmp_path: Path, checkpoint: Checkpoint, batch: int) -> None:
    images = [picture(i) for i in range(8)]
    pool = ModelPool()

    def edit(order: list[int], size: int, folder: str) -> np.ndarray:
        context = Context(pool, StageCache(tmp_path / folder), torch.device("cpu"))
        editor = MaskGuidedEditor(context, checkpoint, 0.7, steps=10)
        found: dict[int, Image.Image] = {}
        for start in range(0, len(order), size):
            part = order[start : start + size]
            edited = tiny.images(
                editor.edit(requests([images[i] for i in part]), [CAPTIONS] * len(part), [square_mask()] * len(part))
            )
            found |= dict(zip(part, edited, strict=True))
        return arrays([found[i] for i in range(len(images))])

    whole = edit(list(range(8)), 8, "whole")
    other = edit([5, 2, 7, 0, 3, 6, 1, 4], batch, "other")
    # Kernels for other batch sizes sum in another order, so single pixels may be rounded differently.
    assert np.abs(whole - other).max() <= 1
    assert (whole != other).mean() < 0.001


def test_pictures_of_any_size_come_back_in_their_size(context: Context, checkpoint: Checkpoint) -> None:
    images = [picture(0, (64, 64)), picture(1, (120, 90)), picture(2, (50, 200))]
    masks = [np.asarray(i.convert("L")) > 128 for i in images]
    editor = MaskGuidedEditor(context, checkpoint, 0.5, steps=4)
    edited = tiny.images(editor.edit(requests(images), [CAPTIONS] * 3, masks))
    assert [e.size for e in edited] == [i.size for i in images]


def test_the_latent_mask_takes_latents_that_are_half_covered() -> None:
    mask = np.zeros((64, 64), bool)
    mask[0:8, 0:4] = True  # half of the first latent
    mask[8:16, 0:3] = True  # less than half of the one below
    assert latent_mask(mask, (8, 8)).nonzero().tolist() == [[0, 0, 0]]


def test_a_mask_smaller_than_half_a_latent_keeps_the_latent_it_fills_most() -> None:
    mask = np.zeros((64, 64), bool)
    mask[20:23, 20:23] = True
    mask[33, 33] = True
    assert latent_mask(mask, (8, 8)).nonzero().tolist() == [[0, 2, 2]]


@pytest.mark.parametrize("size", [(512, 512), (64, 64), (333, 500)])
def test_the_official_latent_mask_is_torchs_nearest(size: tuple[int, int]) -> None:
    """The mask image is brought to the working size by nearest neighbour, thresholded, then interpolated to latents."""
    height, width = size
    mask = np.asarray(picture(5, (width, height)).convert("L")) > 140
    at_work = torch.from_numpy(np.array(Image.fromarray(mask).resize((512, 384), Image.Resampling.NEAREST)))
    expected = functional.interpolate(at_work[None, None].float(), size=(48, 64), mode="nearest")[0] >= 0.5
    ours = nearest_latent_mask(mask, (512, 384), 8)
    assert ours.shape == (1, 48, 64)
    torch.testing.assert_close(ours, expected.float())
    assert (ours != latent_mask(mask, (48, 64))).any()


def test_the_official_blend_edits_in_the_nearest_mask(context: Context, checkpoint: Checkpoint) -> None:
    """The released code omits a latent of which a mask covers seven eighths but not the first pixel."""
    mask = np.zeros((64, 64), bool)
    mask[16:24, 17:24] = True
    paper, official = (MaskGuidedEditor(context, checkpoint, 0.5, steps=4, blend=b) for b in ("paper", "official"))
    tiny.images(paper.edit(requests([picture(0)]), [CAPTIONS], [mask]))
    (answer,) = official.edit(requests([picture(0)]), [CAPTIONS], [mask])
    assert isinstance(answer, StageError)
    assert "empty on the latent grid (dilate=0, blend=official)" in str(answer)
    mask[16, 16] = True
    tiny.images(official.edit(requests([picture(0)]), [CAPTIONS], [mask]))


def test_the_edit_fades_in_inside_the_mask_alone() -> None:
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2:5, 2:5] = 1
    weight = pixel_weight(mask, (64, 64))[0, 0]
    assert weight[:16].max() == 0
    assert weight[20:36, 20:36].min() == 1
    assert pixel_weight(torch.ones(1, 1, 8, 8), (64, 64)).min() == 1
    assert pixel_weight(torch.zeros(1, 1, 8, 8), (64, 64)).max() == 0


class Fixed:
    """A language processor and a segmenter with fixed answers."""

    def __init__(self, masks: list[np.ndarray], context: Context | None = None) -> None:
        self.masks = masks

    def parse(self, instructions: Sequence[str], descriptions: Sequence[str | None]) -> list[Parsed | StageError]:
        return [Parsed("cat", CAPTIONS, "reply")] * len(instructions)

    def segment(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[Segmentation | StageError]:
        return [Segmentation(m, ()) for m in self.masks]


@pytest.mark.parametrize(
    ("kind", "channels", "options"),
    [(MaskGuidedEditor, 4, {"ratio": 0.5}), (InpaintingEditor, 9, {})],
)
def test_a_mask_that_vanishes_fails_its_own_sample_alone(
    context: Context, tmp_path: Path, kind: Any, channels: int, options: dict[str, float]
) -> None:
    """The first mask is empty after erosion; the other sample of the batch is edited."""
    folder = Checkpoint(str(tiny.save_diffusion(tmp_path / "model", channels)))
    small = np.zeros((64, 64), bool)
    small[30:34, 30:34] = True
    known: Any = partial(Fixed, [small, square_mask()])
    editor = partial(kind, diffusion=folder, steps=4, dilate=-4, **options)
    grid = " on the latent grid" if kind is MaskGuidedEditor else ""
    method = InstructEdit(context, language=known, segmenter=known, editor=editor)
    failure, edit = method.edit(requests([picture(0), picture(1)]))
    assert isinstance(failure, Failure)
    assert failure.stage == "editor"
    assert f"the mask is empty{grid} (dilate=-4" in failure.message
    assert isinstance(edit, EditResult)
    assert edit.image.size == (64, 64)


def test_growing_and_shrinking_by_pixels() -> None:
    mask = np.zeros((21, 21), bool)
    mask[10, 10] = True
    disc = grow(mask, 3)
    assert disc[10, 13]
    assert disc[7, 10]
    assert not disc[13, 13]
    assert (grow(disc, -3).sum(), grow(mask, 0).sum()) == (1, 1)
    assert not grow(np.zeros((5, 5), bool), 2).any()


@pytest.mark.parametrize(
    ("options", "accepted"),
    [
        ({"ratio": 0}, "above 0 and up to 1"),
        ({"ratio": 1.5}, "above 0 and up to 1"),
        ({"ratio": 0.01}, "leaves nothing to do"),
        ({"ratio": 0.5, "blend": "poisson"}, "paper, official"),
        ({"ratio": 0.5, "steps": 0}, "1 to 1000"),
    ],
)
def test_impossible_settings_are_refused_before_a_model_loads(
    context: Context, checkpoint: Checkpoint, options: dict[str, float], accepted: str
) -> None:
    with pytest.raises(ConfigError, match=accepted):
        MaskGuidedEditor(context, checkpoint, **options)  # type: ignore[arg-type]
    assert len(context.pool) == 0


def restarted(image: Image.Image, *restarts: Restart | None) -> list[EditRequest]:
    return [EditRequest(str(i), image, "", restart=restart) for i, restart in enumerate(restarts)]


def test_a_restart_from_the_image_itself_is_a_whole_edit(context: Context, checkpoint: Checkpoint) -> None:
    image, mask = picture(0), square_mask()
    whole = MaskGuidedEditor(context, checkpoint, 1.0, steps=6)
    (wanted,) = tiny.images(whole.edit(restarted(image, None), [CAPTIONS], [mask]))
    other = MaskGuidedEditor(context, checkpoint, 0.5, steps=9)
    (edited,) = other.edit(restarted(image, Restart(image, 1.0, 6)), [CAPTIONS], [mask])
    assert isinstance(edited, Edited)
    assert np.abs(arrays([edited.image]) - arrays([wanted])).max() <= 1
    assert edited.evaluations == {"inversion": 12, "edit": 12}


def test_a_restart_starts_from_its_picture_and_keeps_the_outside_of_the_image(
    context: Context, checkpoint: Checkpoint
) -> None:
    editor, mask, image = MaskGuidedEditor(context, checkpoint, 0.5, steps=6), square_mask(), picture(0)
    others = [Restart(picture(seed), 0.4, 6) for seed in (1, 2)]
    plain, first, second = tiny.images(editor.edit(restarted(image, None, *others), [CAPTIONS] * 3, [mask] * 3))
    _, one, two = arrays([plain, first, second])
    grid = functional.interpolate(latent_mask(mask, (8, 8))[None], size=(64, 64))[0, 0].bool().numpy()
    assert np.abs(one - two)[~grid].max() <= 1  # what is kept is the image's
    assert np.abs(one - two)[mask].mean() > 2
    (alone,) = tiny.images(editor.edit(restarted(image, others[1]), [CAPTIONS], [mask]))
    assert np.abs(arrays([alone])[0] - two).max() <= 1


def test_a_restart_is_not_cached(context: Context, checkpoint: Checkpoint) -> None:
    editor = MaskGuidedEditor(context, checkpoint, 0.5, steps=4)
    editor.edit(restarted(picture(0), Restart(picture(1), 0.5, 4)), [CAPTIONS], [square_mask()])
    assert not list(context.cache.root.rglob("*.safetensors"))  # type: ignore[union-attr]
