"""How people name a thing of the drawn world: other words for it, its size, its place, its number, its owner."""

from collections.abc import Sequence
from itertools import chain
from typing import TypeVar

import numpy as np

from data.picturebook.phrases import IT, article, plural
from data.picturebook.world import FACES, SPRITES, WEARABLES

_Option = TypeVar("_Option")


def plural_of(phrase: str) -> str:
    """Return the plural of a phrase that may hold another word for a noun."""
    if phrase.endswith("y") and phrase[-2] not in "aeiou":
        return phrase[:-1] + "ies"
    if phrase.endswith(("s", "x")):
        return phrase + "es" if phrase.endswith("x") else phrase
    head, _, noun = phrase.rpartition(" ")
    return f"{head} {plural(noun)}".strip()


SYNONYMS = {
    "cat": ("kitty", "kitten", "pussycat", "tomcat", "kitty cat", "house cat"),
    "dog": ("puppy", "doggy", "doggie", "pup", "hound"),
    "lion": ("lioness",),
    "bear": ("brown bear",),
    "panda": ("panda bear",),
    "frog": ("froggy",),
    "horse": ("pony",),
    "car": ("automobile", "auto"),
    "house": ("home", "cottage"),
    "shrimp": ("prawn",),
    "cake": ("birthday cake",),
    "glasses": ("eyeglasses", "spectacles", "specs", "reading glasses"),
    "sunglasses": ("shades", "dark glasses"),
    "hat": ("cap",),
    "bow": ("ribbon",),
    "crown": ("tiara",),
    "scarf": ("shawl",),
    "animal": ("creature", "pet", "beast"),
    "food": ("snack",),
}
"""Other words for what the world knows."""
PRONOUNS = (IT, IT, IT, "this", "this one", "this thing", "that", "that thing", "this object")
OPINIONS = tuple("cute stupid ugly old nice lovely funny silly boring poor sweet awful beautiful annoying".split())
"""Words before a noun that say nothing of what is to be seen."""
_DETERMINERS = ("the",) * 12 + ("that", "this", "my", "our", "", "", "")
_MANY = (
    ("the {s}",) * 4 + ("all the {s}", "all {s}", "all of the {s}", "both {s}", "both the {s}", "both of the {s}",
    "the two {s}", "the three {s}", "all three {s}", "all three of the {s}", "these {s}", "those {s}", "{s}",
    "these two {s}", "all these {s}", "every {one}", "each {one}", "every single {one}", "each of the {s}",
    "every one of the {s}", "my {s}",
    "the {s} in the picture", "the 2 {s}", "the 3 {s}", "the pair of {s}", "all 3 {s}", "both these {s}")
)  # fmt: skip
_SIZES = {
    "bigger": ("bigger", "larger", "biggest", "largest", "big", "large", "bigger one of the two", "huge", "taller"),
    "smaller": ("smaller", "smallest", "small", "little", "tiny", "littler", "littlest", "tiniest", "tinier", "mini"),
}
_SIDES = {
    "on the left": "left", "on the right": "right", "in the middle": "middle",
}  # fmt: skip
_PLACED = (
    "the {n} on the {side}", "the {n} on the {side} side", "the {n} to the {side}", "the {n} at the {side}",
    "the {side} {n}", "the {side}most {n}", "the {side}-hand {n}", "the {n} on the far {side}", "the {n} {side}",
    "the far {side} {n}", "that {n} on the {side}", "the {n} that is on the {side}", "the {n} in the {side}",
    "the {n} that stands on the {side}", "the {n} on {side}", "the {n} on your {side}", "{side} {n}",
    "{n} on the {side}", "the {n} which is on the {side}", "the {n} sitting on the {side}", "the outer {side} {n}",
    "the {n} on the {side} hand side", "the furthest {side} {n}", "the {n} farthest to the {side}",
    "my {n} on the {side}", "the {n} from the {side}",
)  # fmt: skip
_CENTRAL = (
    "the {n} in the middle", "the middle {n}", "the {n} in the center", "the {n} in the centre", "the central {n}",
    "the center {n}", "the {n} at the center", "the middlemost {n}", "the {n} that is in the middle", "middle {n}",
    "the {n} between the others", "the {n} in between", "that {n} in the middle", "the {n} in the very middle",
    "the second {n}", "the second {n} from the left", "the {n} right in the center", "the {n} which is in the middle",
)  # fmt: skip
_ORDINAL = {
    "left": ("the first {n}", "the first {n} on the left", "the {n} left of the others", "{n} number one"),
    "right": (
        "the last {n}",
        "the first {n} from the right",
        "the last {n} on the right",
        "the {n} right of the others",
    ),
}
_SIZED = (
    "the {size} {n}", "the {size} {n}", "the {size} {n}", "that {size} {n}", "{size} {n}", "the {size} one of the {s}",
    "the {size} of the {s}", "the {n} that is {size}", "the {n} which is {size}", "my {size} {n}",
    "the {size} one, the {n}", "this {size} {n}", "the very {size} {n}", "just the {size} {n}", "only the {size} {n}",
)  # fmt: skip
_OWNED = (
    "the {a}'s {n}", "the {a}'s {n}", "its {n}", "his {n}", "her {n}", "the {n} on the {a}", "the {n} of the {a}",
    "the {n} that the {a} wears", "the {n} the {a} is wearing", "the {n} on its head", "that {a}'s {n}", "the {a} {n}",
    "the {n} worn by the {a}", "{a}'s {n}", "their {n}", "the {a}s {n}", "the animal's {n}",
    "the {n} which the {a} has on",
)  # fmt: skip

FORMS = tuple(
    " ".join(words)
    for words in (
        *SYNONYMS.values(), PRONOUNS, _DETERMINERS, _MANY, *_SIZES.values(), _SIDES.values(), _PLACED, _CENTRAL,
        *_ORDINAL.values(), _SIZED, _OWNED, map(plural_of, chain(*SYNONYMS.values())),
    )
)  # fmt: skip
"""All of their words."""


def another_word(rng: np.random.Generator, noun: str, share: float = 0.2) -> str:
    """Return the noun or, now and then, another word for it."""
    return one_of(rng, SYNONYMS[noun]) if noun in SYNONYMS and rng.random() < share else noun


def named(rng: np.random.Generator, reference: str, *, many: bool = False, owner: str | None = None) -> str:
    """Return one way to name what a reference means, with its determiner.

    Args:
        rng: Decides.
        reference: A segmentation prompt of the drawn world: "bigger cat", "cat on the left", "white scarf", "cats".
        many: Whether it is a plural.
        owner: The animal that wears it, if it is known.
    """
    if reference == IT:
        return one_of(rng, PRONOUNS)
    if many:
        noun = next(s for s in SPRITES if reference.split()[-1] == plural(s))
        head = " ".join(reference.split()[:-1])
        one = f"{head} {another_word(rng, noun)}".strip()
        return one_of(rng, _MANY).format(s=plural_of(one), one=one)
    first, _, rest = reference.partition(" ")
    if first in _SIZES:
        noun = another_word(rng, rest)
        return one_of(rng, _SIZED).format(size=one_of(rng, _SIZES[first]), n=noun, s=plural_of(noun))
    for where, side in _SIDES.items():
        if reference.endswith(where):
            noun = another_word(rng, reference.removesuffix(f" {where}"))
            if side == "middle":
                return one_of(rng, _CENTRAL).format(n=noun)
            forms = _ORDINAL[side] if rng.random() < 0.15 else _PLACED
            return one_of(rng, forms).format(n=noun, side=side)
    *colour, noun = reference.split(" ")
    words = " ".join([*colour, another_word(rng, noun)])
    if noun in WEARABLES and rng.random() < (0.35 if owner is None else 0.6):
        return one_of(rng, _OWNED).format(n=words, a=owner or one_of(rng, FACES))
    if colour and rng.random() < 0.1:
        return f"the {noun} that is {colour[0]}" if rng.random() < 0.5 else f"the {colour[0]} colored {noun}"
    if rng.random() < 0.05:
        words = f"{one_of(rng, OPINIONS)} {words}"
    if rng.random() < 0.06:
        return article(words)
    determiner = one_of(rng, _DETERMINERS)
    return f"{determiner} {words}".strip()


def introduced(rng: np.random.Generator, new: str, *, many: bool = False) -> str:
    """Return one way to say what comes ("lion", "red scarf", "lions"), mostly with its article."""
    *colour, noun = new.split(" ")
    if many:
        roll = rng.random()
        if roll < 0.08:
            return article(next((n for n in SPRITES if plural(n) == new), new))
        return (
            new if roll < 0.75 else f"{one_of(rng, ('some', 'two', 'three'))} {new}" if roll < 0.9 else f"a few {new}"
        )
    words = " ".join([*colour, another_word(rng, noun)])
    roll = rng.random()
    if noun in WEARABLES and noun.endswith("glasses"):
        return words if roll < 0.6 else f"{one_of(rng, ('a pair of', 'some', 'the', 'a'))} {words}"
    if roll < 0.8:
        return article(words)
    if roll < 0.93:
        return f"{one_of(rng, ('', '', 'some', 'the', 'one', 'another'))} {words}".strip()
    return article(f"{one_of(rng, OPINIONS)} {words}")


def one_of(rng: np.random.Generator, options: Sequence[_Option]) -> _Option:
    """Return one of the options; faster than ``rng.choice``, which makes an array of them."""
    return options[int(rng.integers(len(options)))]
