"""What the bench measures: equal edits beside diffusers' pipeline, FLOPs by hand, a stage's seconds."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from baselines.diffedit import DiffEdit
from eval.speed.edits import Stopwatch, share_of_peak
from eval.speed.peer import Work
from instructedit.cache import StageCache
from instructedit.images import load_image
from instructedit.latent_diffusion import LatentDiffusion
from instructedit.models import Checkpoint, Context, ModelPool
from instructedit.types import Captions, EditRequest, EditResult
from tests import tiny

CAPTIONS = Captions("photo of a cat", "photo of a lion")


@pytest.fixture(scope="module", params=["save_diffusion", "save_diffusion_dc"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return Checkpoint(str(getattr(tiny, request.param)(tmp_path_factory.mktemp("diffusion"))))


@pytest.fixture
def context() -> Context:
    return Context(ModelPool(), StageCache(None), torch.device("cpu"))


def test_the_peer_makes_the_same_edit(tmp_path: Path, checkpoint: Checkpoint, context: Context) -> None:
    """At a theta other than the pipeline's own, which the peer reaches through the clamp."""
    size = LatentDiffusion(context, checkpoint).sample_size
    tiny.picture(1, (size, size)).save(tmp_path / "one.png")
    sample = {"id": "one", "image": str(tmp_path / "one.png"), "input": CAPTIONS.input, "edited": CAPTIONS.edited}
    work = Work(checkpoint.id, "float32", [sample], [(0.5, 0.4)], str(tmp_path)).save(tmp_path / "work.json")
    subprocess.run([sys.executable, "-m", "eval.speed.peer", str(work)], check=True, capture_output=True)
    request = EditRequest("one", load_image(tmp_path / "one.png"), "", CAPTIONS)
    (ours,) = DiffEdit(context, checkpoint, 0.5, theta=0.4, variant="diffusers").edit([request])
    assert isinstance(ours, EditResult)
    with Image.open(tmp_path / "0.5_0.4_one.png") as theirs:
        difference = np.abs(np.asarray(ours.image, dtype=int) - np.asarray(theirs, dtype=int))
    assert difference.max() <= 1
    assert np.abs(np.asarray(ours.image, dtype=int) - np.asarray(request.image, dtype=int)).max() > 1


def test_flops_are_those_of_the_batch(checkpoint: Checkpoint, context: Context) -> None:
    backbone = LatentDiffusion(context, checkpoint)
    one, four = (share_of_peak(backbone, rows) for rows in (1, 4))
    assert one["gflops_per_evaluation"] == pytest.approx(four["gflops_per_evaluation"])
    first = backbone.unet.conv_in  # its multiplications and additions alone are a lower bound
    size = int(backbone.unet.config["sample_size"])
    assert one["gflops_per_evaluation"] * 1e9 > 2 * first.weight.numel() * size**2
    assert 0 < one["share"] < 1


def test_a_stopwatch_adds_up() -> None:
    watch = Stopwatch(torch.device("cpu"))
    for _ in range(2):
        with watch.time("sleep"):
            time.sleep(0.05)
    assert 0.1 <= watch.seconds["sleep"] < 5
