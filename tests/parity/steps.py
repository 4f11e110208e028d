"""What a sampler of ours does at each step."""

from typing import Any

import pytest
import torch

from instructedit.latent_diffusion import LatentDiffusion


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
