"""The inpainting editor against diffusers' pipeline, step for step, on the same tiny models."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline
from PIL import Image

from baselines.sd_inpainting import InpaintingEditor
from instructedit.cache import StageCache
from instructedit.latent_diffusion import generator
from instructedit.models import Checkpoint, Context, ModelPool
from instructedit.types import Captions, EditRequest, Stage
from tests import tiny
from tests.parity.steps import pipeline_of, recorded_steps

STEPS = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_diffusion(tmp_path_factory.mktemp("diffusion"), in_channels=9)


@pytest.mark.parametrize("sampler", ["ddim", "euler_ancestral"])
@pytest.mark.parametrize("strength", [1.0, 0.5])
@torch.no_grad()
def test_every_step_is_that_of_diffusers(
    folder: Path, sampler: str, strength: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = Context(ModelPool(), StageCache(None), torch.device("cpu"))
    editor = InpaintingEditor(context, Checkpoint(str(folder)), "caption", strength, STEPS, sampler=sampler)
    backbone = editor.backbone
    # The pipeline would sample the posterior; this uses its mode, as our code does.
    encode = backbone.vae.encode
    monkeypatch.setattr(backbone.vae, "encode", lambda x: _Mean(encode(x).latent_dist.mode()))
    pipeline = pipeline_of(StableDiffusionInpaintPipeline, backbone, backbone.sampler(sampler, STEPS))
    theirs: list[torch.Tensor] = []

    def keep(_: Any, step: int, timestep: int, given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        theirs.append(given["latents"])
        return {}

    request = EditRequest("one", tiny.picture(5), "Change the cat to a lion", seed=6)
    mask, caption = tiny.square_mask(), "photo of a lion"
    made = pipeline(
        caption, request.image, Image.fromarray(mask), height=64, width=64, strength=strength,
        num_inference_steps=STEPS, guidance_scale=7.5, generator=generator(request, Stage.EDITOR), output_type="np",
        callback_on_step_end=keep,
    ).images[0]  # fmt: skip
    ours = recorded_steps(backbone, monkeypatch)
    (edited,) = tiny.images(editor.edit([request], [Captions("photo of a cat", caption)], [mask]))
    assert len(ours) == int(STEPS * strength)
    torch.testing.assert_close(torch.stack(ours), torch.stack(theirs), rtol=1e-4, atol=1e-4)
    assert np.abs(np.asarray(edited) / 255 - made).max() <= 0.5 / 255 + 1e-4


class _Mean:
    """An encoder output whose posterior has zero variance."""

    def __init__(self, mean: torch.Tensor) -> None:
        self.latent_dist = self
        self._mean = mean

    def sample(self, generator: torch.Generator | None = None) -> torch.Tensor:
        return self._mean

    mode = sample
