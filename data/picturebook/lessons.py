"""What the language model learns from: instructions as people type them, and the reply that is right.

Beside the exchanges of :mod:`data.picturebook.descriptions`, whose templates are few, it sees the sentences of
:mod:`data.picturebook.grammar`, two edits of one thing, typing errors, and requests that it shall refuse.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from data.picturebook import unknown
from data.picturebook.descriptions import as_described, meant, sample_exchange, wish_about_a_picture
from data.picturebook.edits import Edit
from data.picturebook.grammar import COMPOSED, CORES, IMPERATIVES, SENTENCES
from data.picturebook.phrases import (
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
from data.picturebook.referring import introduced, named
from data.picturebook.sentences import CONTRACTIONS, FILLERS, INSTEAD, MENTIONS, OPENINGS, PREFIXES, TAILS, UNDRESSED
from data.picturebook.typing_errors import mistyped
from data.picturebook.world import (
    ANIMALS,
    COLOURABLE,
    COLOURS,
    FACES,
    NOUNS,
    WEARABLES,
    Part,
    Scene,
    Thing,
    sample_scene,
)
from instructedit.language.parse import REFUSAL

# Shares of the lessons; the rest is wide phrasing without a description.
_NARROW, _REFUSED, _DESCRIBED = 0.18, 0.2, 0.3
_MISTYPED = 0.22
_PLURAL_VERBS = {
    "is": "are", "was": "were", "has": "have", "becomes": "become", "gets": "get", "needs": "need", "wears": "wear",
    "changes": "change", "turns": "turn", "disappears": "disappear", "vanishes": "vanish", "wants": "want",
}  # fmt: skip


@dataclass(frozen=True)
class Lesson:
    """One exchange, ready to be learnt."""

    instruction: str
    description: str | None
    reply: str


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


def sample_lesson(rng: np.random.Generator) -> Lesson:
    """Return an instruction with its right reply, in one of two lessons with a description."""
    roll = rng.random()
    if roll < _NARROW:
        exchange = sample_exchange(rng)
        return Lesson(_typed(rng, exchange.instruction), exchange.description, exchange.answer.text())
    if roll < _NARROW + _REFUSED:
        described = sample_scene(rng) if rng.random() < 0.3 else None
        return Lesson(_typed(rng, refused(rng)), describe(described) if described else None, REFUSAL)
    if roll < _NARROW + _REFUSED + _DESCRIBED:
        return _described(rng)
    request = sample_request(rng)
    return Lesson(_typed(rng, words(rng, request)), None, request.answer().text())


def _described(rng: np.random.Generator) -> Lesson:
    scene, wish = wish_about_a_picture(rng)
    described = as_described(rng, scene)
    only = scene.things[0] if len(scene.things) == 1 else None
    owner = next((t.noun for t in scene.things if any(wish.reference.split()[-1] == p.noun for p in t.parts)), None)
    request = Request(wish, owner=owner)
    if wish.kind == "change" and not wish.many and owner is None and rng.random() < 0.12:
        request = _extended(rng, request)
    if only and wish.reference == only.noun and rng.random() < 0.35:
        request = replace(request, wish=replace(wish, reference=IT))
        if wish.kind == "add" and rng.random() < 0.25:
            # Nobody is named who shall wear it; the picture tells.
            said = _dressed(rng, _any(rng, ("add {n}", "put {n} on", "add {n} please", "{n} on top", "draw {n} on it")),
                            n=introduced(rng, wish.new))  # fmt: skip
            reply = request.answer_about(described).text() if meant(request.wish, described) else REFUSAL
            return Lesson(_typed(rng, said), describe(described), reply)
    return Lesson(_typed(rng, words(rng, request)), describe(described), request.answer_about(described).text())


def sample_request(rng: np.random.Generator) -> Request:
    """Return any request that can be answered, about no picture in particular."""
    wish, roll = sample_wish(rng), rng.random()
    if wish.kind == "change" and not wish.many and wish.new in NOUNS:
        is_coloured = bare(wish.reference).split()[-1] in COLOURABLE
        return _extended(rng, Request(wish)) if roll < (0.7 if is_coloured else 0.42) else Request(_vague(rng, wish))
    if wish.kind == "add":
        if roll < 0.07:
            noun = plural(_any(rng, FACES))
            return Request(Wish("add", noun, _any(rng, ("hats", "crowns", "bows", "glasses", "sunglasses")), many=True))
        if roll < 0.35:
            return Request(wish, parts=_worn(rng, wish.new.split()[-1]))
    if wish.kind == "recolour":
        if roll < 0.12:
            noun = plural(_any(rng, ("car", "balloon")))
            return Request(Wish("recolour", noun, wish.new, many=True))
        if roll < 0.3:
            return Request(replace(wish, reference=_any(rng, NOUNS)))
        if roll < 0.36 and not wish.reference.startswith(COLOURS):
            return Request(
                replace(wish, reference=f"{_any(rng, [c for c in COLOURS if c != wish.new])} {bare(wish.reference)}")
            )
    return Request(_vague(rng, wish))


def _vague(rng: np.random.Generator, wish: Wish) -> Wish:
    is_vague = not wish.many and wish.reference.split()[-1] not in WEARABLES and rng.random() < 0.06
    return replace(wish, reference=IT) if is_vague else wish


def _worn(rng: np.random.Generator, than: str = "") -> tuple[Part, ...]:
    noun = _any(rng, [w for w in WEARABLES if w != than])
    return (Part(noun, _any(rng, COLOURS) if noun in COLOURABLE and rng.random() < 0.5 else None),)


def _extended(rng: np.random.Generator, request: Request) -> Request:
    """The change with a colour, or with something to wear, for what comes."""
    if rng.random() < 0.45:
        nouns = ("car", "balloon") if rng.random() < 0.6 else NOUNS
        noun = _any(rng, [n for n in nouns if n not in request.wish.reference.split()] or ["car"])
        return replace(request, wish=replace(request.wish, new=noun), colour=_any(rng, COLOURS))
    faces = [n for n in FACES if n not in request.wish.reference.split()]
    parts = _worn(rng)
    if rng.random() < 0.15:
        parts += _worn(rng, parts[0].noun)
    return replace(request, wish=replace(request.wish, new=_any(rng, faces)), parts=parts)


# --- putting it into words -------------------------------------------------------------------------------------------


def words(rng: np.random.Generator, request: Request) -> str:
    """Return one way to ask for it."""
    wish = request.wish
    core = _core(rng, wish.kind)
    r = named(rng, wish.reference, many=wish.many, owner=request.owner)
    if wish.many and not r.startswith(("every", "each")):
        core = re.sub(r"(\{r\}) (\w+)", lambda m: f"{m[1]} {_PLURAL_VERBS.get(m[2], m[2])}", core)
    old, *_ = wish.reference.split()
    if wish.kind == "recolour" and old in COLOURS and rng.random() < 0.3:
        noun = bare(wish.reference).split()[-1]
        told = (
            f"change {{r}} from {old} to {{c}}", f"make {{r}} {{c}} and not {old}", f"{{r}} {{c}}, not {old}",
            f"a {{c}} {noun} instead of the {old} one", f"a {{c}} {noun} in place of the {old} one",
            f"i want a {{c}} {noun}, not a {old} one", f"{{c}} instead of {old} for {{r}}",
            f"{{r}} not {old} but {{c}}", f"{{r}} in {{c}} instead of {old}",
            f"replace the {old} color of {{r}} with {{c}}", f"{{r}}: {old} to {{c}}",
            f"turn {{r}} from {old} into {{c}}", f"the {old} {noun} into a {{c}} one",
            f"{{r}} is {old}, make it {{c}}", f"replace the {old} {noun} with a {{c}} one",
            f"i prefer a {{c}} {noun} to the {old} one", f"no {old} {noun}, a {{c}} one",
            f"the {noun} that is {old} should be {{c}}", f"{{r}} was {old}, now it is {{c}}",
        )  # fmt: skip
        core = told[int(rng.integers(len(told)))]
        r = named(rng, bare(wish.reference).split()[-1])
    owner = request.owner or _any(rng, FACES)
    if wish.kind == "remove" and not wish.many and wish.reference.split()[-1] in WEARABLES and rng.random() < 0.35:
        core, r = (
            _any(rng, UNDRESSED).replace("{a}", named(rng, owner)),
            _any(rng, ("the", "its", "that", "his", "her")),
        )
        r = f"{r} {wish.reference}"
    core = _filled_in(rng, core)
    ending, n = "", ""
    if wish.kind == "add":
        coming = [wish.new, *map(part_phrase, request.parts)]
        n = _any(rng, (" and ", " and ", ", ", " plus ")).join(introduced(rng, c, many=wish.many) for c in coming)
        if wish.many and rng.random() < 0.4:
            n = introduced(rng, wish.new.removesuffix("s") if not wish.new.endswith("glasses") else wish.new)
    elif wish.kind in ("change", "mix"):
        n, ending = _coming(rng, request)
    if wish.reference != IT and not wish.many and rng.random() < 0.08:
        core = f"{_any(rng, MENTIONS)} {core.replace('{r}', 'it')}"
    return _dressed(rng, core, ending, r=r, n=n, c=_shade(rng, wish), change=wish.kind == "change")


def _filled_in(rng: np.random.Generator, core: str) -> str:
    """The sentence, now and then with a word that changes nothing or that nobody knows."""
    if rng.random() > 0.12:
        return core
    parts = core.split(" ")
    said = _any(rng, FILLERS) if rng.random() < 0.75 else unknown.invented(rng)
    parts.insert(int(rng.integers(len(parts) + 1)), said)
    return " ".join(parts)


def _contracted(rng: np.random.Generator, text: str) -> str:
    """The sentence with the contractions of everyday English, sometimes without their apostrophes."""
    for whole, short in CONTRACTIONS:
        if whole in text and rng.random() < 0.5:
            text = re.sub(rf"\b{whole}\b", short if rng.random() < 0.7 else short.replace("'", ""), text)
    return text.replace("n't", "nt") if rng.random() < 0.1 else text


def _shade(rng: np.random.Generator, wish: Wish) -> str:
    return f"{_any(rng, ('bright', 'nice', 'pretty', 'beautiful'))} {wish.new}" if rng.random() < 0.04 else wish.new


_COLOURED = (
    " and make it {c}", " and paint it {c}", " in {c}", ", a {c} one", ", and color it {c}", ", {c} please",
    " which is {c}", " that is {c}", ", but {c}", " of {c} color",
)  # fmt: skip
_LINKS = ("with", "with", "with", "wearing", "in", "that has", "who wears", "which wears", "having")
_DRESSED = (
    " and give it {n}", " and add {n}", " and put {n} on it", " with {n} on", ", and it should wear {n}", ", add {n}",
    " and let it wear {n}", " and it wears {n}", ", with {n}", ", then give it {n}", " plus {n}", " and also {n}",
    " and make it wear {n}", ". it needs {n} too", " and dress it in {n}", ". also add {n}",
)  # fmt: skip
ENDINGS = (*_COLOURED, *_LINKS, *_DRESSED)


def _coming(rng: np.random.Generator, request: Request) -> tuple[str, str]:
    """What comes, and what is said of it at the end of the sentence."""
    new = request.wish.new
    if request.colour:
        if rng.random() < 0.7:
            return introduced(rng, f"{request.colour} {new}"), ""
        return introduced(rng, new), _any(rng, _COLOURED).format(c=request.colour)
    if not request.parts:
        return introduced(rng, new, many=request.wish.many), ""
    worn_things = " and ".join(introduced(rng, part_phrase(p)) for p in request.parts)
    if rng.random() < 0.6:
        link = _any(rng, _LINKS)
        return f"{introduced(rng, new)} {link} {worn_things}", ""
    return introduced(rng, new), _any(rng, _DRESSED).format(n=worn_things)


def _core(rng: np.random.Generator, kind: str) -> str:
    roll = rng.random()
    core = _any(rng, IMPERATIVES[kind] if roll < 0.25 else COMPOSED[kind] if roll < 0.5 else SENTENCES[kind])
    if roll < 0.07:
        _, rest = core.split(" ", 1)
        if kind in ("change", "recolour", "add") or rest not in ("{r}", "{r} "):
            # The words around it tell what an unknown verb means.
            core = f"{unknown.verb(rng)} {rest}" if kind != "mix" else core
    return core


def _dressed(rng: np.random.Generator, core: str, ending: str = "", change: bool = False, **slots: str) -> str:
    """The sentence with what people say before and after it."""
    text = _contracted(rng, core.format(**slots) + ending)
    if rng.random() < 0.08:
        # As in a telegram.
        text = re.sub(r"\b(?:the|an?) ", "", text)
    roll = rng.random()
    if core.split()[0] in _STARTS and roll < 0.4:
        text = f"{_any(rng, OPENINGS)} {text}"
    elif roll < 0.12:
        text = f"{_any(rng, PREFIXES)} {text}"
    if rng.random() < 0.02:
        text = f"{unknown.invented(rng)}, {text}"
    if rng.random() < 0.22:
        tail = _any(rng, INSTEAD if change and rng.random() < 0.3 else TAILS)
        text += tail if tail.startswith(",") else f" {tail}"
    elif rng.random() < 0.02:
        text += f" {_any(rng, ('for my', 'for the', 'before the', 'because of the', 'for'))} {unknown.word(rng)}"
    return text + _any(rng, ("", "", "", "", "", ".", ".", "!", "?", "...", "!!", "?!"))


_STARTS = {core.split()[0] for cores in IMPERATIVES.values() for core in cores} | {"get", "let", "have"}


def refused(rng: np.random.Generator) -> str:
    """Return a request that has no answer."""
    roll = rng.random()
    if roll < 0.28:
        return _with_unknown(rng)
    if roll < 0.36:
        r = named(rng, sample_wish(rng).reference if rng.random() < 0.5 else _any(rng, NOUNS))
        return _dressed(rng, _core(rng, "recolour"), r=r, c=unknown.colour(rng))
    if roll < 0.6:
        return _dressed(rng, _filled(rng, unknown.ATTRIBUTES))
    if roll < 0.76:
        return _dressed(rng, _filled(rng, unknown.GLOBAL))
    if roll < 0.88:
        first, second = sample_request(rng), sample_request(rng)
        if not {*_nouns(first)} & {*_nouns(second)}:
            link = _any(rng, (" and ", " and then ", ", ", ", and ", ". ", " and also ", "; ", ", then "))
            return f"{words(rng, first)}{link}{words(rng, second)}"
    if roll < 0.92:
        # What it shall become is what it is.
        noun = _any(rng, ANIMALS)
        return _dressed(rng, _core(rng, "change"), r=named(rng, noun), n=introduced(rng, noun))
    salad = [_any(rng, _SALAD) for _ in range(int(rng.integers(2, 8)))]
    for _ in range(int(rng.integers(0, 3))):
        salad.insert(int(rng.integers(len(salad) + 1)), named(rng, _any(rng, NOUNS)))
    return " ".join(salad)


_SALAD = (
    tuple(sorted({w for cores in CORES.values() for core in cores for w in core.split() if w.isalpha()}))
    + unknown.NOUNS
)


def _nouns(request: Request) -> Sequence[str]:
    return [w for w in request.wish.reference.split() if w in NOUNS or w in WEARABLES or w.endswith("s")]


def _filled(rng: np.random.Generator, of: Sequence[str]) -> str:
    first, second = (str(n) for n in rng.permutation(NOUNS)[:2])
    r = named(rng, sample_wish(rng).reference if rng.random() < 0.4 else first)
    slots = {
        "r": r,
        "s": named(rng, second),
        "n": introduced(rng, _any(rng, NOUNS)),
        "m": introduced(rng, _any(rng, NOUNS)),
    }
    template = _any(rng, of)
    if template in ("put {n} on the grass", "i want {n}", "{n}", "{n} please", "add {n}") and rng.random() < 0.5:
        slots["n"] = introduced(rng, _any(rng, WEARABLES))
    return unknown.fill(rng, template, **slots)


def _with_unknown(rng: np.random.Generator) -> str:
    wish = sample_wish(rng)
    kind = wish.kind
    r = named(rng, wish.reference, many=wish.many)
    n = wish.new if kind == "recolour" else introduced(rng, wish.new, many=wish.many) if wish.new else ""
    roll = rng.random()
    if kind in ("remove", "recolour") or roll < 0.4:
        what = unknown.thing(rng)
        size = _any(rng, ("", "", "", "bigger ", "smaller ", "left ", "two ", "big "))
        r = f"{_any(rng, ('the', 'the', 'the', 'my', 'that', ''))} {size}{what}".strip()
    elif roll < 0.9:
        n = unknown.introduced(rng)
    else:
        link = _any(rng, ("with", "and", "on", "in", "next to", "from", "of", "holding"))
        n = f"{n} {link} {unknown.introduced(rng)}"
    return _dressed(rng, _core(rng, kind), r=r, n=n, c=wish.new)


def _typed(rng: np.random.Generator, text: str) -> str:
    """The instruction as typed: sometimes with errors."""
    return mistyped(rng, text, 1 + int(rng.integers(4))) if rng.random() < _MISTYPED else text


def _any(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]
