"""InstructPix2Pix against diffusers' pipeline, step for step, on the same tiny models."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInstructPix2PixPipeline

from baselines.instruct_pix2pix import InstructPix2Pix
from instructedit.cache import StageCache
from instructedit.latent_diffusion import generator
from instructedit.models import Checkpoint, Context, ModelPool
from instructedit.types import EditRequest, EditResult, Stage
from tests import tiny
from tests.parity.steps import pipeline_of, recorded_steps

STEPS = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_diffusion(tmp_path_factory.mktemp("diffusion"), in_channels=8)


@pytest.mark.parametrize("sampler", ["euler_ancestral", "ddim"])
@torch.no_grad()
def test_every_step_is_that_of_diffusers(folder: Path, sampler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    context = Context(ModelPool(), StageCache(None), torch.device("cpu"))
    method = InstructPix2Pix(context, Checkpoint(str(folder)), 6.0, 1.7, STEPS, sampler)
    backbone, request = method.backbone, EditRequest("one", tiny.picture(3), "cat to lion", seed=4)
    ours = recorded_steps(backbone, monkeypatch)
    (edited,) = method.edit([request])
    assert isinstance(edited, EditResult)
    pipeline = pipeline_of(StableDiffusionInstructPix2PixPipeline, backbone, backbone.sampler(sampler, STEPS))
    theirs: list[torch.Tensor] = []

    def keep(_: Any, step: int, timestep: int, given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        theirs.append(given["latents"])
        return {}

    made = pipeline(
        request.instruction, request.image, STEPS, 6.0, 1.7, generator=generator(request, Stage.EDITOR),
        output_type="np", callback_on_step_end=keep,
    ).images[0]  # fmt: skip
    assert len(ours) == STEPS
    torch.testing.assert_close(torch.stack(ours), torch.stack(theirs), rtol=1e-4, atol=1e-4)
    assert np.abs(np.asarray(edited.image) / 255 - made).max() <= 0.5 / 255 + 1e-4
