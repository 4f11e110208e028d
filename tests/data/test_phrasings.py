"""The phrasings written by hand: that they are well formed, and that no training template makes one of them."""

import re
from functools import cache

import pytest

from data.picturebook import clothes_and_colours, grammar, impossible, patterns, realisation, sentences, unknown
from data.picturebook.phrases import HELD_OUT_TEMPLATES, plural
from data.picturebook.phrasings import PHRASINGS, UNREAD, phrasings
from data.picturebook.referring import OPINIONS, SYNONYMS
from data.picturebook.world import COLOURS, SPRITES

_KNOWN = [*SPRITES, *(s for words in SYNONYMS.values() for s in words)]
_NOUN = "|".join(sorted({*_KNOWN, *map(plural, _KNOWN)}, key=len, reverse=True))
_BEFORE = (
    "the|a|an|that|this|my|our|your|his|her|its|some|all|both|of|each|every|two|three|one|only|just|bigger|biggest|"
    "larger|largest|big|large|smaller|smallest|small|little|tiny|left|right|middle|leftmost|rightmost|first|last|pair|"
    + "|".join((*COLOURS, *OPINIONS))
)
_PLACE = r"(?: (?:on|at|to|in) the (?:far )?(?:left|right|middle|center)(?: side)?)?"
_THING = rf"(?:(?:{_BEFORE}) )*(?:{_NOUN})(?:'s (?:{_NOUN}))?{_PLACE}"
_IT = "it|this|that"
_WORN = rf"{_THING}(?: (?:with|wearing|in|and) {_THING})*"
_COLOUR = "|".join((*COLOURS, *unknown.COLOURS))
_UNKNOWN = "|".join({*unknown.NOUNS, *unknown.COLOURS})
_SLOTS = {
    "r": rf"(?:{_THING}|{_IT})",
    "s": _THING,
    "n": _WORN,
    "m": _WORN,
    "c": rf"(?:{_COLOUR})",
    "a": rf"(?:{'|'.join(unknown.ADJECTIVES)})",
    "u": rf"(?:(?:a|an) )?(?:{_UNKNOWN})",
    "k": rf"(?:{'|'.join(patterns.PEOPLE)})",
    "o": rf"(?:{_COLOUR}|{_THING})",
    "b": rf"(?:{_NOUN})",
    "w": rf"(?:{_NOUN})",
}


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^a-z0-9{}' +>=:]", " ", text.lower()).split())


def _any_of(options: tuple[str, ...]) -> str:
    return "|".join(sorted({re.escape(_plain(o)) for o in options} - {""}, key=len, reverse=True))


def cores(instruction: str) -> set[str]:
    """The instruction, and what is left of it without one or more openings and endings."""
    found, new = set[str](), {_plain(instruction)}
    while new:
        found |= new
        shorter = {text[m.end() :] for text in new if (m := _OPENING.match(text))}
        # An ending follows an edit, never a thing alone.
        ended = {text for text in (_ENDING.sub("", text) for text in new) if not re.fullmatch(_SLOTS["r"], text)}
        new = (shorter | ended | {_TAIL.sub("", text) for text in new}) - found - {""}
    return found


@cache
def pattern(template: str) -> str:
    """A regular expression for every instruction that a template makes."""
    plain = re.sub(r"\b(?:the|a|an) (?=\{)", "", _plain(template))
    return re.sub(r"\\\{(\w)\\\}", lambda slot: _SLOTS[slot[1]], re.escape(plain).replace(r"\ ", " "))


_TAIL = re.compile(rf" (?:{_any_of(sentences.TAILS + sentences.INSTEAD)})$")
_ENDING = re.compile(rf" (?:{'|'.join(map(pattern, (*realisation.COLOURED, *realisation.DRESSED)))})$")
_OPENING = re.compile(
    rf"(?:{_any_of(sentences.OPENINGS + sentences.PREFIXES)}|{'|'.join(map(pattern, sentences.MENTIONS))}) "
)
TEMPLATES = [
    *(core for cores in grammar.CORES.values() for core in cores),
    *(template for templates in HELD_OUT_TEMPLATES.values() for template in templates),
    *(template.replace("{a}", "{s}") for template in sentences.UNDRESSED),
    *unknown.ATTRIBUTES,
    *unknown.GLOBAL,
    *(
        template.replace("{a}", "{s}") if group is clothes_and_colours.TAKINGS else template
        for group in (
            clothes_and_colours.CHANGES_OF_CLOTHES,
            clothes_and_colours.OTHER_COLOURS,
            clothes_and_colours.TAKINGS,
            clothes_and_colours.FRAGMENTS,
            impossible.PATTERNS,
        )
        for each in group
        for template in patterns.expanded(each)
    ),
]
_LITERALS = [
    (template, [re.sub(r"\b(?:the|an?)$", "", text).strip() for text in re.split(r"\{\w\}", _plain(template))])
    for template in TEMPLATES
]
"""Each template with the words between its slots."""


def _may_make(literals: list[str], instruction: str) -> bool:
    """Whether the words between the slots stand in the instruction, in their order."""
    at = 0
    for words in literals:
        at = instruction.find(words, at)
        if at < 0:
            return False
        at += len(words)
    return instruction.startswith(literals[0]) and instruction.endswith(literals[-1])


def matches(instruction: str) -> list[str]:
    """The templates that make an instruction."""
    possible = cores(instruction)
    # The comparison of whole sentences is slow, and few templates need it.
    near = [(t, text) for t, literals in _LITERALS for text in possible if _may_make(literals, text)]
    return list(dict.fromkeys(t for t, text in near if re.fullmatch(pattern(t), text)))


ALL = (*phrasings(PHRASINGS), *phrasings(UNREAD))


@pytest.mark.parametrize(("path", "count"), [(PHRASINGS, 150), (UNREAD, 60)])
def test_the_set_is_well_formed(path, count):
    instructions = [p.instruction for p in phrasings(path)]
    assert len(instructions) == count
    assert len({_plain(p.instruction) for p in ALL}) == len(ALL)
    refused = sum(not p.answers for p in phrasings(path))
    assert 0.15 <= refused / count <= 0.2
    for phrasing in phrasings(path):
        for outputs in phrasing.answers:
            assert len(outputs) == 3
            assert outputs == tuple(text.lower() for text in outputs)
            assert outputs[1].startswith("photo of ")
            assert outputs[1] != outputs[2]


@pytest.mark.parametrize("phrasing", ALL, ids=lambda p: p.instruction)
def test_no_training_template_makes_a_phrasing(phrasing):
    assert matches(phrasing.instruction) == []


@pytest.mark.parametrize(
    "instruction",
    [
        "Change the cat to a lion",
        "could you please turn the bigger cat into a red car, thanks",
        "hey, i want the white scarf painted pink please!",
        "Is it possible to get rid of the lemon on the left",
        "add a hat and glasses to the bear",
        "The dog should be a tiger" if "tiger" not in unknown.NOUNS else "make the dog bigger",
        "change the background to snow",
        "what about replacing it with a panda",
    ],
)
def test_the_comparison_knows_what_a_template_makes(instruction):
    assert matches(instruction)
