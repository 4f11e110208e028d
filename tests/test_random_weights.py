"""``models=sd15_random``: the architectures have the published numbers of parameters; no weights are loaded."""

from pathlib import Path

import pytest
import torch
from torch import nn

from data.picturebook.training.tokenizers import clip_tokenizer
from instructedit.hub import FetchError
from scripts import random_weights
from tests import hub_cache

PUBLISHED = {
    "unet": 859_520_964,
    "unet of 8 channels": 859_532_484,
    "unet of 9 channels": 859_535_364,
    "vae": 83_653_863,
    "text_encoder": 123_060_480,
    "grounding_dino": 172_249_090,
    "sam": 641_090_864,
}


@pytest.fixture(scope="module")
def built() -> dict[str, nn.Module]:
    with torch.device("meta"):  # no memory is taken
        return {
            "unet": random_weights.unet(),
            "unet of 8 channels": random_weights.unet(8),
            "unet of 9 channels": random_weights.unet(9),
            "vae": random_weights.vae(),
            "text_encoder": random_weights.text_encoder(clip_tokenizer()),
            "grounding_dino": random_weights.grounding_dino(),
            "sam": random_weights.sam(),
        }


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_is_as_large_as_the_published_one(built: dict[str, nn.Module], name: str) -> None:
    # transformers 5 builds a last normalisation into every Swin, which Grounding DINO does not have and never uses.
    counted = [p.numel() for k, p in built[name].named_parameters() if "swin.layernorm" not in k]
    assert sum(counted) == PUBLISHED[name]


def test_every_source_of_the_preset_is_an_architecture() -> None:
    sources = {c.source for c in hub_cache.preset("models=sd15_random").values() if c.source}
    assert sources == {f"random:{name}" for name in random_weights.ARCHITECTURES}


def test_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="random:sd3: architectures are stable_diffusion"):
        random_weights.build("sd3", tmp_path / "sd3")


def test_what_is_built_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(folder: Path) -> None:
        random_weights._save(nn_model(), folder / "vae")
        raise KeyboardInterrupt

    monkeypatch.setattr(random_weights, "ARCHITECTURES", {"it": interrupted})
    with pytest.raises(KeyboardInterrupt):
        random_weights.build("it", tmp_path / "it")
    assert list(tmp_path.iterdir()) == []


def nn_model() -> nn.Module:
    from tests import tiny

    return tiny.vae()
