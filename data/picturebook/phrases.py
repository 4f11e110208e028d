"""Picturebook in words: what a scene may be called, how people ask for an edit, and what the right answer is.

Captions follow the paper's template ("Photo of a dog", appendix D.1), in lower case.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from data.picturebook.world import ANIMALS, COLOURABLE, COLOURS, FACES, FOODS, NOUNS, WEARABLES, Part, Scene, Thing

BACKGROUND_CAPTION = "empty background"
"""What is left when something is removed."""
_COUNT = {2: "two", 3: "three"}
_WHERE = {2: ("on the left", "on the right"), 3: ("on the left", "in the middle", "on the right")}
IT = "it"
"""How people refer to the one thing that they see."""
GROUPS = {"animal": ANIMALS, "food": FOODS}
"""Words for any noun of a group; they refer to the only thing of the group in a picture."""


def unnamed(phrase: str, nouns: Sequence[str]) -> str | None:
    """Return how to call a thing without its noun; None if something else could be meant, too.

    The only thing of a picture is "it"; the only one of a group among several things is called by its group.

    Args:
        phrase: The noun, or another reference, for which there is no other name.
        nouns: Of all things in the picture.
    """
    if phrase not in nouns:
        return None
    if len(nouns) == 1:
        return IT
    groups = (group for group, known in GROUPS.items() if phrase in known)
    return next((group for group in groups if sum(noun in GROUPS[group] for noun in nouns) == 1), None)


_NO_ARTICLE = ("glasses", "sunglasses", "food", IT)


def plural(noun: str) -> str:
    irregular = {"fox": "foxes", "strawberry": "strawberries"}
    return irregular.get(noun, noun + "s")


def article(phrase: str) -> str:
    """The phrase with "a" or "an" in front, where English wants one."""
    if phrase.split()[-1] in _NO_ARTICLE:
        return phrase
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def part_phrase(part: Part) -> str:
    return f"{part.colour} {part.noun}" if part.colour else part.noun


def thing_phrase(thing: Thing, *, colour: bool = True, parts: bool = True) -> str:
    """ "a red car", "a cat with a hat and glasses", "a mix of a cat and a lion"."""
    if thing.mixed_with:
        return f"a mix of {article(thing.noun)} and {article(thing.mixed_with)}"
    words = article(f"{thing.colour} {thing.noun}" if colour and thing.colour else thing.noun)
    worn = [article(part_phrase(p)) for p in thing.parts] if parts else []
    return f"{words} with {' and '.join(worn)}" if worn else words


def listing(phrases: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"; equal phrases in a row are counted: "two cats"."""
    if len(phrases) > 1 and len(set(phrases)) == 1 and " with " not in phrases[0] and " mix " not in phrases[0]:
        words = phrases[0].split(" ", 1)[1].split(" ")
        return " ".join([_COUNT[len(phrases)], *words[:-1], plural(words[-1])])
    return ", ".join(phrases[:-1]) + (" and " if len(phrases) > 1 else "") + phrases[-1]


def place(scene: Scene) -> str:
    return "at night" if scene.background == "night" else f"on {scene.background}"


def describe(scene: Scene) -> str:
    """The full caption of a scene: style, things from left to right, place."""
    runs = [list(run) for _, run in groupby(thing_phrase(t) for t in scene.things)]
    phrases = [listing(run) for run in runs] or [f"an {BACKGROUND_CAPTION}"]
    things = listing(phrases)
    if any(" with " in p or " mix " in p for p in phrases[:-1]):
        # "a dog with a bow, and a lemon": the dog does not wear the lemon.
        things = ", ".join(phrases[:-1]) + f", and {phrases[-1]}"
    return f"{scene.style} of {things} {place(scene)}"


def sample_caption(scene: Scene, rng: np.random.Generator) -> str:
    """A true caption of a scene, as full or as short as people write them.

    A text-to-image model must understand "photo of a lion" when other things are in the picture too: that is all the
    language processor tells the editor. With BLIP-2's help it tells the whole picture, as :func:`describe` does.
    """
    if rng.random() < 0.25:
        return describe(scene)
    style = scene.style if rng.random() < 0.6 else "photo"
    if not scene.things or rng.random() < 0.04:
        return f"{style} of an {BACKGROUND_CAPTION}"
    where = f" {place(scene)}" if rng.random() < 0.35 else ""
    roll = rng.random()
    full = [thing_phrase(t, colour=rng.random() < 0.85, parts=rng.random() < 0.85) for t in scene.things]
    if roll < 0.4 or len(scene.things) == 1:
        parts = scene.things[0].parts
        if parts and roll > 0.7:
            return f"{style} of {article(part_phrase(parts[int(rng.integers(len(parts)))]))}{where}"
        return f"{style} of {listing(full)}{where}"
    nouns = {t.noun for t in scene.things}
    if len(nouns) == 1 and roll < 0.55 and not any(t.mixed_with or t.parts for t in scene.things):
        return f"{style} of {plural(scene.things[0].noun)}{where}"
    return f"{style} of {full[int(rng.integers(len(full)))]}{where}"


# --- referring to things ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reference:
    """Words that name one thing (or all of a noun, or one part) of a scene, and nothing else in it."""

    phrase: str
    """The segmentation prompt: "bigger cat", "cat on the left", "white scarf"."""
    indices: tuple[int, ...]
    part: Part | None = None


def references(scene: Scene) -> list[Reference]:
    """Every phrase that picks out something in the scene without doubt."""
    found: list[Reference] = []
    for noun in dict.fromkeys(t.noun for t in scene.things):
        indices = [i for i, t in enumerate(scene.things) if t.noun == noun]
        if len(indices) == 1:
            found.append(Reference(noun, (indices[0],)))
        else:
            found.append(Reference(plural(noun), tuple(indices)))
            for words, i in zip(_WHERE[len(indices)], sorted(indices, key=lambda i: scene.things[i].x), strict=True):
                found.append(Reference(f"{noun} {words}", (i,)))
        if len(indices) == 2:
            small, big = sorted(indices, key=lambda i: scene.things[i].size)
            if scene.things[big].size >= 1.3 * scene.things[small].size:
                found += [Reference(f"bigger {noun}", (big,)), Reference(f"smaller {noun}", (small,))]
        for i in indices:
            colour = scene.things[i].colour
            if colour and [scene.things[k].colour for k in indices].count(colour) == 1:
                found.append(Reference(f"{colour} {noun}", (i,)))
    for i, thing in enumerate(scene.things):
        for part in thing.parts:
            if sum(p.noun == part.noun for t in scene.things for p in t.parts) == 1:
                found.append(Reference(part.noun, (i,), part))
                if part.colour:
                    found.append(Reference(part_phrase(part), (i,), part))
    return found


# --- asking for edits ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """The language processor's three outputs (paper §3.2)."""

    segmentation_prompt: str
    input: str
    edited: str

    def text(self) -> str:
        """As the paper's template words it (appendix D.1)."""
        return (
            f'Segmentation prompt: {self.segmentation_prompt}. Editing prompt 1: "{self.input}". '
            f'Editing prompt 2: "{self.edited}".'
        )


def bare(phrase: str) -> str:
    """A reference without what only helps to find the thing: "bigger cat", "cat on the left" -> "cat"."""
    words = [w for w in phrase.split() if w not in ("bigger", "smaller")]
    for tail in ("on the left", "on the right", "in the middle"):
        if " ".join(words).endswith(tail):
            words = words[: -len(tail.split())]
    return " ".join(words)


def _object(phrase: str, many: bool) -> str:
    return phrase if many else article(phrase)


def answer_change(ref: str, new: str, *, many: bool = False) -> Answer:
    return Answer(ref, f"photo of {_object(bare(ref), many)}", f"photo of {_object(new, many)}")


def answer_recolour(ref: str, colour: str) -> Answer:
    old = bare(ref)
    noun = " ".join(w for w in old.split() if w not in COLOURS)
    return Answer(ref, f"photo of {article(old)}", f"photo of {article(f'{colour} {noun}')}")


def answer_add(ref: str, worn: str) -> Answer:
    before = f"photo of {article(bare(ref))}"
    return Answer(ref, before, f"{before} with {article(worn)}")


def answer_remove(ref: str, *, many: bool = False) -> Answer:
    return Answer(ref, f"photo of {_object(bare(ref), many)}", f"photo of an {BACKGROUND_CAPTION}")


def answer_mix(ref: str, other: str) -> Answer:
    before = article(bare(ref))
    return Answer(ref, f"photo of {before}", f"photo of a mix of {before} and {article(other)}")


# {r}: what is edited, {n}: what comes instead (with its article), {c}: a colour.
TEMPLATES: dict[str, tuple[str, ...]] = {
    "change": (
        "Change the {r} to {n}", "Change the {r} into {n}", "Turn the {r} into {n}", "Replace the {r} with {n}",
        "Replace the {r} by {n}", "Make the {r} {n}", "Swap the {r} for {n}", "Transform the {r} into {n}",
        "Let the {r} become {n}", "What if the {r} were {n}", "What if the {r} was {n}",
        "I want {n} instead of the {r}",
        "Put {n} in place of the {r}", "The {r} should be {n}", "Edit the {r} so that it becomes {n}",
        "Turn the {r} to {n}", "Convert the {r} into {n}", "Draw {n} instead of the {r}", "Make the {r} look like {n}",
        "Where the {r} is there should be {n}", "The {r} should become {n}", "Have the {r} replaced with {n}",
        "I want the {r} to be {n}", "Exchange the {r} for {n}", "Show {n} where the {r} is", "Make {n} out of the {r}",
    ),
    "recolour": (
        "Color the {r} {c}", "Paint the {r} {c}", "Make the {r} {c}", "Turn the {r} {c}", "Change the {r} to {c}",
        "Change the color of the {r} to {c}", "The {r} should be {c}", "What if the {r} were {c}",
        "What if the {r} was {c}", "I want the {r} to be {c}", "Let the {r} become {c}", "Dye the {r} {c}",
        "Give the {r} a {c} color", "Edit the {r} so that it becomes {c}", "Have the {r} painted {c}",
        "The color of the {r} should be {c}", "Make the color of the {r} {c}", "Draw the {r} in {c}",
    ),
    "add": (
        "Add {n} to the {r}", "Put {n} on the {r}", "Give the {r} {n}", "Let the {r} wear {n}", "Make the {r} wear {n}",
        "The {r} should wear {n}", "What if the {r} wore {n}", "Dress the {r} with {n}", "I want the {r} to wear {n}",
        "Draw {n} on the {r}", "Have the {r} wear {n}", "The {r} should have {n}", "What if the {r} had {n}",
        "Edit the {r} so that it wears {n}", "Show the {r} with {n}", "Place {n} on the {r}", "I want {n} on the {r}",
    ),
    "remove": (
        "Remove the {r}", "Delete the {r}", "Erase the {r}", "Take the {r} away", "Take away the {r}",
        "Get rid of the {r}", "Make the {r} disappear", "Let the {r} vanish", "The {r} should be removed",
        "I want the {r} to disappear", "What if the {r} were not there", "Have the {r} removed", "Clear the {r} away",
        "Remove the {r} from the picture", "Edit the picture so that the {r} is gone", "The {r} should be gone",
    ),
    "mix": (
        "Mix the {r} with {n}", "Blend the {r} with {n}", "Mix the {r} and {n}", "Combine the {r} with {n}",
        "Make the {r} a mix with {n}", "Turn the {r} into a mix with {n}", "Cross the {r} with {n}",
        "What if the {r} were mixed with {n}", "Merge the {r} with {n}", "I want the {r} mixed with {n}",
        "The {r} should be half {n}", "Let the {r} be mixed with {n}", "Make the {r} half {n}",
        "Have the {r} blended with {n}", "The {r} should be mixed with {n}",
    ),
}  # fmt: skip
HELD_OUT_TEMPLATES: dict[str, tuple[str, ...]] = {
    "change": (
        "Have the {r} turned into {n}", "Let the {r} be replaced by {n}", "What if there was {n} instead of the {r}",
        "Edit the picture so that the {r} becomes {n}", "Exchange the {r} with {n}", "The {r} should turn into {n}",
    ),
    "recolour": (
        "Have the {r} colored {c}", "Let the {r} be {c}", "Edit the picture so that the {r} becomes {c}",
        "I want the color of the {r} to be {c}", "Turn the color of the {r} to {c}",
    ),
    "add": (
        "I want the {r} to have {n}", "Let the {r} have {n}", "Edit the picture so that the {r} wears {n}",
        "Have {n} put on the {r}", "The {r} should be given {n}",
    ),
    "remove": (
        "Let the {r} disappear", "I want the {r} removed", "Have the {r} taken away", "What if the {r} was gone",
        "Edit the picture so that the {r} is removed",
    ),
    "mix": (
        "Let the {r} be blended with {n}", "What if the {r} was crossed with {n}",
        "I want the {r} to be mixed with {n}",
        "Turn the {r} into a blend with {n}",
    ),
}  # fmt: skip
"""Phrasings that no model is trained on: for the language model's held-out score and the benchmarks' variations."""
# Words of the held-out phrasings that occur in no other template, taught in sentences of another shape.
_ALSO_SAID: dict[str, tuple[str, ...]] = {
    "change": ("I want the {r} turned into {n}", "There was the {r} but I want {n}"),
    "recolour": ("I want the {r} colored {c}",),
    "add": ("I want the {r} given {n}",),
    "remove": ("I want the {r} taken away",),
    "mix": ("Make a blend of the {r} and {n}", "I want the {r} crossed with {n}"),
}
OPENINGS = ("", "", "", "", "Please ", "Can you ", "Could you please ", "Now ", "I would like you to ")
_IMPERATIVES = (
    "Change Turn Replace Make Swap Transform Let Put Edit Convert Draw Have Exchange Show Color Paint Dye Give "
    "Add Dress Place Remove Delete Erase Take Get Clear Mix Blend Combine Cross Merge"
).split()


def templates(kind: str, held_out: bool = False) -> tuple[str, ...]:
    return HELD_OUT_TEMPLATES[kind] if held_out else TEMPLATES[kind] + _ALSO_SAID[kind]


def say(template: str, *, r: str, n: str = "", c: str = "", rng: np.random.Generator | None = None) -> str:
    """Fill a template; with ``rng``, as politely and as sloppily as people type."""
    text = template.format(r=r, n=n, c=c)
    if rng is None:
        return text
    if text.split()[0] in _IMPERATIVES:
        opening = str(rng.choice(OPENINGS))
        text = opening + (text[0].lower() + text[1:] if opening else text)
    return text + str(rng.choice(["", "", "", ".", "?" if text.startswith(("What", "Can", "Could")) else "!"]))


@dataclass(frozen=True)
class Wish:
    """An edit that somebody wants, before it is put into words."""

    kind: str
    reference: str
    """What is edited: "bigger cat"."""
    new: str
    """What comes: a noun ("lion"), a colour ("pink"), a wearable ("red scarf"), or nothing."""
    many: bool = False
    """All things of the noun, in the plural."""

    def answer(self) -> Answer:
        match self.kind:
            case "change":
                return answer_change(self.reference, self.new, many=self.many)
            case "recolour":
                return answer_recolour(self.reference, self.new)
            case "add":
                return answer_add(self.reference, self.new)
            case "remove":
                return answer_remove(self.reference, many=self.many)
            case "mix":
                return answer_mix(self.reference, self.new)
        raise ValueError(f"edit kind {self.kind!r}: accepted are {', '.join(TEMPLATES)}")

    def words(self, template: str, rng: np.random.Generator | None = None) -> str:
        new = self.new if self.many or self.kind in ("recolour", "remove") else article(self.new)
        if self.reference == IT:
            template = template.replace("the {r}", "{r}").replace("The {r}", "It")
        return say(template, r=self.reference, n=new, c=self.new, rng=rng)


def sample_reference(rng: np.random.Generator, noun: str) -> str:
    """A way to name one of several, or the only one."""
    forms = [noun, noun, f"bigger {noun}", f"smaller {noun}", *(f"{noun} {where}" for where in _WHERE[3])]
    if noun in COLOURABLE:
        forms += [f"{colour} {noun}" for colour in rng.choice(COLOURS, 3, replace=False)]
    return str(rng.choice(forms))


def sample_wish(rng: np.random.Generator) -> Wish:
    """Any wish that this world understands, tied to no scene: what the language model learns from."""

    def other(nouns: Sequence[str], than: str) -> str:
        return str(rng.choice([n for n in nouns if n != than]))

    kind = str(rng.choice(list(TEMPLATES), p=(0.4, 0.16, 0.16, 0.14, 0.14)))
    if kind == "recolour":
        reference = sample_reference(rng, str(rng.choice(COLOURABLE)))
        return Wish(kind, reference, other(COLOURS, reference.split()[0]))
    if kind == "add":
        worn = str(rng.choice(WEARABLES))
        colour = f"{rng.choice(COLOURS)} " if worn in COLOURABLE and rng.random() < 0.6 else ""
        return Wish(kind, sample_reference(rng, str(rng.choice(FACES))), colour + worn)
    if kind == "mix":
        noun = str(rng.choice(ANIMALS))
        return Wish(kind, sample_reference(rng, noun), other(ANIMALS, noun))
    noun = str(rng.choice(NOUNS))
    if rng.random() < 0.18:
        return Wish(kind, plural(noun), plural(other(NOUNS, noun)), many=True)
    if kind == "change" and rng.random() < 0.25:
        worn = str(rng.choice(WEARABLES))
        colour = f"{rng.choice(COLOURS)} " if worn in COLOURABLE and rng.random() < 0.5 else ""
        return Wish(kind, colour + worn, other(WEARABLES, worn))
    return Wish(kind, sample_reference(rng, noun), other(NOUNS, noun))
