"""What the language model learns from: instructions as people type them, and the reply that is right.

Beside the exchanges of :mod:`data.picturebook.descriptions`, whose templates are few, it sees the sentences of
:mod:`data.picturebook.grammar`, two edits of one thing, typing errors, and requests that it shall refuse.
"""

from dataclasses import dataclass, replace

import numpy as np

from data.picturebook.descriptions import as_described, meant, sample_exchange, wish_about_a_picture
from data.picturebook.phrases import describe, unnamed
from data.picturebook.realisation import dressed, words
from data.picturebook.referring import introduced, one_of
from data.picturebook.refusals import refused
from data.picturebook.requested import Request, extended, sample_request
from data.picturebook.typing_errors import mistyped
from data.picturebook.world import sample_scene
from instructedit.language.parse import REFUSAL

# Shares of the lessons; the rest is wide phrasing without a description.
_NARROW, _REFUSED, _DESCRIBED = 0.18, 0.22, 0.3
_MISTYPED = 0.22


@dataclass(frozen=True)
class Lesson:
    """One exchange, ready to be learnt."""

    instruction: str
    description: str | None
    reply: str


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
    vague = unnamed(wish.reference, [t.noun for t in scene.things])
    owner = next((t.noun for t in scene.things if any(wish.reference.split()[-1] == p.noun for p in t.parts)), None)
    request = Request(wish, owner=owner)
    if wish.kind == "change" and not wish.many and owner is None and rng.random() < 0.12:
        request = extended(rng, request)
    if vague and rng.random() < 0.35:
        request = replace(request, wish=replace(wish, reference=vague))
        if wish.kind == "add" and rng.random() < 0.25:
            # Nobody is named who shall wear it; the picture tells.
            core = one_of(rng, ("add {n}", "put {n} on", "add {n} please", "{n} on top", "draw {n} on it"))
            said = dressed(rng, core, n=introduced(rng, wish.new))
            reply = request.answer_about(described).text() if meant(request.wish, described) else REFUSAL
            return Lesson(_typed(rng, said), describe(described), reply)
    return Lesson(_typed(rng, words(rng, request)), describe(described), request.answer_about(described).text())


def _typed(rng: np.random.Generator, text: str) -> str:
    """The instruction as typed: sometimes with errors."""
    return mistyped(rng, text, 1 + int(rng.integers(4))) if rng.random() < _MISTYPED else text
