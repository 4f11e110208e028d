"""Edits with ground truth: a scene, a wish about it, and the scene after a perfect edit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool

from data.picturebook.phrases import Reference, Wish, part_phrase, plural, references
from data.picturebook.world import (
    ANIMALS,
    COLOURABLE,
    COLOURS,
    FACES,
    FOODS,
    NOUNS,
    THINGS,
    WEARABLES,
    Part,
    Scene,
    Thing,
    mask,
    swap,
)

MIN_MASK = 120
"""Minimum number of visible pixels of the edited object."""
MIN_SEEN = 0.9
"""Minimum visible share of every thing."""
MIN_SIZE_STYLED = 44
"""Minimum side in pixels at which things are recognisable in a painting or a drawing."""
MIN_FACE_DRAWN = 60
"""Minimum side in pixels at which a face is recognisable in a drawing."""
# Parts that are worn in the same place and can replace each other.
_PLACES = (("hat", "crown", "bow"), ("glasses", "sunglasses"), ("scarf",))
# Nouns that can replace each other. Cars and balloons are excluded, as the instruction would have to name a colour.
_FAMILIES = (ANIMALS, FOODS, tuple(n for n in THINGS if n not in COLOURABLE))
_CROSS_FAMILIES = 0.2
# Nouns that are not recognisable in a style: stripes disappear in both, a cat's small mouth in drawings.
_LOST = {"painting": ("zebra",), "drawing": ("zebra", "cat")}


@dataclass(frozen=True)
class Edit:
    """An edit: a scene, the object to edit, and the wish."""

    scene: Scene
    reference: Reference
    wish: Wish

    @property
    def edit(self) -> str:
        """Edit type, one of the paper's four; a new colour is a change."""
        return "change" if self.wish.kind == "recolour" else self.wish.kind

    @property
    def noun(self) -> str:
        """The noun of the edited object."""
        part = self.reference.part
        return part.noun if part else self.scene.things[self.reference.indices[0]].noun

    @property
    def target(self) -> str | None:
        """The noun that the edited region should show; None if nothing new appears."""
        match self.wish.kind:
            case "remove":
                return None
            case "recolour":
                return self.noun
        return _new_noun(self.wish)

    @property
    def edited(self) -> Scene:
        """The scene after a perfect edit."""
        things = self.scene.things
        # In descending order, so that a removal does not change the indices that follow.
        for index in sorted(self.reference.indices, reverse=True):
            things = swap(things, index, self._after(things[index]))
        return replace(self.scene, things=things)

    def _after(self, thing: Thing) -> Thing | None:
        wish, part = self.wish, self.reference.part
        match wish.kind, part:
            case "change", None:
                return replace(thing, noun=_new_noun(wish), colour=None)
            case "recolour", None:
                return replace(thing, colour=wish.new)
            case "add", None:
                return replace(thing, parts=(*thing.parts, worn(wish.new)))
            case "remove", None:
                return None
            case "mix", None:
                return replace(thing, mixed_with=wish.new)
            case "change", Part():
                return _without(thing, part, worn(wish.new))
            case "recolour", Part():
                return _without(thing, part, replace(part, colour=wish.new))
            case "remove", Part():
                return _without(thing, part)
        raise ValueError(f"edit kind {wish.kind!r} of {self.reference.phrase!r} is not drawn")

    def mask(self) -> Bool[np.ndarray, "128 128"]:
        """Return the ground-truth mask: the visible pixels of the referred object before the edit."""
        part = self.reference.part.noun if self.reference.part else None
        masks = [mask(self.scene, index, part) for index in self.reference.indices]
        return np.logical_or.reduce(masks)

    def is_clear(self) -> bool:
        """Return whether every thing is complete and recognisable in both pictures, and the mask is large enough."""
        return all(_is_clear(s) for s in (self.scene, self.edited)) and int(self.mask().sum()) >= MIN_MASK


def edit_of(scene: Scene, wish: Wish) -> Edit:
    """Return the edit of a scene whose referred object the wish names."""
    return Edit(scene, next(r for r in references(scene) if r.phrase == wish.reference), wish)


def _without(thing: Thing, part: Part, *instead: Part) -> Thing:
    at = thing.parts.index(part)
    return replace(thing, parts=(*thing.parts[:at], *instead, *thing.parts[at + 1 :]))


def worn(phrase: str) -> Part:
    """Return the part that a phrase such as "hat" or "red scarf" names."""
    *colour, noun = phrase.split()
    return Part(noun, colour[0] if colour else "red" if noun in COLOURABLE else None)


def possible(rng: np.random.Generator, scene: Scene, kind: str) -> Iterator[Edit]:
    """Yield the sensible edits of one kind in a scene: at most one per unambiguous reference, in random order."""
    candidates = references(scene)
    for at in rng.permutation(len(candidates)):
        reference = candidates[at]
        new = _something_new(rng, scene, reference, kind)
        if new is not None:
            yield Edit(scene, reference, Wish(kind, reference.phrase, new, many=len(reference.indices) > 1))


def _something_new(rng: np.random.Generator, scene: Scene, reference: Reference, kind: str) -> str | None:
    """Return the new noun or colour of a wish; None if the object does not allow this kind of edit."""
    thing, part, many = scene.things[reference.indices[0]], reference.part, len(reference.indices) > 1
    present = {t.noun for t in scene.things}
    match kind:
        case "change" if part:
            place = next(p for p in _PLACES if part.noun in p)
            return _any(rng, [noun for noun in place if noun != part.noun])
        # Balloons are excluded, because any replacement would float in the air. Of several things, one may wear parts
        # that the new noun cannot wear.
        case "change" if thing.noun != "balloon" and not any(scene.things[i].parts for i in reference.indices):
            family = next((f for f in _FAMILIES if thing.noun in f), _FAMILIES[-1])
            if rng.random() < _CROSS_FAMILIES:
                family = tuple(noun for f in _FAMILIES for noun in f)
            noun = _any(rng, [n for n in family if n not in present])
            return plural(noun) if noun and many else noun
        case "recolour" if not many:
            colour = part.colour if part else thing.colour
            taken = {t.colour for t in scene.things} | {colour}
            return _any(rng, [c for c in COLOURS if c not in taken]) if colour else None
        case "add" if not part and not many and thing.noun in FACES:
            places = [p for p in _PLACES if not any(q.noun in p for q in thing.parts)]
            noun = _any(rng, [n for p in places for n in p])
            # Without a colour, the reference edit of a scarf would be ambiguous.
            return part_phrase(Part(noun, _any(rng, COLOURS) if noun in COLOURABLE else None)) if noun else None
        case "remove" if not part or part.noun in _PLACES[0]:
            return ""
        case "mix" if not part and not many and not thing.parts and thing.noun in ANIMALS:
            # A mix of a face and a profile is not recognisable.
            kin = FACES if thing.noun in FACES else tuple(n for n in ANIMALS if n not in FACES)
            return _any(rng, [n for n in kin if n not in present])
    return None


def _any(rng: np.random.Generator, words: Sequence[str]) -> str | None:
    return str(rng.choice(words)) if words else None


def _new_noun(wish: Wish) -> str:
    last = wish.new.split()[-1]
    return next(n for n in (*NOUNS, *WEARABLES) if last == (plural(n) if wish.many else n))


def _is_clear(scene: Scene) -> bool:
    for index, thing in enumerate(scene.things):
        if not _keeps_its_look(thing, scene.style) or not _stands_out(thing, scene.background):
            return False
        whole = mask(replace(scene, things=(thing,)), 0)
        cut = whole[[0, -1]].any() or whole[:, [0, -1]].any()
        if cut or mask(scene, index).sum() < MIN_SEEN * whole.sum():
            return False
    return True


def _keeps_its_look(thing: Thing, style: str) -> bool:
    if style == "photo":
        return True
    if thing.size < MIN_SIZE_STYLED or thing.noun in _LOST[style]:
        return False
    wears_glasses = any(part.noun in ("glasses", "sunglasses") for part in thing.parts)
    # Drawn glasses have too many lines to be recognisable.
    return style != "drawing" or not (wears_glasses or (thing.noun in FACES and thing.size < MIN_FACE_DRAWN))


def _stands_out(thing: Thing, background: str) -> bool:
    nouns = {part.noun for part in thing.parts}
    if "white" in (thing.colour, *(part.colour for part in thing.parts)):
        # White is not visible on snow, and a white balloon may merge with the sun or the moon.
        if background == "snow" or (thing.noun == "balloon" and background != "grass"):
            return False
    if background == "night" and "hat" in nouns:
        return False
    # Brown frames are not visible on brown fur.
    return not (thing.noun == "bear" and "glasses" in nouns)
