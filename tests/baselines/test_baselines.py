"""All baselines: results do not depend on the batch size, failures are isolated per sample, and results are cached."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from baselines import instruct_pix2pix
from baselines.diffedit import VARIANTS, DiffEdit, binarise
from baselines.instruct_pix2pix import SIZINGS, InstructPix2Pix, official_window
from baselines.mdp import MDP, mixing_weights, null_text_optimisation
from baselines.sd_inpainting import InpaintingEditor
from instructedit import diffusion, editor
from instructedit.cache import StageCache
from instructedit.editor import MaskGuidedEditor
from instructedit.latent_diffusion import generator
from instructedit.models import Checkpoint, Context, ModelPool
from instructedit.types import Captions, ConfigError, EditRequest, EditResult, Failure, Method, Restart
from tests import tiny

CAPTIONS = Captions("photo of a cat", "photo of a lion")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Checkpoint]:
    return {
        channels: Checkpoint(str(tiny.save_diffusion(tmp_path_factory.mktemp(f"unet{channels}"), channels)))
        for channels in (4, 8, 9)
    }


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(ModelPool(), StageCache(tmp_path / "cache"), torch.device("cpu"))


def requests(count: int, captions: Captions | None = CAPTIONS) -> list[EditRequest]:
    return [EditRequest(f"s{i}", tiny.picture(i), "Change the cat to a lion", captions) for i in range(count)]


def pixels(outcomes: list[EditResult | Failure]) -> np.ndarray:
    assert all(isinstance(o, EditResult) for o in outcomes), outcomes
    return np.stack([np.asarray(o.image) for o in outcomes if isinstance(o, EditResult)]).astype(int)


METHODS: dict[str, Callable[[Context, dict[int, Checkpoint]], Method]] = {
    "diffedit": lambda c, p: DiffEdit(c, p[4], 0.5, theta=0.4, steps=8),
    "mdp": lambda c, p: MDP(c, p[4], 1, 4, steps=8),
    "mdp null-text": lambda c, p: MDP(c, p[4], 0, 2, steps=3, null_text=True),
    "instruct_pix2pix": lambda c, p: InstructPix2Pix(c, p[8], steps=6),
}


@pytest.mark.parametrize("name", METHODS)
def test_neighbours_in_a_batch_change_nothing(name: str, context: Context, checkpoints: dict[int, Checkpoint]) -> None:
    method = METHODS[name](context, checkpoints)
    together = pixels(method.edit(requests(3)))
    context.cache.root = None
    alone = np.concatenate([pixels(method.edit([r])) for r in reversed(requests(3))])[::-1]
    # Kernels for a batch of one sum in another order, so a few pixels may differ by one 8-bit level.
    assert np.abs(together - alone).max() <= 1
    assert (together != alone).mean() < 0.005
    assert np.abs(together[0] - together[1]).max() > 1


def test_inpainting_neighbours_change_nothing(context: Context, checkpoints: dict[int, Checkpoint]) -> None:
    editor, asked = InpaintingEditor(context, checkpoints[9], steps=6), requests(3)
    masks = [tiny.square_mask()] * 3
    together = np.stack([np.asarray(i) for i in tiny.images(editor.edit(asked, [CAPTIONS] * 3, masks))]).astype(int)
    alone = [tiny.images(editor.edit([r], [CAPTIONS], masks[:1]))[0] for r in asked]
    assert np.abs(together - np.stack([np.asarray(i) for i in alone]).astype(int)).max() <= 1


@pytest.mark.parametrize("name", ["diffedit", "mdp"])
def test_a_sample_without_captions_fails_alone(name: str, context: Context, checkpoints: dict[int, Checkpoint]) -> None:
    method = METHODS[name](context, checkpoints)
    (bad, good) = method.edit([*requests(1, captions=None), *requests(2)[1:]])
    assert isinstance(bad, Failure)
    assert "captions" in bad.message
    assert isinstance(good, EditResult)
    assert getattr(method, "needs_captions", False)


def test_an_image_of_another_size_comes_back_in_its_size(context: Context, checkpoints: dict[int, Checkpoint]) -> None:
    asked = [
        EditRequest("wide", tiny.picture(1, (100, 60)), "x", CAPTIONS),
        EditRequest("tall", tiny.picture(2, (48, 96)), "x", CAPTIONS),
    ]
    for make in METHODS.values():
        for request, outcome in zip(asked, make(context, checkpoints).edit(asked), strict=True):
            assert isinstance(outcome, EditResult)
            assert outcome.image.size == request.image.size
            if outcome.mask is not None:
                assert outcome.mask.shape == request.image.size[::-1]


# --- DiffEdit ---------------------------------------------------------------------------------------------------------


def test_a_theta_sweep_costs_one_map_and_one_inversion(context: Context, checkpoints: dict[int, Checkpoint]) -> None:
    costs, areas = [], []
    for theta in (0.3, 0.5, 0.7):
        (edited,) = DiffEdit(context, checkpoints[4], 0.5, theta=theta, steps=8).edit(requests(1))
        assert isinstance(edited, EditResult)
        assert edited.mask is not None
        costs.append(dict(edited.evaluations))
        areas.append(int(edited.mask.sum()))
    assert costs[0] == {"mask": 20, "inversion": 8, "edit": 8}
    assert costs[1] == costs[2] == {"mask": 0, "inversion": 0, "edit": 8}
    assert areas[0] > areas[1] > areas[2] > 0


def test_the_inversion_is_shared_with_instructedit(context: Context, checkpoints: dict[int, Checkpoint]) -> None:
    editor = MaskGuidedEditor(context, checkpoints[4], 0.5, steps=8)
    editor.edit(requests(1), [CAPTIONS], [tiny.square_mask()])
    for make in (METHODS["diffedit"], METHODS["mdp"]):
        (edited,) = make(context, checkpoints).edit(requests(1))
        assert isinstance(edited, EditResult)
        assert edited.evaluations["inversion"] == 0


def test_with_the_same_mask_diffedit_is_instructedit(context: Context, checkpoints: dict[int, Checkpoint]) -> None:
    (ours,) = DiffEdit(context, checkpoints[4], 0.5, theta=0.4, steps=8).edit(requests(1))
    assert isinstance(ours, EditResult)
    assert ours.mask is not None
    editor = MaskGuidedEditor(context, checkpoints[4], 0.5, steps=8)
    (same,) = tiny.images(editor.edit(requests(1), [CAPTIONS], [ours.mask]))
    np.testing.assert_array_equal(np.asarray(same), np.asarray(ours.image))


def test_variants_differ_and_each_is_repeatable(context: Context, checkpoints: dict[int, Checkpoint]) -> None:
    found = {}
    for variant in VARIANTS:
        method = DiffEdit(context, checkpoints[4], 0.5, theta=0.4, variant=variant, steps=8)
        first, second = (pixels(method.edit(requests(1))) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        found[variant] = first
    assert np.abs(found["paper"] - found["instructedit"]).max() > 0
    assert np.abs(found["diffusers"] - found["instructedit"]).max() > 0


def test_the_run_seed_changes_the_noises(context: Context, checkpoints: dict[int, Checkpoint]) -> None:
    method = DiffEdit(context, checkpoints[4], 0.5, steps=8)
    image = tiny.picture(0)
    maps = [method.difference(EditRequest("s", image, "x", CAPTIONS, seed), CAPTIONS)[0] for seed in (0, 1, 0)]
    torch.testing.assert_close(maps[0], maps[2], rtol=0, atol=0)
    assert (maps[0] - maps[1]).abs().max() > 1e-6


@pytest.mark.parametrize("size", [(64, 64), (100, 60), (61, 47)])
def test_the_editor_gets_the_mask_that_was_found(
    size: tuple[int, int], context: Context, checkpoints: dict[int, Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the photo's pixels and back to latents, under the blend that reduces by nearest neighbour."""
    method = DiffEdit(context, checkpoints[4], 0.5, theta=0.4, variant="diffusers", steps=8)
    request, used = EditRequest("one", tiny.picture(4, size), "x", CAPTIONS), list[torch.Tensor]()

    def sample(predict: object, trajectory: torch.Tensor, mask: torch.Tensor, *_: object) -> torch.Tensor:
        used.append(mask)
        return trajectory[0]

    monkeypatch.setattr(editor, "masked_sample", sample)
    method.edit([request])
    found = binarise(method.difference(request, CAPTIONS)[0], 0.4, 3.0, is_rescaled=False)
    np.testing.assert_array_equal(used[0][0, 0].bool().numpy(), found)


def test_binarise_by_hand() -> None:
    # The mean is 2, so 3 x the mean is 6: the outlier of 12 counts as 6.
    difference = torch.tensor([[0.0, 0.0], [2.0, 12.0], [0.0, 1.0], [1.0, 0.0]])
    by_clamp = binarise(difference, 0.3, 3.0, is_rescaled=False)
    np.testing.assert_array_equal(by_clamp, [[0, 0], [1, 1], [0, 0], [0, 0]])
    raised = binarise(difference + 4, 0.3, 3.0, is_rescaled=True)  # 4 to 16, mean 6, clamp 18: nothing is cut
    np.testing.assert_array_equal(raised, [[0, 0], [0, 1], [0, 0], [0, 0]])
    assert not binarise(torch.ones(2, 2), 0.5, 3.0, is_rescaled=True).any()


def test_an_empty_mask_is_a_failure(context: Context, checkpoints: dict[int, Checkpoint]) -> None:
    same = Captions("photo of a cat", "photo of a cat")
    (outcome,) = DiffEdit(context, checkpoints[4], 0.5, steps=8).edit(requests(1, same))
    assert isinstance(outcome, Failure)
    assert outcome.stage == "mask"
    assert "theta=0.5" in outcome.message


# --- MDP --------------------------------------------------------------------------------------------------------------


def test_mdp_windows_are_the_official_codes() -> None:
    np.testing.assert_array_equal(np.flatnonzero(mixing_weights(50, 2, 27, 1.0, "constant")), np.arange(2, 27))
    assert mixing_weights(50, 2, 27, 0.8, "constant")[2] == 0.8
    np.testing.assert_allclose(mixing_weights(5, 1, 4, 1.0, "linear"), [0, 1, 0.5, 0, 0])
    np.testing.assert_allclose(mixing_weights(5, 1, 4, 1.0, "cosine"), [0, 1, np.sqrt(0.5), 0, 0], atol=1e-12)
    np.testing.assert_allclose(mixing_weights(5, 1, 4, 1.0, "exponential"), [0, 1, np.exp(-2.5), np.exp(-5), 0])


@torch.no_grad()
def test_mdps_limits_hold_exactly(
    context: Context, checkpoints: dict[int, Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = MDP(context, checkpoints[4], 0, 0, steps=8).backbone
    (request,) = requests(1)
    trajectory, _ = backbone.invert([request.image], [CAPTIONS.input], 8)
    schedule = diffusion.make_schedule(backbone.scheduler, 8)
    plain = diffusion.sample(backbone.guided([CAPTIONS.edited], 7.5), trajectory[-1], schedule)
    reconstruction = diffusion.sample(backbone.guided([CAPTIONS.input], 1.0), trajectory[-1], schedule)
    for window, expected in (((3, 3), plain), ((0, 8), reconstruction)):
        method, decoded = MDP(context, checkpoints[4], *window, steps=8), list[torch.Tensor]()
        monkeypatch.setattr(method.backbone, "decode", partial(_keep_and_decode, decoded, method.backbone.decode))
        method.edit([request])
        torch.testing.assert_close(decoded[0], expected, rtol=0, atol=0)


def _keep_and_decode(
    kept: list[torch.Tensor], decode: Callable[[torch.Tensor], torch.Tensor], latents: torch.Tensor
) -> torch.Tensor:
    kept.append(latents)
    return decode(latents)


@torch.no_grad()
def test_null_text_optimisation_holds_the_guided_reconstruction(
    context: Context, checkpoints: dict[int, Checkpoint]
) -> None:
    backbone, (request,) = MDP(context, checkpoints[4], 0, 6, steps=6, null_text=True).backbone, requests(1)
    trajectory, _ = backbone.invert([request.image], [CAPTIONS.input], 6)
    schedule = diffusion.make_schedule(backbone.scheduler, 6)
    guided = diffusion.sample(backbone.guided([CAPTIONS.input], 7.5), trajectory[-1], schedule)
    null = null_text_optimisation(backbone, trajectory, backbone.embed([CAPTIONS.input]), schedule, 7.5)
    held = trajectory[-1]
    for step, noise in enumerate(null.noises):
        level = 6 - step
        held = diffusion.move(held, noise, schedule.alphas[level], schedule.alphas[level - 1])
    assert (held - trajectory[0]).pow(2).mean() < 0.8 * (guided - trajectory[0]).pow(2).mean()
    assert null.evaluations > 2 * 6


# --- InstructPix2Pix and inpainting -----------------------------------------------------------------------------------


def test_official_sizing() -> None:
    """The crop equals that of ``ImageOps.fit``, which the official code uses."""
    sizes = {(640, 480): (512, 384), (800, 533): (576, 384), (512, 512): (512, 512), (300, 900): (192, 576)}
    for size, expected in sizes.items():
        image, window = tiny.picture(0, size), official_window(size, 512)
        assert window.size == expected
        theirs = ImageOps.fit(image, expected, method=Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(np.asarray(window.crop(image)), np.asarray(theirs))


@pytest.mark.parametrize("sizing", SIZINGS)
@pytest.mark.parametrize("size", [(512, 288), (288, 512), (500, 333), (64, 64)])
def test_an_identity_edit_returns_the_photo(
    sizing: str,
    size: tuple[int, int],
    context: Context,
    checkpoints: dict[int, Checkpoint],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a network that changes nothing, the edit is aligned with the photo for every crop."""
    method = InstructPix2Pix(context, checkpoints[8], steps=1, sizing=sizing)
    monkeypatch.setattr(type(method.backbone), "sample_size", 512)
    monkeypatch.setattr(method.backbone, "encode_unscaled", method.backbone.tensor)
    monkeypatch.setattr(method.backbone, "decode", lambda latents: latents)
    monkeypatch.setattr(instruct_pix2pix, "sample", lambda unet, sampler, start, seen, *_: seen)
    photo = tiny.picture(3, size)
    (edited,) = method.edit([EditRequest("photo", photo, "x")])
    assert isinstance(edited, EditResult)
    assert edited.image.size == size
    error = (np.asarray(edited.image).astype(float) - np.asarray(photo)) ** 2
    assert 10 * np.log10(255**2 / max(error.mean(), 1e-9)) > 45


def test_both_sizings_are_one_on_square_pictures(context: Context, checkpoints: dict[int, Checkpoint]) -> None:
    first, second = (
        pixels(InstructPix2Pix(context, checkpoints[8], steps=4, sizing=s).edit(requests(2))) for s in SIZINGS
    )
    np.testing.assert_array_equal(first, second)


def test_image_guidance_holds_the_image(context: Context, checkpoints: dict[int, Checkpoint]) -> None:
    weak, strong = (
        pixels(InstructPix2Pix(context, checkpoints[8], 7.5, scale, 6).edit(requests(1))) for scale in (1.0, 3.0)
    )
    assert np.abs(weak - strong).max() > 0


def test_inpainting_never_sees_what_the_mask_hides(context: Context, checkpoints: dict[int, Checkpoint]) -> None:
    editor, (request,), mask = InpaintingEditor(context, checkpoints[9], steps=6), requests(1), tiny.square_mask()
    other = np.array(request.image)
    other[mask] = 255 - other[mask]
    changed = EditRequest(request.id, Image.fromarray(other), request.instruction, CAPTIONS)
    first, second = (tiny.images(editor.edit([r], [CAPTIONS], [mask]))[0] for r in (request, changed))
    np.testing.assert_array_equal(np.asarray(first), np.asarray(second))
    seen = InpaintingEditor(context, checkpoints[9], strength=0.5, steps=6)
    third, fourth = (tiny.images(seen.edit([r], [CAPTIONS], [mask]))[0] for r in (request, changed))
    assert np.abs(np.asarray(third).astype(int) - np.asarray(fourth)).max() > 0


def test_the_inpainting_prompt_is_the_caption_without_its_medium(
    context: Context, checkpoints: dict[int, Checkpoint]
) -> None:
    (request,), mask = requests(1), tiny.square_mask()
    as_object = InpaintingEditor(context, checkpoints[9], "object", steps=4)
    as_caption = InpaintingEditor(context, checkpoints[9], "caption", steps=4)
    (first,) = tiny.images(as_object.edit([request], [Captions("x", "A photo of a lion")], [mask]))
    (second,) = tiny.images(as_caption.edit([request], [Captions("x", "a lion")], [mask]))
    np.testing.assert_array_equal(np.asarray(first), np.asarray(second))


def test_noise_belongs_to_the_sample_the_stage_and_the_seed() -> None:
    one = EditRequest("a", tiny.picture(0), "x", seed=1)
    draws = [
        torch.randn(3, generator=generator(r, stage)).tolist()
        for r, stage in (
            (one, "mask"),
            (one, "mask"),
            (one, "editor"),
            (EditRequest("b", one.image, "x", seed=1), "mask"),
            (EditRequest("a", one.image, "x", seed=2), "mask"),
        )
    ]
    assert draws[0] == draws[1]
    assert len({tuple(d) for d in draws}) == 4


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda c, p: DiffEdit(c, p[4], 0.5, theta=1.2), "theta=1.2"),
        (lambda c, p: DiffEdit(c, p[4], 0.5, variant="best"), "accepted are paper, diffusers, instructedit"),
        (lambda c, p: DiffEdit(c, p[4], 0.5, noises=0), "noises=0"),
        (lambda c, p: MDP(c, p[4], 5, 3), "start=5, end=3"),
        (lambda c, p: MDP(c, p[4], 0, 51), "end=51"),
        (lambda c, p: MDP(c, p[4], 0, 5, schedule="step"), "accepted are constant, linear, cosine, exponential"),
        (lambda c, p: MDP(c, p[4], 0, 5, factor=2), "factor=2"),
        (lambda c, p: InstructPix2Pix(c, p[8], sampler="heun"), "accepted are ddim, euler_ancestral"),
        (lambda c, p: InstructPix2Pix(c, p[8], steps=0), "steps=0"),
        (lambda c, p: InstructPix2Pix(c, p[8], sizing="square"), "accepted are aspect, official"),
        (lambda c, p: InpaintingEditor(c, p[9], strength=0), "strength=0"),
        (lambda c, p: InpaintingEditor(c, p[9], prompt="words"), "accepted are caption, object"),
    ],
)
def test_wrong_knobs_are_refused_before_a_model_loads(
    make: Callable[..., object], said: str, context: Context, checkpoints: dict[int, Checkpoint]
) -> None:
    with pytest.raises(ConfigError, match=said):
        make(context, checkpoints)


def test_instruct_pix2pix_restarts_from_the_noised_picture(
    context: Context, checkpoints: dict[int, Checkpoint]
) -> None:
    method, (request,) = InstructPix2Pix(context, checkpoints[8], steps=6), requests(1)
    other = tiny.picture(7)

    def edited(noise: float, draw: int = 0) -> np.ndarray:
        return pixels(method.edit([replace(request, restart=Restart(other, noise, 4, draw))]))[0]

    backbone = method.backbone
    with torch.no_grad():
        kept = backbone.decode(backbone.encode([other]))[0].add(1).mul(127.5).permute(1, 2, 0).numpy()
    # From the lowest level, the restart picture comes back; from a high one, another.
    assert np.abs(edited(0.005) - kept).mean() < np.abs(edited(0.9) - kept).mean()
    assert np.array_equal(edited(0.5), edited(0.5))
    assert not np.array_equal(edited(0.5), edited(0.5, draw=1))
    (outcome,) = method.edit([replace(request, restart=Restart(other, 0.5, 4))])
    assert isinstance(outcome, EditResult)
    assert outcome.evaluations == {"edit": 12}
    # Requests without a restart are not affected by one in their batch.
    mixed = pixels(method.edit([replace(request, restart=Restart(other, 0.5, 4)), *requests(2)[1:]]))
    assert np.abs(mixed[1] - pixels(method.edit(requests(2)))[1]).max() <= 1


def test_diffedit_takes_its_mask_from_the_image_not_from_the_restart(
    context: Context, checkpoints: dict[int, Checkpoint]
) -> None:
    method, (request,) = DiffEdit(context, checkpoints[4], 0.5, theta=0.4, steps=8), requests(1)
    (plain,) = method.edit([request])
    (again,) = method.edit([replace(request, restart=Restart(tiny.picture(7), 0.5, 4))])
    assert isinstance(plain, EditResult)
    assert isinstance(again, EditResult)
    assert np.array_equal(plain.mask, again.mask)  # type: ignore[arg-type]
    assert not np.array_equal(np.asarray(plain.image), np.asarray(again.image))
