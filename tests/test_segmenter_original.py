"""The original packages: the patch of groundingdino-py, the conversion of .pth files, and refused files."""

import argparse
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from groundingdino.models.GroundingDINO import groundingdino as network
from groundingdino.util import get_tokenlizer
from hydra.core.global_hydra import GlobalHydra
from safetensors.torch import load_file
from segment_anything import sam_model_registry
from transformers import BertConfig, BertModel

from instructedit.cache import StageCache
from instructedit.models import Checkpoint, Context, ModelPool
from instructedit.segmenter.original import (
    OriginalGroundingDino,
    OriginalSam,
    load_grounding_dino,
    load_sam,
    mended,
)
from instructedit.types import ConfigError
from scripts import run as run_script
from scripts.convert import main as convert
from tests import tiny


@pytest.fixture(scope="module", autouse=True)
def _tiny_sam() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sam_model_registry, "tiny", tiny.original_sam)
        yield


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_grounding_dino_original(tmp_path_factory.mktemp("dino"))


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_sam_original(tmp_path_factory.mktemp("sam"))


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(ModelPool(), StageCache(tmp_path / "cache"), torch.device("cpu"))


def test_the_package_needs_mending_and_is_left_as_it_was() -> None:
    bert = BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8))
    # When this passes, groundingdino-py supports transformers 5, and half of the patch can be removed.
    with pytest.raises(AttributeError, match="get_extended_attention_mask"):
        network.BertModelWarper(bert)
    before = network.BertModelWarper, get_tokenlizer.get_pretrained_language_model
    with mended():
        assert network.BertModelWarper(bert) is bert
    assert before == (network.BertModelWarper, get_tokenlizer.get_pretrained_language_model)


@pytest.mark.filterwarnings("ignore::FutureWarning:groundingdino.*")
def test_phrases_do_not_see_each_other(dino: Path) -> None:
    model = load_grounding_dino(dino)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    text = []
    model.get_submodule("feat_map").register_forward_hook(lambda *args: text.append(args[2]))
    for caption in ("cat . dog .", "cat . scarf ."):
        model(image, captions=[caption])
    torch.testing.assert_close(text[0][:, 1:3], text[1][:, 1:3])
    assert not torch.allclose(text[0][:, 3], text[1][:, 3])


def test_scores_are_cached_before_thresholds_and_no_global_generator_is_drawn_from(
    dino: Path, sam: Path, context: Context, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tiny.picture(1, (128, 96))
    detector = OriginalGroundingDino(context, Checkpoint(str(dino)), 96, 160)
    detector.detect(image, "cat", 0.0, 0.25)
    masker, state = OriginalSam(context, Checkpoint(str(sam))), random.getstate()
    boxes = detector.detect(image, "Cat.", 0.0, 0.25)
    few = detector.detect(image, "cat", sorted(box.score for box in boxes)[2], 0.25)
    assert len(few) == 3
    assert [box for box in boxes if box in few] == few
    for _ in range(2):
        masker.masks(image, few)
    assert random.getstate() == state
    assert (context.cache.misses["boxes"], context.cache.hits["boxes"]) == (1, 2)
    assert (context.cache.misses["masks"], context.cache.hits["masks"]) == (1, 1)
    OriginalGroundingDino(context, Checkpoint(str(dino)), 64, 160).detect(image, "cat", 0.0, 0.25)
    assert context.cache.misses["boxes"] == 2
    assert capsys.readouterr().out == ""


def test_published_files_become_the_same_models(
    dino: Path, sam: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published = {f"module.{name}": value for name, value in load_file(dino / "model.safetensors").items()}
    extra = {"module.label_enc.weight": torch.zeros(2, 2), "module.bert.embeddings.position_ids": torch.arange(4)}
    torch.save({"model": published | extra}, tmp_path / "dino.pth")
    settings = tmp_path / "settings.py"
    settings.write_text("\n".join(f"{name} = {value!r}" for name, value in tiny.ORIGINAL_DINO.items()))
    arguments = [str(tmp_path / "dino.pth"), str(tmp_path / "dino"), "--text_encoder", str(dino / "text_encoder")]
    assert convert(["grounding_dino", *arguments, "--settings", str(settings)]) == 0
    assert json.loads((tmp_path / "dino" / "config.json").read_text()) == tiny.ORIGINAL_DINO
    given, made = load_grounding_dino(dino).state_dict(), load_grounding_dino(tmp_path / "dino").state_dict()
    assert given.keys() == made.keys()
    assert all(torch.equal(given[name], made[name]) for name in given)

    torch.save(load_file(sam / "model.safetensors"), tmp_path / "sam.pth")
    assert convert(["sam", str(tmp_path / "sam.pth"), str(tmp_path / "sam"), "--model_type", "tiny"]) == 0
    given, made = load_sam(sam).state_dict(), load_sam(tmp_path / "sam").state_dict()
    assert all(torch.equal(given[name], made[name]) for name in given)

    # The package's own settings are those of a larger model.
    assert convert(["grounding_dino", *arguments]) == 2
    assert "model.safetensors cannot be loaded" in capsys.readouterr().err


def test_a_pickle_that_is_more_than_weights_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"model": argparse.Namespace(a=1)}, tmp_path / "code.pth")
    assert convert(["sam", str(tmp_path / "code.pth"), str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'code.pth'} is not a file of plain weights")
    assert not (tmp_path / "out").exists()


def test_settings_are_read_and_not_run(dino: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"model": {}}, tmp_path / "dino.pth")
    (tmp_path / "settings.py").write_text(f"a = open({str(tmp_path / 'made')!r}, 'w')")
    arguments = [str(tmp_path / "dino.pth"), str(tmp_path / "out"), "--settings", str(tmp_path / "settings.py")]
    assert convert(["grounding_dino", *arguments, "--text_encoder", str(dino / "text_encoder")]) == 2
    assert "settings.py" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_folders_that_do_not_fit_are_one_line(dino: Path, sam: Path, tmp_path: Path, context: Context) -> None:
    with pytest.raises(ConfigError, match=r"config\.json cannot be read"):
        load_grounding_dino(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(tiny.ORIGINAL_DINO))
    with pytest.raises(ConfigError, match="does not describe a Grounding DINO"):
        load_grounding_dino(tmp_path)  # no text_encoder
    (tmp_path / "config.json").write_text('{"model_type": "vit_z"}')
    with pytest.raises(ConfigError, match="model_type='vit_z'; accepted are default, vit_h, vit_l, vit_b"):
        load_sam(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "tiny"}')
    with pytest.raises(ConfigError, match=r"model\.safetensors cannot be loaded"):
        load_sam(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((dino / "model.safetensors").read_bytes())
    with pytest.raises(ConfigError, match=r"model\.safetensors lacks"):
        load_sam(tmp_path)
    with pytest.raises(ConfigError, match="want float32"):
        OriginalSam(context, Checkpoint(str(sam), dtype="float16"))
    with pytest.raises(ConfigError, match=r"short_side=8: accepted are whole numbers from 32 on"):
        OriginalGroundingDino(context, Checkpoint(str(dino)), short_side=8)


@pytest.mark.parametrize(
    ("choice", "key"),
    [
        ("grounded_sam_original", "models.grounding_dino_original"),
        ("grounded_sam2", "models.sam2"),
        ("mm_grounded_sam", "models.mm_grounding_dino"),
    ],
)
def test_models_without_the_segmenters_checkpoints_are_one_line(
    choice: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    GlobalHydra.instance().clear()
    monkeypatch.setattr(sys, "argv", ["script", f"segmenter={choice}", f"results={tmp_path}"])
    assert run_script.main() == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert f"this segmenter needs {key}, which the chosen models lack" in error[0]
