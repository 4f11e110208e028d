"""Requests that shall be refused: the drawn world has no words for them."""

import numpy as np

from data.picturebook import impossible, unknown
from data.picturebook.clothes_and_colours import FRAGMENTS, OTHER_COLOURS
from data.picturebook.grammar import CORES
from data.picturebook.patterns import expanded
from data.picturebook.phrases import plural, sample_wish
from data.picturebook.realisation import DRESSED, dressed, sample_core, words
from data.picturebook.referring import another_word, introduced, named, one_of
from data.picturebook.requested import Request, sample_request
from data.picturebook.world import ANIMALS, COLOURABLE, COLOURS, NOUNS, SPRITES, WEARABLES


def refused(rng: np.random.Generator) -> str:
    """Return a request that has no answer."""
    roll = rng.random()
    if roll < 0.22:
        return _with_unknown(rng)
    if roll < 0.3:
        return _in_unknown_colour(rng)
    if roll < 0.44:
        return dressed(rng, _filled(rng, one_of(rng, unknown.ATTRIBUTES)))
    if roll < 0.54:
        return dressed(rng, _filled(rng, one_of(rng, unknown.GLOBAL)))
    if roll < 0.76:
        return dressed(rng, _filled(rng, one_of(rng, one_of(rng, _IMPOSSIBLE))))
    if roll < 0.87:
        first, second = sample_request(rng), sample_request(rng)
        if not are_of_one_thing(first, second):
            also = words(rng, second)
            if rng.random() < 0.2:
                also = _filled(rng, one_of(rng, one_of(rng, _ALSO)))
            return f"{words(rng, first)}{one_of(rng, _AND)}{also}"
    if roll < 0.9:
        # What it shall become is what it is.
        noun = one_of(rng, ANIMALS)
        return dressed(rng, sample_core(rng, "change"), r=named(rng, noun), n=introduced(rng, noun))
    salad = [one_of(rng, _SALAD) for _ in range(int(rng.integers(2, 8)))]
    for _ in range(int(rng.integers(0, 3))):
        salad.insert(int(rng.integers(len(salad) + 1)), named(rng, one_of(rng, NOUNS)))
    return " ".join(salad)


_IMPOSSIBLE, _ALSO, _COLOURINGS = (
    tuple(map(expanded, patterns))
    for patterns in (impossible.PATTERNS, impossible.POSES + impossible.SCENERY, OTHER_COLOURS + FRAGMENTS)
)
_AND = (
    " and ", " and then ", ", ", ", and ", ". ", " and also ", "; ", ", then ", " while you ", ". also, ",
    ". after that, ", " and at the same time ", ", but first ", " plus ", ". and ", " and finally ",
)  # fmt: skip
_SALAD = (
    tuple(sorted({w for cores in CORES.values() for core in cores for w in core.split() if w.isalpha()}))
    + unknown.NOUNS
)


def are_of_one_thing(first: Request, second: Request) -> bool:
    """Return whether two requests may be two edits of one thing, which have an answer."""
    nouns = [{w for w in r.wish.reference.split() if w in _NAMES} for r in (first, second)]
    # "It" may be anything.
    return not all(nouns) or bool(nouns[0] & nouns[1])


_NAMES = frozenset([*SPRITES, *map(plural, SPRITES)])


def _in_unknown_colour(rng: np.random.Generator) -> str:
    noun = one_of(rng, COLOURABLE)
    if rng.random() < 0.35:
        core = one_of(rng, one_of(rng, _COLOURINGS)).replace("{o}", one_of(rng, COLOURS))
        core = core.replace("{b}", another_word(rng, noun))
        return dressed(rng, core, r=named(rng, noun), c=unknown.colour(rng))
    r = named(rng, sample_wish(rng).reference if rng.random() < 0.5 else one_of(rng, NOUNS))
    return dressed(rng, sample_core(rng, "recolour"), r=r, c=unknown.colour(rng))


def _filled(rng: np.random.Generator, template: str) -> str:
    first, second = (str(n) for n in rng.permutation(NOUNS)[:2])
    wish = sample_wish(rng)
    r = named(rng, wish.reference if rng.random() < 0.4 and not wish.many else first)
    slots = {
        "r": r,
        "s": named(rng, second),
        "n": introduced(rng, one_of(rng, NOUNS)),
        "m": introduced(rng, one_of(rng, NOUNS)),
        "o": plural(one_of(rng, NOUNS)),
        "w": one_of(rng, WEARABLES),
        "c": one_of(rng, COLOURS),
    }
    if template in ("put {n} on the grass", "i want {n}", "{n}", "{n} please", "add {n}") and rng.random() < 0.5:
        slots["n"] = introduced(rng, one_of(rng, WEARABLES))
    return unknown.fill(rng, template, **slots)


def _with_unknown(rng: np.random.Generator) -> str:
    wish = sample_wish(rng)
    kind = wish.kind
    r = named(rng, wish.reference, many=wish.many)
    n = wish.new if kind == "recolour" else introduced(rng, wish.new, many=wish.many) if wish.new else ""
    roll, ending = rng.random(), ""
    if kind in ("remove", "recolour") or roll < 0.4:
        what = unknown.thing(rng)
        size = one_of(rng, ("", "", "", "bigger ", "smaller ", "left ", "two ", "big "))
        r = f"{one_of(rng, ('the', 'the', 'the', 'my', 'that', ''))} {size}{what}".strip()
    elif roll < 0.9:
        n = unknown.introduced(rng)
    elif roll < 0.95 and kind in ("change", "add"):
        ending = one_of(rng, DRESSED).format(n=unknown.introduced(rng))
    else:
        link = one_of(rng, ("with", "and", "on", "in", "next to", "from", "of", "holding"))
        n = f"{n} {link} {unknown.introduced(rng)}"
    return dressed(rng, sample_core(rng, kind), ending, r=r, n=n, c=wish.new)
