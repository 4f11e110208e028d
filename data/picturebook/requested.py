"""Edits that the language model shall understand: a wish with its colours and worn things, and the right answer."""

from dataclasses import dataclass, replace

import numpy as np

from data.picturebook.descriptions import meant
from data.picturebook.edits import Edit
from data.picturebook.phrases import (
    GROUPS,
    IT,
    Answer,
    Wish,
    article,
    bare,
    describe,
    part_phrase,
    plural,
    sample_wish,
    thing_phrase,
)
from data.picturebook.referring import one_of
from data.picturebook.world import COLOURABLE, COLOURS, FACES, NOUNS, WEARABLES, Part, Scene, Thing


@dataclass(frozen=True)
class Request:
    """A wish with what goes beyond :class:`Wish`: a colour and worn things of what comes."""

    wish: Wish
    colour: str = ""
    parts: tuple[Part, ...] = ()
    owner: str | None = None
    """The animal that wears what is edited, if it is known."""

    def answer(self) -> Answer:
        """Return the right answer where nothing is said of the picture."""
        wish, plain = self.wish, self.wish.answer()
        if wish.many and wish.kind == "recolour":
            return Answer(wish.reference, f"photo of {wish.reference}", f"photo of {wish.new} {wish.reference}")
        if wish.many and wish.kind == "add":
            return Answer(wish.reference, f"photo of {wish.reference}", f"photo of {wish.reference} with {wish.new}")
        if wish.kind == "add" and self.parts:
            phrases = " and ".join(article(p) for p in (wish.new, *map(part_phrase, self.parts)))
            return replace(plain, edited=f"{plain.input} with {phrases}")
        if wish.kind == "change" and (self.colour or self.parts):
            return replace(plain, edited=f"photo of {thing_phrase(Thing(wish.new, 0, 0, 0, self.colour, self.parts))}")
        return plain

    def answer_about(self, described: Scene) -> Answer:
        """Return the right answer about a picture that is described as ``described``."""
        reference = meant(self.wish, described)
        if reference is None:
            return self.answer()
        edit = Edit(described, reference, replace(self.wish, reference=reference.phrase))
        things = list(edit.edited.things)
        if self.colour or self.parts:
            for i in reference.indices:
                parts = (*things[i].parts, *(p for p in self.parts if p.noun not in {q.noun for q in things[i].parts}))
                things[i] = replace(things[i], colour=self.colour or things[i].colour, parts=parts)
        before, after = describe(described), describe(replace(edit.edited, things=tuple(things)))
        return self.answer() if before == after else Answer(reference.phrase, before, after)


def sample_request(rng: np.random.Generator) -> Request:
    """Return any request that can be answered, about no picture in particular."""
    wish, roll = sample_wish(rng), rng.random()
    if wish.kind == "change" and not wish.many and wish.new in NOUNS:
        is_coloured = bare(wish.reference).split()[-1] in COLOURABLE
        return extended(rng, Request(wish)) if roll < (0.7 if is_coloured else 0.42) else Request(_vague(rng, wish))
    if wish.kind == "add":
        if roll < 0.07:
            noun = plural(one_of(rng, FACES))
            return Request(
                Wish("add", noun, one_of(rng, ("hats", "crowns", "bows", "glasses", "sunglasses")), many=True)
            )
        if roll < 0.35:
            return Request(wish, parts=_worn(rng, wish.new.split()[-1]))
    if wish.kind == "recolour":
        if roll < 0.12:
            noun = plural(one_of(rng, ("car", "balloon")))
            return Request(Wish("recolour", noun, wish.new, many=True))
        if roll < 0.3:
            return Request(replace(wish, reference=one_of(rng, NOUNS)))
        if roll < 0.36 and not wish.reference.startswith(COLOURS):
            return Request(
                replace(wish, reference=f"{one_of(rng, [c for c in COLOURS if c != wish.new])} {bare(wish.reference)}")
            )
    return Request(_vague(rng, wish))


def _vague(rng: np.random.Generator, wish: Wish) -> Wish:
    noun = wish.reference.split()[-1]
    if wish.many or noun in WEARABLES or rng.random() >= 0.09:
        return wish
    # Without a description, nobody knows what "the animal" is, and the segmentation prompt says so.
    groups = [group for group, known in GROUPS.items() if noun in known]
    return replace(wish, reference=one_of(rng, [IT, *groups]))


def _worn(rng: np.random.Generator, than: str = "") -> tuple[Part, ...]:
    noun = one_of(rng, [w for w in WEARABLES if w != than])
    return (Part(noun, one_of(rng, COLOURS) if noun in COLOURABLE and rng.random() < 0.5 else None),)


def extended(rng: np.random.Generator, request: Request) -> Request:
    """The change with a colour, or with something to wear, for what comes."""
    if rng.random() < 0.45:
        nouns = ("car", "balloon") if rng.random() < 0.6 else NOUNS
        noun = one_of(rng, [n for n in nouns if n not in request.wish.reference.split()] or ["car"])
        return replace(request, wish=replace(request.wish, new=noun), colour=one_of(rng, COLOURS))
    faces = [n for n in FACES if n not in request.wish.reference.split()]
    parts = _worn(rng)
    if rng.random() < 0.15:
        parts += _worn(rng, parts[0].noun)
    return replace(request, wish=replace(request.wish, new=one_of(rng, faces)), parts=parts)
