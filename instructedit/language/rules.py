"""Hard-coded parser, the paper's ablation of the language processor (§4.4)."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from instructedit.language.base import quote
from instructedit.language.parse import NoEditError, Parsed, require_edit
from instructedit.language.words import COLOUR, article, bare, like, without_colour, without_determiner
from instructedit.types import Captions, Stage, StageError

_VERSION = 2
"""Version of the grammar; increase it when the parse of any instruction changes."""

_POLITE = re.compile(
    r"(?:please|now|let's|(?:can|could|would|will) you(?: please)?|"
    r"i(?: would|'d) like(?: you)? to|i want(?: you)? to|in (?:the|this) (?:picture|photo|image)),? "
)
_NO_THINGS = ("photo", "picture", "image", "scene", "left", "right", "middle", "left side", "right side")
_PRONOUNS = ("it", "them", "this", "that", "these", "those", "he", "she", "him", "her", "one")

# The article separates the new object from the words before it; "the" does not, as in "on the left".
_GIVEN = r"(?P<new>(?:an?|some) .+)"
_OLD = r"(?P<old>.+?)"
# An object that ends in one of these words was split at the wrong place: "the cat on" + "the left".
_UNFINISHED = re.compile(r"(?:.* )?(?:a|an|the|and|of|on|in|to|with|for|from|into)")
_GRAMMAR: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "mix",
        (
            rf"(?:mix|blend|combine|merge|cross|fuse) {_OLD} (?:with|and|into) (?P<new>.+)",
            rf"(?:make|turn) {_OLD} (?:into )?an? (?:mix|blend|cross|hybrid) (?:with|of it and) (?P<new>.+)",
            rf"make {_OLD} half (?P<new>.+)",
        ),
    ),
    (
        "remove",
        (
            rf"(?:remove|delete|erase|get rid of|take away|take out) {_OLD}"
            r"(?: (?:from|in|out of) (?:the|this) (?:picture|photo|image))?",
            rf"(?:take|clear) {_OLD} (?:away|out)",
            rf"(?:make|let) {_OLD} (?:disappear|vanish)",
        ),
    ),
    (
        "recolour",
        (
            rf"(?:colou?r|paint|dye|tint) {_OLD} (?:in )?(?P<colour>{{colour}})",
            rf"(?:change|turn|make) the colou?r of {_OLD} (?:in)?(?:to )?(?P<colour>{{colour}})",
            rf"(?:change|turn|make) {_OLD} (?:(?:in)?to )?(?P<colour>{{colour}})",
            rf"give {_OLD} an? (?P<colour>{{colour}}) colou?r",
        ),
    ),
    (
        "change",
        (
            rf"(?:put|draw|place|add) (?P<new>.+?) (?:instead|in place) of {_OLD}",
            rf"(?:change|turn|transform|convert|morph) {_OLD} (?:in)?to (?P<new>.+)",
            rf"(?:replace|swap|exchange|substitute) {_OLD} (?:with|by|for) (?P<new>.+)",
            rf"make {_OLD} (?:look like|into) (?P<new>.+)",
            rf"let {_OLD} (?:become|be) {_GIVEN}",
        ),
    ),
    (
        "add",
        (
            rf"add (?P<new>.+?) to {_OLD}",
            rf"(?:put|place|draw|add) (?P<new>.+?) on(?:to)? {_OLD}",
            rf"(?:make|let) {_OLD} (?:wear|have) (?P<new>.+)",
            rf"dress {_OLD} (?:with|in) (?P<new>.+)",
            rf"give {_OLD} {_GIVEN}",
            rf"give {_OLD} (?P<new>(?:{{colour}} )?\S+s)",
        ),
    ),
    ("change", (rf"make {_OLD} {_GIVEN}",)),
)
"""Patterns are tried from top to bottom; "make X Y" is last because it also matches "make X wear Y"."""

ACCEPTED = (
    '"change the X to Y", "replace the X with Y", "color the X pink", "add Y to the X", "give the X Y", '
    '"remove the X", "mix the X with Y"'
)


@dataclass(frozen=True)
class _Wish:
    kind: str
    old: str
    """The object to edit, without its article: "bigger cat"."""
    new: str
    """The new object or colour in the user's words: "a lion", "pink"; empty for a removal."""


class RulesLanguage:
    """A small grammar of English instructions. It needs no model and ignores descriptions."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Everything that the answers depend on."""
        return {"backend": "rules", "version": _VERSION}

    def parse(self, instructions: Sequence[str], descriptions: Sequence[str | None]) -> list[Parsed | StageError]:
        """Parse a batch; see :class:`instructedit.language.base.LanguageProcessor`."""
        return [_parse(instruction) for instruction, _ in zip(instructions, descriptions, strict=True)]


def _parse(instruction: str) -> Parsed | StageError:
    wish = _understand(instruction)
    if wish is None:
        return StageError(Stage.LANGUAGE, f"the rules cannot parse {quote(instruction)}; they accept {ACCEPTED}")
    if wish.old in _PRONOUNS:
        return StageError(
            Stage.LANGUAGE, f'the rules cannot know what "{wish.old}" is in {quote(instruction)}; name the thing'
        )
    if wish.old in _NO_THINGS:
        return StageError(Stage.LANGUAGE, f'the rules edit things, and "{wish.old}" in {quote(instruction)} is none')
    before, after = _ANSWERS[wish.kind](wish)
    captions = Captions(input=f"photo of {before}", edited=f"photo of {after}")
    try:
        require_edit(captions)
    except NoEditError as error:
        return StageError(Stage.LANGUAGE, f"{error}; the instruction was {quote(instruction)}")
    reply = (
        f'Segmentation prompt: {wish.old}. Editing prompt 1: "{captions.input}". Editing prompt 2: "{captions.edited}".'
    )
    return Parsed(wish.old, captions, reply)


def _understand(instruction: str) -> _Wish | None:
    text = " ".join(instruction.lower().replace('"', "").split()).rstrip(" .!?")
    while polite := _POLITE.match(text):
        text = text[polite.end() :]
    for kind, patterns in _GRAMMAR:
        for pattern in patterns:
            match = re.fullmatch(pattern.replace("{colour}", COLOUR), text)
            if match and not _UNFINISHED.fullmatch(match["old"]):
                parts = match.groupdict()
                old = without_determiner(parts["old"])
                return _Wish(kind, old, parts.get("colour") or parts.get("new") or "")
    return None


def _change(wish: _Wish) -> tuple[str, str]:
    return article(bare(wish.old)), like(wish.new, wish.old)


def _recolour(wish: _Wish) -> tuple[str, str]:
    thing = bare(wish.old)
    return article(thing), article(f"{wish.new} {without_colour(thing)}")


def _add(wish: _Wish) -> tuple[str, str]:
    before = article(bare(wish.old))
    return before, f"{before} with {article(without_determiner(wish.new))}"


def _remove(wish: _Wish) -> tuple[str, str]:
    return article(bare(wish.old)), "an empty background"


def _mix(wish: _Wish) -> tuple[str, str]:
    before = article(bare(wish.old))
    return before, f"a mix of {before} and {article(without_determiner(wish.new))}"


_ANSWERS: dict[str, Callable[[_Wish], tuple[str, str]]] = {
    "change": _change,
    "recolour": _recolour,
    "add": _add,
    "remove": _remove,
    "mix": _mix,
}
