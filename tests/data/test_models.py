"""The shipped models are consistent: all UNets use the same autoencoder and captions, and each model has a card."""

import json
from pathlib import Path

import pytest

MODELS = Path(__file__).resolve().parents[2] / "data" / "picturebook" / "models"
CHANNELS = {"diffusion": 4, "instruct_pix2pix": 8, "inpainting": 9}


@pytest.mark.parametrize("name", CHANNELS)
def test_each_unet_has_the_channels_of_its_method_and_the_same_latents(name: str) -> None:
    config = json.loads((MODELS / name / "unet" / "config.json").read_text())
    assert (config["in_channels"], config["out_channels"]) == (CHANNELS[name], 4)
    # All UNets were trained on the latents of one autoencoder.
    weights = MODELS / name / "vae" / "diffusion_pytorch_model.safetensors"
    assert weights.read_bytes() == (MODELS / "diffusion" / "vae" / weights.name).read_bytes()


def test_inpainting_reads_captions_as_the_text_to_image_model() -> None:
    parts = [
        (MODELS / name / "text_encoder" / "model.safetensors").read_bytes() for name in ("diffusion", "inpainting")
    ]
    assert parts[0] == parts[1]
    words = [(MODELS / name / "tokenizer" / "tokenizer.json").read_bytes() for name in ("diffusion", "inpainting")]
    assert words[0] == words[1]


def test_the_pack_stays_small_and_every_trained_model_says_what_it_reached() -> None:
    sizes = [path.stat().st_size for path in MODELS.rglob("*") if path.is_file()]
    assert max(sizes) <= 16e6
    assert sum(sizes) <= 100e6
    cards = {path.parent for path in MODELS.rglob("card.json")}
    for weights in MODELS.rglob("*.safetensors"):
        folder = weights.parent
        # Parts of another model have their card in that model's folder.
        is_copy = folder.parent.name in ("instruct_pix2pix", "inpainting") and folder.name != "unet"
        assert is_copy or folder.name == "text_encoder" or folder in cards, folder
    for card in cards:
        assert (card / "README.md").is_file()
