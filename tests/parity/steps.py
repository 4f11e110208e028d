"""Pipelines of diffusers with our models, and the latents of our samplers at each step."""

from typing import Any

import pytest
import torch

from instructedit.latent_diffusion import LatentDiffusion
from tests import tiny


def pipeline_of(kind: Any, backbone: LatentDiffusion, scheduler: Any, **others: Any) -> Any:
    """Return a pipeline of diffusers with the models of ``backbone``."""
    made = kind(
        vae=backbone.vae,
        text_encoder=backbone._part(tiny.CLIPTextModel, "text_encoder"),
        tokenizer=tiny.clip_tokenizer(),
        unet=backbone.unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        **others,
    )
    made.set_progress_bar_config(disable=True)
    return made


def recorded_steps(backbone: LatentDiffusion, monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The latents after each step of the first sampler that ``backbone`` makes, as they come."""
    steps: list[torch.Tensor] = []
    make = backbone.sampler

    def recording(name: str, count: int) -> Any:
        made = make(name, count)
        step = made.step

        def kept(*args: Any, **kwargs: Any) -> Any:
            out = step(*args, **kwargs)
            steps.append(out.prev_sample)
            return out

        made.step = kept
        monkeypatch.undo()
        return made

    monkeypatch.setattr(backbone, "sampler", recording)
    return steps
