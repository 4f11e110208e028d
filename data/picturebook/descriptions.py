"""Correct answers of the language processor to an instruction with a description of the picture (paper §3.2).

The captions follow the description, and "it" refers to the described object. A description that does not contain the
object of the instruction is ignored.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from data.picturebook.edits import Edit, possible
from data.picturebook.phrases import (
    GROUPS,
    IT,
    TEMPLATES,
    Answer,
    Reference,
    Wish,
    bare,
    describe,
    plural,
    sample_wish,
    templates,
    unnamed,
)
from data.picturebook.world import ANIMALS, COLOURS, NOUNS, WEARABLES, Scene, Thing, sample_parts, sample_scene, swap

# Shares of the language model's training samples.
_VAGUE = 0.08
_MISTAKEN = 0.25
_UNRELATED = 0.08


@dataclass(frozen=True)
class Exchange:
    """An instruction, a description of the picture, and the correct answer."""

    instruction: str
    description: str | None
    answer: Answer


def answer(wish: Wish, described: Scene) -> Answer:
    """Return the correct answer to a wish about a picture with the description of ``described``.

    The captions are the descriptions before and after the edit. If only the picture tells which of two objects of one
    noun is meant ("bigger"), the captions do not depend on it, and the first is taken.
    """
    reference = meant(wish, described)
    if reference is None:
        return wish.answer()
    edit = Edit(described, reference, replace(wish, reference=reference.phrase))
    before, after = describe(described), describe(edit.edited)
    # A description that shows the wish come true already is mistaken, and is left aside.
    return wish.answer() if before == after else Answer(reference.phrase, before, after)


def meant(wish: Wish, described: Scene) -> Reference | None:
    """Return the described object that a wish refers to; None if there is none."""
    things, phrase = described.things, wish.reference
    if phrase == IT or phrase in GROUPS:
        at = [i for i, t in enumerate(things) if phrase == IT or t.noun in GROUPS[phrase]]
        only = things[at[0]] if len(at) == 1 else None
        # A mix has no noun, and only objects that have a colour can be recoloured.
        if only is None or only.mixed_with or (wish.kind == "recolour" and not only.colour):
            return None
        return Reference(only.noun, (at[0],))
    *colour, noun = bare(phrase).split()
    if noun in WEARABLES:
        for index, thing in enumerate(things):
            for part in thing.parts:
                if part.noun == noun and (not colour or part.colour == colour[0]):
                    return Reference(phrase, (index,), part)
        return None
    alike = [i for i, t in enumerate(things) if noun in (t.noun, plural(t.noun)) and not t.mixed_with]
    if colour:
        alike = [i for i in alike if things[i].colour == colour[0]]
    if not alike:
        return None
    if wish.many:
        return Reference(phrase, tuple(alike))
    return Reference(phrase, (_placed(phrase, alike),))


def _placed(phrase: str, alike: Sequence[int]) -> int:
    if phrase.endswith("on the right"):
        return alike[-1]
    return alike[len(alike) // 2] if phrase.endswith("in the middle") else alike[0]


def sample_exchange(rng: np.random.Generator, *, held_out: bool = False) -> Exchange:
    """Sample an instruction with its correct answer; half of them have a description like a captioner's.

    Args:
        rng: Random generator.
        held_out: Whether to use the paraphrases on which no model is trained.
    """
    if rng.random() < 0.5:
        wish, described = sample_wish(rng), None
        vague = IT if not wish.many and wish.reference.split()[-1] not in WEARABLES and rng.random() < _VAGUE else None
    else:
        scene, wish = wish_about_a_picture(rng)
        described = as_described(rng, scene)
        vague = unnamed(wish.reference, [t.noun for t in scene.things]) if rng.random() < 0.5 else None
    wish = replace(wish, reference=vague or wish.reference)
    words = wish.words(str(rng.choice(templates(wish.kind, held_out))), rng)
    if described is None:
        return Exchange(words, None, wish.answer())
    return Exchange(words, describe(described), answer(wish, described))


def wish_about_a_picture(rng: np.random.Generator) -> tuple[Scene, Wish]:
    while True:
        scene, kind = sample_scene(rng), str(rng.choice(list(TEMPLATES)))
        nouns = [t.noun for t in scene.things]
        if kind == "change" and any(t.parts for t in scene.things) and len(nouns) == 1:
            # The benchmarks exclude this wish, because the worn parts may not fit the new animal, but users make it.
            return scene, Wish(kind, nouns[0], str(rng.choice([n for n in ANIMALS if n != nouns[0]])))
        for edit in possible(rng, scene, kind):
            return scene, edit.wish


def as_described(rng: np.random.Generator, scene: Scene) -> Scene:
    """Return a scene as a captioner might describe it: mostly correct, sometimes with a mistake, rarely unrelated."""
    roll = rng.random()
    if roll < _UNRELATED:
        return sample_scene(rng)
    if roll > _UNRELATED + _MISTAKEN:
        return scene
    at = int(rng.integers(len(scene.things)))
    thing = scene.things[at]
    mistakes: list[Thing | None] = [replace(thing, noun=str(rng.choice(NOUNS)), colour=None, parts=())]
    if thing.colour:
        mistakes.append(replace(thing, colour=str(rng.choice(COLOURS))))
    if thing.parts:
        mistakes += [replace(thing, parts=thing.parts[1:]), replace(thing, parts=sample_parts(rng, 1))]
    if len(scene.things) > 1:
        mistakes.append(None)
    return replace(scene, things=swap(scene.things, at, mistakes[int(rng.integers(len(mistakes)))]))
