"""The shipped models are consistent: all UNets predict the autoencoder's latents, and each model has a card."""

import json
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from data.picturebook import detections
from data.picturebook.judge import shipped
from instructedit.cache import StageCache
from instructedit.models import Context, ModelPool
from instructedit.segmenter.grounded_sam import GroundingDino

MODELS = Path(__file__).resolve().parents[2] / "data" / "picturebook" / "models"
# Input channels in latents: the noisy latents, and those of the input, or of the masked input with its mask.
CHANNELS = {"diffusion": (1, 0), "instruct_pix2pix": (2, 0), "inpainting": (2, 1)}


@pytest.mark.parametrize("name", CHANNELS)
def test_each_unet_has_the_channels_of_its_method(name: str) -> None:
    latents = json.loads((MODELS / "diffusion" / "vae" / "config.json").read_text())["latent_channels"]
    config = json.loads((MODELS / name / "unet" / "config.json").read_text())
    times, mask = CHANNELS[name]
    assert (config["in_channels"], config["out_channels"]) == (times * latents + mask, latents)


def test_the_shared_parts_are_stored_once() -> None:
    """All UNets use one autoencoder, and inpainting reads captions as the text-to-image model does."""
    preset = OmegaConf.load(MODELS.parents[2] / "conf" / "models" / "picturebook.yaml")
    assert preset.instruct_pix2pix.base == preset.inpainting.base == preset.diffusion.id
    stored = {name: {path.name for path in (MODELS / name).iterdir()} for name in CHANNELS}
    assert "vae" not in stored["instruct_pix2pix"]
    assert stored["inpainting"] == {"unet"}


def test_the_detectors_threshold_is_the_best_of_those_tried_on_held_out_scenes() -> None:
    """On the first 60 of the 700 questions of ``python -m scripts.judge detector``."""
    context = Context(ModelPool(), StageCache(None), torch.device("cpu"))
    rows = detections.kept(GroundingDino(context, shipped("grounding_dino")), count=60)
    assert [row.without_box for row in rows] == sorted(row.without_box for row in rows)
    preset = OmegaConf.load(MODELS.parents[2] / "conf" / "models" / "picturebook.yaml")
    best = max(rows, key=lambda row: row.iou)
    assert best.iou > 0.75
    assert {row.threshold: row for row in rows}[preset.box_threshold].iou > best.iou - 0.02


def test_the_pack_stays_small_and_every_trained_model_says_what_it_reached() -> None:
    sizes = [path.stat().st_size for path in MODELS.rglob("*") if path.is_file()]
    assert max(sizes) <= 16e6
    assert sum(sizes) <= 100e6
    cards = {path.parent for path in MODELS.rglob("card.json")}
    for weights in MODELS.rglob("*.safetensors"):
        folder = weights.parent
        # A text encoder is trained with its UNet and has no card of its own.
        assert folder.name == "text_encoder" or folder in cards, folder
    for card in cards:
        assert (card / "README.md").is_file()
