"""Requests put into words, as people type them: with openings and endings, other names of things, and fillers."""

import re

import numpy as np

from data.picturebook import unknown
from data.picturebook.clothes_and_colours import CHANGES_OF_CLOTHES, FRAGMENTS, OTHER_COLOURS, TAKINGS
from data.picturebook.grammar import COMPOSED, IMPERATIVES, SENTENCES, VARIED
from data.picturebook.patterns import PEOPLE, expanded
from data.picturebook.phrases import IT, Wish, bare, part_phrase
from data.picturebook.referring import another_word, introduced, named, one_of
from data.picturebook.requested import Request
from data.picturebook.sentences import CONTRACTIONS, FILLERS, INSTEAD, MENTIONS, OPENINGS, PREFIXES, TAILS, UNDRESSED
from data.picturebook.world import COLOURABLE, COLOURS, FACES, WEARABLES

_PLURAL_VERBS = {
    "is": "are", "was": "were", "has": "have", "becomes": "become", "gets": "get", "needs": "need", "wears": "wear",
    "changes": "change", "turns": "turn", "disappears": "disappear", "vanishes": "vanish", "wants": "want",
    "looks": "look", "goes": "go", "leaves": "leave", "does": "do", "doesn't": "don't", "isn't": "aren't",
}  # fmt: skip


def words(rng: np.random.Generator, request: Request) -> str:
    """Return one way to ask for it."""
    wish = request.wish
    core, r = _told(rng, request)
    core = _filled_in(rng, core)
    ending, n = "", ""
    if wish.kind == "add":
        coming = [wish.new, *map(part_phrase, request.parts)]
        n = one_of(rng, (" and ", " and ", ", ", " plus ")).join(introduced(rng, c, many=wish.many) for c in coming)
        if wish.many and rng.random() < 0.4:
            n = introduced(rng, wish.new.removesuffix("s") if not wish.new.endswith("glasses") else wish.new)
        elif request.parts and rng.random() < 0.15:
            n = f"both {n}"
    elif wish.kind in ("change", "mix"):
        n, ending = _coming(rng, request)
    if wish.reference != IT and not wish.many and rng.random() < 0.08:
        core = f"{one_of(rng, MENTIONS)} {core.replace('{r}', 'it')}"
    return dressed(rng, core, ending, r=r, n=n, c=_shade(rng, wish), change=wish.kind == "change")


def _told(rng: np.random.Generator, request: Request) -> tuple[str, str]:
    """A sentence for a request, and the name that what is edited has in it."""
    wish = request.wish
    noun, old = bare(wish.reference).split()[-1], wish.reference.split()[0]
    if wish.kind == "recolour" and not wish.many and noun in COLOURABLE:
        if old in COLOURS and rng.random() < 0.35:
            core = one_of(rng, one_of(rng, _OTHER_COLOURS))
            return core.replace("{o}", old).replace("{b}", another_word(rng, noun)), named(rng, noun)
        if old == noun and rng.random() < 0.06:
            return one_of(rng, one_of(rng, _FRAGMENTS)).replace("{b}", another_word(rng, noun)), f"the {noun}"
    if noun in WEARABLES and not wish.many and wish.kind in ("change", "remove") and rng.random() < 0.35:
        one = f"{one_of(rng, ('the', 'the', 'its', 'that', 'his', 'her', 'this'))} {wish.reference}"
        if wish.kind == "change":
            return one_of(rng, one_of(rng, _CHANGES_OF_CLOTHES)), one
        animal = named(rng, request.owner or one_of(rng, FACES))
        core = one_of(rng, UNDRESSED if rng.random() < 0.4 else one_of(rng, _TAKINGS))
        return core.replace("{a}", animal).replace("{w}", wish.reference), one
    core = sample_core(rng, wish.kind)
    r = named(rng, wish.reference, many=wish.many, owner=request.owner)
    if wish.many and not r.startswith(("every", "each")):
        core = re.sub(r"(\{r\}) (\w+)", lambda m: f"{m[1]} {_PLURAL_VERBS.get(m[2], m[2])}", core)
    return core, r


def _filled_in(rng: np.random.Generator, core: str) -> str:
    """The sentence, now and then with a word that changes nothing or that nobody knows."""
    if rng.random() > 0.1:
        return core
    parts = core.split(" ")
    at = int(rng.integers(len(parts) + 1))
    if rng.random() < 0.85:
        parts.insert(at, one_of(rng, FILLERS))
    elif not parts[min(at, len(parts) - 1)].startswith("{"):
        # Before a thing, the word could tell what thing it is.
        parts.insert(at, unknown.invented(rng))
    return " ".join(parts)


def _contracted(rng: np.random.Generator, text: str) -> str:
    """The sentence with the contractions of everyday English, sometimes without their apostrophes."""
    for whole, short in CONTRACTIONS:
        if whole in text and rng.random() < 0.5:
            text = re.sub(rf"\b{whole}\b", short if rng.random() < 0.7 else short.replace("'", ""), text)
    return text.replace("n't", "nt") if rng.random() < 0.1 else text


def _shade(rng: np.random.Generator, wish: Wish) -> str:
    return f"{one_of(rng, ('bright', 'nice', 'pretty', 'beautiful'))} {wish.new}" if rng.random() < 0.04 else wish.new


COLOURED = (
    " and make it {c}", " and paint it {c}", " in {c}", ", a {c} one", ", and color it {c}", ", {c} please",
    " which is {c}", " that is {c}", ", but {c}", " of {c} color", ", and it should be {c}", ", in {c}",
    ", and let it be {c}", " and have it {c}", " and dye it {c}", ". make it {c}", ", preferably {c}",
    " and turn it {c}", " painted {c}",
)  # fmt: skip
_LINKS = ("with", "with", "with", "wearing", "in", "that has", "who wears", "which wears", "having")
DRESSED = (
    " and give it {n}", " and add {n}", " and put {n} on it", " with {n} on", ", and it should wear {n}", ", add {n}",
    " and let it wear {n}", " and it wears {n}", ", with {n}", ", then give it {n}", " plus {n}", " and also {n}",
    " and make it wear {n}", ". it needs {n} too", " and dress it in {n}", ". also add {n}", ", and have it wear {n}",
    " and have him wear {n}", ", and let her wear {n}", ", and she should wear {n}", ", and he gets {n}",
    ", {n} included", " who is wearing {n}", " and pop {n} on it", ", and make sure it has {n}",
    " and don't forget {n}", ". it should have {n}", ". give it {n} as well", " and top it off with {n}",
    ", and it needs {n}",
    " and also give him {n}",
)  # fmt: skip
ENDINGS = (*COLOURED, *_LINKS, *DRESSED)
"""What may follow a change: the colour {c} or the worn things {n} of what comes."""


def _coming(rng: np.random.Generator, request: Request) -> tuple[str, str]:
    """What comes, and what is said of it at the end of the sentence."""
    new = request.wish.new
    if request.colour:
        if rng.random() < 0.7:
            return introduced(rng, f"{request.colour} {new}"), ""
        return introduced(rng, new), one_of(rng, COLOURED).format(c=request.colour)
    if not request.parts:
        return introduced(rng, new, many=request.wish.many), ""
    worn_things = " and ".join(introduced(rng, part_phrase(p)) for p in request.parts)
    if rng.random() < 0.6:
        link = one_of(rng, _LINKS)
        return f"{introduced(rng, new)} {link} {worn_things}", ""
    return introduced(rng, new), one_of(rng, DRESSED).format(n=worn_things)


def sample_core(rng: np.random.Generator, kind: str) -> str:
    """Return a sentence of :data:`data.picturebook.grammar.CORES`, or one with a verb that nobody knows."""
    roll = rng.random()
    if roll > 0.6:
        return one_of(rng, one_of(rng, VARIED[kind]))
    core = one_of(rng, IMPERATIVES[kind] if roll < 0.2 else COMPOSED[kind] if roll < 0.38 else SENTENCES[kind])
    if roll < 0.06:
        _, rest = core.split(" ", 1)
        if kind in ("change", "recolour", "add") or rest not in ("{r}", "{r} "):
            # The words around it tell what an unknown verb means.
            core = f"{unknown.verb(rng)} {rest}" if kind != "mix" else core
    return core


def dressed(rng: np.random.Generator, core: str, ending: str = "", change: bool = False, **slots: str) -> str:
    """The sentence with what people say before and after it."""
    text = _contracted(rng, core.format(k=one_of(rng, PEOPLE), **slots) + ending)
    if rng.random() < 0.08:
        # As in a telegram.
        text = re.sub(r"\b(?:the|an?) ", "", text)
    roll = rng.random()
    if core.split()[0] in _STARTS and roll < 0.4:
        text = f"{one_of(rng, OPENINGS)} {text}"
    elif roll < 0.12:
        text = f"{one_of(rng, PREFIXES)} {text}"
    if rng.random() < 0.02:
        text = f"{unknown.invented(rng)}, {text}"
    if rng.random() < 0.22:
        tail = one_of(rng, INSTEAD if change and rng.random() < 0.3 else TAILS)
        text += tail if tail.startswith(",") else f" {tail}"
    elif rng.random() < 0.02:
        text += f" {one_of(rng, ('for my', 'for the', 'before the', 'because of the', 'for'))} {unknown.word(rng)}"
    return text + one_of(rng, ("", "", "", "", "", ".", ".", "!", "?", "...", "!!", "?!"))


_STARTS = {core.split()[0] for cores in IMPERATIVES.values() for core in cores} | set(
    """
    get let have swap trade switch bring stick pop slap wrap tie hang equip fit deck fuse breed pair reimagine redraw
    upgrade lose hide photoshop repaint recolor strip wipe kick pretend imagine sub mix meld morph
    """.split()
)
_OTHER_COLOURS, _CHANGES_OF_CLOTHES, _TAKINGS, _FRAGMENTS = (
    tuple(map(expanded, patterns)) for patterns in (OTHER_COLOURS, CHANGES_OF_CLOTHES, TAKINGS, FRAGMENTS)
)
