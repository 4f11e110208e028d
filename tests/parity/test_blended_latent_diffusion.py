"""Blended Latent Diffusion against StableDiffusionPipeline of diffusers, which blends in its callback."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from PIL import Image

from baselines.blended_latent_diffusion import BlendedLatentDiffusionEditor
from instructedit.cache import StageCache
from instructedit.latent_diffusion import generator
from instructedit.models import Checkpoint, Context, ModelPool
from instructedit.types import Captions, ConfigError, EditRequest, Stage, StageError
from tests import tiny
from tests.parity.steps import pipeline_of

STEPS = 12
CAPTIONS = Captions("photo of a cat", "photo of a lion")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_diffusion(tmp_path_factory.mktemp("diffusion"))


def editor(folder: Path, start: float = 0.25, cache: Path | None = None) -> BlendedLatentDiffusionEditor:
    context = Context(ModelPool(), StageCache(cache), torch.device("cpu"))
    return BlendedLatentDiffusionEditor(context, Checkpoint(str(folder)), start, STEPS)


class Late(DDIMScheduler):
    """A schedule without its first steps."""

    skipped = 0

    def set_timesteps(self, *args: Any, **kwargs: Any) -> None:
        super().set_timesteps(*args, **kwargs)
        timesteps: torch.Tensor = vars(self)["timesteps"]
        self.timesteps = timesteps[self.skipped :]


@pytest.mark.parametrize(("start", "skipped"), [(0.0, 0), (0.25, 3)])
@torch.no_grad()
def test_an_edit_is_that_of_diffusers_pipeline(folder: Path, start: float, skipped: int) -> None:
    ours = editor(folder, start)
    request, mask = EditRequest("one", tiny.picture(5), "x", seed=6), tiny.square_mask()
    (edited,) = tiny.images(ours.edit([request], [CAPTIONS], [mask]))

    backbone = ours.backbone
    scheduler = Late.from_config(backbone.sampler("ddim", STEPS).config)
    scheduler.skipped = skipped
    pipeline = pipeline_of(StableDiffusionPipeline, backbone, scheduler)
    seed = generator(request, Stage.EDITOR)
    latents = torch.randn((1, 4, 8, 8), generator=seed)
    pixels = torch.from_numpy(np.asarray(request.image)).permute(2, 0, 1)[None].float() / 127.5 - 1
    source = backbone.vae.encode(pixels).latent_dist.mean * backbone.vae.config.scaling_factor
    inside = torch.from_numpy(np.asarray(Image.fromarray(mask).resize((8, 8), Image.Resampling.NEAREST))).float()
    steps: list[int] = []

    def blend(_: Any, step: int, timestep: torch.Tensor, given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        steps.append(step)
        noised = scheduler.add_noise(source, torch.randn((1, 4, 8, 8), generator=seed), timestep[None])
        return {"latents": given["latents"] * inside + noised * (1 - inside)}

    theirs = pipeline(
        CAPTIONS.edited, height=64, width=64, num_inference_steps=STEPS, guidance_scale=7.5, latents=latents,
        output_type="np", callback_on_step_end=blend,
    ).images[0]  # fmt: skip
    assert len(steps) == STEPS - skipped
    assert np.abs(np.asarray(edited) / 255 - theirs).max() <= 0.5 / 255 + 1e-4


def test_the_outside_is_the_noised_input_and_the_inside_is_not(folder: Path) -> None:
    """At the last level the noise is small, so the outside is nearly the autoencoder's reconstruction."""
    request, mask = EditRequest("one", tiny.picture(5), "x"), tiny.square_mask()
    (edited,) = tiny.images(editor(folder).edit([request], [CAPTIONS], [mask]))
    (other,) = tiny.images(editor(folder).edit([request], [Captions("a", "photo of a dog")], [mask]))
    changed = np.abs(np.asarray(edited, int) - np.asarray(other, int)).max(axis=-1)
    assert changed[mask].mean() > changed[~mask].mean()


def test_neighbours_and_the_cache_change_nothing(folder: Path, tmp_path: Path) -> None:
    asked = [EditRequest(f"s{i}", tiny.picture(i), "x", seed=3) for i in range(3)]
    masks = [tiny.square_mask()] * 3
    together = tiny.edits(editor(folder, cache=tmp_path).edit(asked, [CAPTIONS] * 3, masks))
    again = tiny.edits(editor(folder, cache=tmp_path).edit(asked, [CAPTIONS] * 3, masks))
    alone = [tiny.edits(editor(folder).edit([r], [CAPTIONS], masks[:1]))[0] for r in asked]
    for first, cached, single in zip(together, again, alone, strict=True):
        assert first.image.tobytes() == cached.image.tobytes()
        assert np.abs(np.asarray(first.image, int) - np.asarray(single.image, int)).max() <= 1
        assert first.evaluations == {"edit": 18} == cached.cached
        assert cached.evaluations == {"edit": 0}


def test_wrong_values_and_empty_masks(folder: Path) -> None:
    with pytest.raises(ConfigError, match="blending_start=1"):
        editor(folder, 1.0)
    request = EditRequest("one", tiny.picture(1), "x")
    (answer,) = editor(folder).edit([request], [CAPTIONS], [np.zeros((64, 64), bool)])
    assert isinstance(answer, StageError)
