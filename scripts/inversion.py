"""Measure the reconstruction error of DDIM inversion followed by unguided sampling, by the number of steps T.

python -m scripts.inversion
"""

import json
import sys
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from rich.console import Console
from rich.table import Table

from eval.benchmarks.base import configured
from instructedit import diffusion
from instructedit.images import load_image
from instructedit.latent_diffusion import LatentDiffusion
from instructedit.models import Context
from scripts.app import CONF, OK

STEPS = (10, 25, 50, 100, 200)
COUNT = 8


@torch.no_grad()
def main() -> int:
    """Print the mean of ||z' - z|| / ||z|| over the first samples of the picturebook benchmark."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config")
    backbone = LatentDiffusion(Context.create(None), instantiate(config.models.diffusion))
    samples = configured(config.benchmark, Path(config.results), COUNT).samples
    latents = backbone.encode([load_image(s.image) for s in samples])
    captions = [s.captions.input if s.captions else "" for s in samples]
    predict = diffusion.conditional(backbone.unet, backbone.scheduler, backbone.embed(captions))
    table, errors = Table("T", "relative error of the latents"), {}
    for steps in STEPS:
        schedule = diffusion.make_schedule(backbone.scheduler, steps)
        result = diffusion.sample(predict, diffusion.invert(predict, latents, schedule)[-1], schedule)
        errors[steps] = ((result - latents).flatten(1).norm(dim=1) / latents.flatten(1).norm(dim=1)).mean().item()
        table.add_row(str(steps), f"{errors[steps]:.4f}")
    Console().print(table)
    print(json.dumps(errors))
    return OK


if __name__ == "__main__":
    sys.exit(main())
