"""BLIP-2's two questions with tiny random models: decoder-only and encoder-decoder."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import Blip2ForConditionalGeneration, Blip2Processor

from instructedit.cache import StageCache
from instructedit.captioner import QUESTION, Blip2Captioner, answer, two_questions
from instructedit.models import Checkpoint, Context, ModelPool
from instructedit.types import ConfigError, StageError
from tests import tiny

KINDS = ("opt", "t5")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("blip2")
    return {kind: tiny.save_blip2(root / kind, encoder_decoder=kind == "t5") for kind in KINDS}


def context(cache: Path) -> Context:
    return Context(ModelPool(), StageCache(cache), torch.device("cpu"))


def asking(*answers: str) -> tuple[list[str], Any]:
    asked: list[str] = []
    said = iter(answers)

    def ask(question: str) -> str:
        asked.append(question)
        return next(said)

    return asked, ask


def test_the_papers_two_questions() -> None:
    asked, ask = asking("Photo", "a dog and a cat")
    assert two_questions(ask) == ("Photo", "Photo of a dog and a cat")
    assert asked == ["Is this a photo, a painting, or another kind of art?", "Photo of"]


def test_answers_are_put_on_one_line_without_their_full_stop() -> None:
    asked, ask = asking(" a painting.\n", "a painting of  a girl\nwith a pearl earring ")
    assert two_questions(ask) == ("a painting", "a painting of a girl with a pearl earring")
    assert asked[1] == "a painting of"


@pytest.mark.parametrize(("answers", "problem"), [(("",), "no answer"), (("photo", " "), "nothing follows")])
def test_an_empty_answer_fails_the_sample(answers: tuple[str, ...], problem: str) -> None:
    with pytest.raises(StageError, match=problem) as error:
        two_questions(asking(*answers)[1])
    assert error.value.stage == "captioner"


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_is_the_likeliest_next_word_each_time(folders: dict[str, Path], kind: str) -> None:
    model = Blip2ForConditionalGeneration.from_pretrained(folders[kind]).eval()
    processor = Blip2Processor.from_pretrained(folders[kind])
    found = set()
    for seed in range(4):
        image = tiny.picture(seed)
        said = answer(model, processor, image, "photo of", max_new_tokens=5)
        assert said == _greedy(model, processor, image, "photo of", 5)
        found.add(said)
    # The answer depends on the picture and is not empty.
    assert len(found) > 1


@torch.no_grad()
def _greedy(model: Any, processor: Any, image: Image.Image, question: str, most: int) -> str:
    """Word by word, from the logits of whole forward passes."""
    inputs = processor(images=image, text=question, return_tensors="pt")
    is_t5 = model.config.text_config.is_encoder_decoder
    ids, new = inputs.input_ids, []
    spoken = torch.tensor([[model.config.text_config.decoder_start_token_id]]) if is_t5 else None
    for _ in range(most):
        if spoken is not None:
            logits = model(pixel_values=inputs.pixel_values, input_ids=ids, decoder_input_ids=spoken).logits
        else:
            mask = torch.ones_like(ids)
            logits = model(pixel_values=inputs.pixel_values, input_ids=ids, attention_mask=mask).logits
        word = logits[:, -1].argmax(-1, keepdim=True)
        if word.item() == processor.tokenizer.eos_token_id:
            break
        new.append(word.item())
        if spoken is not None:
            spoken = torch.cat([spoken, word], 1)
        else:
            ids = torch.cat([ids, word], 1)
    return str(processor.tokenizer.decode(new, skip_special_tokens=True)).strip()


@pytest.mark.parametrize("kind", KINDS)
def test_descriptions_are_kept(folders: dict[str, Path], kind: str, tmp_path: Path) -> None:
    shutil.copytree(folders[kind], tmp_path / "model")
    checkpoint = Checkpoint(str(tmp_path / "model"))
    images = [tiny.picture(seed) for seed in range(4)]
    # With random weights, the answer to the paper's question is empty.
    question = "photo of"
    first = Blip2Captioner(context(tmp_path / "cache"), checkpoint, question, 4).describe(images)
    described = [said for said in first if isinstance(said, str)]
    assert described
    assert all(" of " in said for said in described)
    # Cached answers load no model; a failure is repeated.
    known = [image for image, said in zip(images, first, strict=True) if isinstance(said, str)]
    again = context(tmp_path / "cache")
    assert Blip2Captioner(again, checkpoint, question, 4).describe(known) == described
    assert len(again.pool) == 0
    other = Blip2Captioner(again, checkpoint, "is this a dog ?", 4)
    other.describe(known[:1])
    assert len(again.pool) == 2


def test_alone_or_among_others_an_image_is_described_the_same(folders: dict[str, Path], tmp_path: Path) -> None:
    images = [tiny.picture(seed) for seed in range(3)]
    together = Blip2Captioner(context(tmp_path / "a"), Checkpoint(str(folders["opt"]))).describe(images)
    for image, said in zip(images, together, strict=True):
        (alone,) = Blip2Captioner(context(tmp_path / "b"), Checkpoint(str(folders["opt"]))).describe([image])
        assert str(alone) == str(said)


def test_a_processor_without_the_number_of_queries_takes_the_models(folders: dict[str, Path], tmp_path: Path) -> None:
    old = shutil.copytree(folders["opt"], tmp_path / "old")
    tokenizer = Blip2Processor.from_pretrained(old).tokenizer
    Blip2Processor(Blip2Processor.from_pretrained(old).image_processor, tokenizer).save_pretrained(old)
    images = [tiny.picture(seed) for seed in range(2)]
    found = Blip2Captioner(context(tmp_path / "a"), Checkpoint(str(old))).describe(images)
    expected = Blip2Captioner(context(tmp_path / "b"), Checkpoint(str(folders["opt"]))).describe(images)
    assert list(map(str, found)) == list(map(str, expected))


def test_most_tokens_are_checked(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"captioner\.max_new_tokens=0"):
        Blip2Captioner(context(tmp_path), Checkpoint(str(folders["opt"])), max_new_tokens=0)
    assert QUESTION.endswith("another kind of art?")
