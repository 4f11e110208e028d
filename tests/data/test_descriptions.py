"""Correct answers to instructions with descriptions, and the paper's Fig. 4 on the shipped models."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.picturebook.descriptions import answer, sample_exchange
from data.picturebook.phrases import Answer, Wish, describe
from data.picturebook.world import Part, Scene, Thing, render
from instructedit.cache import StageCache
from instructedit.captioner import Blip2Captioner
from instructedit.language.build import local
from instructedit.language.parse import Parsed, parse_reply
from instructedit.models import Checkpoint, Context, ModelPool

MODELS = Path(__file__).resolve().parents[2] / "data" / "picturebook" / "models"
DOG_AND_CAT = Scene(1, "photo", "grass", (Thing("dog", 36, 70, 56), Thing("cat", 96, 72, 52)))
PAINTED_DOG = Scene(2, "painting", "sand", (Thing("dog", 64, 66, 84, parts=(Part("hat"),)),))
TWO_CATS = Scene(3, "photo", "snow", (Thing("cat", 34, 70, 60), Thing("cat", 96, 78, 42)))


@pytest.mark.parametrize(
    ("wish", "described", "expected"),
    [
        # Fig. 4, top: the dog is in both captions, although the instruction does not name it.
        (
            Wish("change", "cat", "lion"),
            DOG_AND_CAT,
            Answer("cat", "photo of a dog and a cat on grass", "photo of a dog and a lion on grass"),
        ),
        # Fig. 4, bottom: "it" is the only object of the picture.
        (
            Wish("change", "it", "fox"),
            PAINTED_DOG,
            Answer("dog", "painting of a dog with a hat on sand", "painting of a fox with a hat on sand"),
        ),
        (Wish("change", "it", "fox"), DOG_AND_CAT, Answer("it", "photo of it", "photo of a fox")),
        (
            Wish("change", "cat on the right", "lion"),
            TWO_CATS,
            Answer("cat on the right", "photo of two cats on snow", "photo of a cat and a lion on snow"),
        ),
        (
            Wish("remove", "bigger cat", ""),
            TWO_CATS,
            Answer("bigger cat", "photo of two cats on snow", "photo of a cat on snow"),
        ),
        (
            Wish("change", "cats", "lions", many=True),
            TWO_CATS,
            Answer("cats", "photo of two cats on snow", "photo of two lions on snow"),
        ),
        (
            Wish("change", "hat", "crown"),
            PAINTED_DOG,
            Answer("hat", "painting of a dog with a hat on sand", "painting of a dog with a crown on sand"),
        ),
        # The description does not contain the object of the instruction, so it is ignored.
        (Wish("add", "lion", "bow"), TWO_CATS, Answer("lion", "photo of a lion", "photo of a lion with a bow")),
    ],
)
def test_the_right_answer_follows_the_description(wish: Wish, described: Scene, expected: Answer) -> None:
    assert answer(wish, described) == expected


def test_what_is_taught_can_be_read_and_names_what_is_asked() -> None:
    rng = np.random.default_rng(0)
    described = vague = 0
    for _ in range(500):
        taught = sample_exchange(rng)
        reply = parse_reply(taught.answer.text())
        assert reply.segmentation_prompt == taught.answer.segmentation_prompt
        described += taught.description is not None
        vague += " it " in f" {taught.instruction.lower().strip('.!?')} "
        if taught.description and taught.description.partition(" of ")[0] != "photo":
            style = taught.description.partition(" of ")[0]
            assert taught.answer.input.startswith((style, "photo"))
    assert 200 < described < 300
    assert vague > 20


@pytest.fixture(scope="module")
def context() -> Context:
    return Context(ModelPool(), StageCache(None), torch.device("cpu"))


def parse(context: Context, instruction: str, description: str | None) -> Parsed:
    language = local(context, Checkpoint(str(MODELS / "language_model")), max_new_tokens=96)
    (found,) = language.parse([instruction], [description])
    assert isinstance(found, Parsed)
    return found


def test_the_shipped_captioner_says_what_is_drawn(context: Context) -> None:
    captioner = Blip2Captioner(context, Checkpoint(str(MODELS / "blip2")))
    drawn = [DOG_AND_CAT, PAINTED_DOG, TWO_CATS]
    assert captioner.describe([render(scene) for scene in drawn]) == [describe(scene) for scene in drawn]


def test_an_object_that_the_instruction_does_not_mention(context: Context) -> None:
    alone = parse(context, "Change the cat to a lion", None)
    assert (alone.captions.input, alone.captions.edited) == ("photo of a cat", "photo of a lion")
    told = parse(context, "Change the cat to a lion", describe(DOG_AND_CAT))
    assert told.segmentation_prompt == "cat"
    assert told.captions.input == "photo of a dog and a cat on grass"
    assert told.captions.edited == "photo of a dog and a lion on grass"


def test_an_unclear_it(context: Context) -> None:
    assert parse(context, "Turn it into a fox", None).segmentation_prompt == "it"
    bare = replace(PAINTED_DOG, things=(replace(PAINTED_DOG.things[0], parts=()),))
    told = parse(context, "Turn it into a fox", describe(bare))
    assert told.segmentation_prompt == "dog"
    assert (told.captions.input, told.captions.edited) == ("painting of a dog on sand", "painting of a fox on sand")
