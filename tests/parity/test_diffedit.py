"""DiffEdit against diffusers' StableDiffusionDiffEditPipeline, on the same tiny models."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler
from diffusers.pipelines.deprecated.stable_diffusion_diffedit.pipeline_stable_diffusion_diffedit import (
    StableDiffusionDiffEditPipeline,
)

from baselines.diffedit import DiffEdit, binarise
from instructedit.cache import StageCache
from instructedit.latent_diffusion import generator
from instructedit.models import Checkpoint, Context, ModelPool
from instructedit.types import Captions, EditRequest, EditResult, Stage
from tests import tiny
from tests.parity.steps import pipeline_of

CAPTIONS = Captions("photo of a cat", "photo of a lion on sand")
STEPS, RATIO, SCALE = 20, 0.8, 7.5
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_diffusion(tmp_path_factory.mktemp("diffusion"))


@pytest.fixture(scope="module")
def method(folder: Path) -> DiffEdit:
    context = Context(ModelPool(), StageCache(None), torch.device("cpu"))
    return DiffEdit(
        context, Checkpoint(str(folder)), RATIO, theta=0.5, variant="diffusers", steps=STEPS, guidance_scale=SCALE
    )


@pytest.fixture(scope="module")
def pipeline(method: DiffEdit) -> Any:
    backbone = method.editor.backbone
    config = backbone.scheduler.config
    return pipeline_of(
        StableDiffusionDiffEditPipeline, backbone, DDIMScheduler.from_config(config),
        inverse_scheduler=DDIMInverseScheduler.from_config(config),
    )  # fmt: skip


def request_of(seed: int) -> EditRequest:
    return EditRequest(f"sample_{seed}", tiny.picture(seed), "Change the cat to a lion", CAPTIONS, seed)


def their_mask(pipeline: Any, method: DiffEdit, request: EditRequest) -> np.ndarray:
    # The pipeline gets latents, because it would sample the posterior, whereas our code uses its mode.
    latents = method.editor.backbone.encode([request.image])
    mask: np.ndarray = pipeline.generate_mask(
        latents, CAPTIONS.edited, source_prompt=CAPTIONS.input, num_maps_per_mask=method.noises,
        mask_encode_strength=method.strength, mask_thresholding_ratio=method.clamp, num_inference_steps=STEPS,
        guidance_scale=SCALE, generator=generator(request, Stage.MASK),
    )  # fmt: skip
    return mask[0]


@pytest.mark.parametrize("seed", [0, 1, 2])
@torch.no_grad()
def test_the_mask_is_that_of_diffusers(pipeline: Any, method: DiffEdit, seed: int) -> None:
    request = request_of(seed)
    difference, is_computed = method.difference(request, CAPTIONS)
    ours = binarise(difference, 0.5, method.clamp, is_rescaled=False)
    theirs = their_mask(pipeline, method, request)
    assert 0 < ours.sum() < ours.size
    np.testing.assert_array_equal(ours, theirs.astype(bool))
    assert is_computed


@torch.no_grad()
def test_the_inverted_latents_are_those_of_diffusers(pipeline: Any, method: DiffEdit) -> None:
    backbone, request = method.editor.backbone, request_of(0)
    trajectory, _ = backbone.invert([request.image], [CAPTIONS.input], STEPS, SCALE)
    # The pipeline's latents are ordered from the noisiest to the first level, up to the level of the strength.
    theirs = pipeline.invert(
        CAPTIONS.input, backbone.encode([request.image]), num_inference_steps=STEPS, inpaint_strength=RATIO,
        guidance_scale=SCALE,
    ).latents  # fmt: skip
    levels = int(STEPS * RATIO)
    torch.testing.assert_close(trajectory[1 : levels + 1, 0].flip(0), theirs[0], rtol=TOLERANCE, atol=TOLERANCE)


@torch.no_grad()
def test_the_edit_is_that_of_diffusers(pipeline: Any, method: DiffEdit) -> None:
    request = request_of(1)
    (ours,) = method.edit([request])
    assert isinstance(ours, EditResult)
    theirs = pipeline(
        CAPTIONS.edited, their_mask(pipeline, method, request)[None],
        pipeline.invert(
            CAPTIONS.input, method.editor.backbone.encode([request.image]), num_inference_steps=STEPS,
            inpaint_strength=RATIO, guidance_scale=SCALE,
        ).latents,
        inpaint_strength=RATIO, num_inference_steps=STEPS, guidance_scale=SCALE, output_type="np",
    ).images[0]  # fmt: skip
    # Decoded pictures; ours are rounded to 8 bits.
    assert np.abs(np.asarray(ours.image) / 255 - theirs).max() <= 0.5 / 255 + TOLERANCE


@torch.no_grad()
def test_the_edited_latents_are_those_of_diffusers(
    pipeline: Any, method: DiffEdit, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, decoded = request_of(2), list[torch.Tensor]()
    decode = method.editor.backbone.decode

    def keep(latents: torch.Tensor) -> torch.Tensor:
        decoded.append(latents)
        return decode(latents)

    monkeypatch.setattr(method.editor.backbone, "decode", keep)
    method.edit([request])
    inverted = pipeline.invert(
        CAPTIONS.input, method.editor.backbone.encode([request.image]), num_inference_steps=STEPS,
        inpaint_strength=RATIO, guidance_scale=SCALE,
    ).latents  # fmt: skip
    theirs = pipeline(
        CAPTIONS.edited, their_mask(pipeline, method, request)[None], inverted, inpaint_strength=RATIO,
        num_inference_steps=STEPS, guidance_scale=SCALE, output_type="latent",
    ).images  # fmt: skip
    torch.testing.assert_close(decoded[0], theirs, rtol=TOLERANCE, atol=TOLERANCE)
