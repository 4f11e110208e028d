"""English for the hard-coded parser: articles, plurals, colours, and words that only locate an object."""

import re

_COLOURS = (
    "red orange yellow green blue purple violet pink brown black white grey gray golden gold silver beige turquoise "
    "cyan magenta blond blonde"
).split()
_SHADE = r"(?:(?:light|dark|bright|pale|deep|hot|navy|sky|olive) )?"
COLOUR = rf"{_SHADE}(?:{'|'.join(_COLOURS)})"
"""A pattern for the name of a colour: "pink", "dark blue"."""

_PLURALS = set("people men women children feet teeth mice geese".split())
_UNCOUNTABLE = set(
    "hair fur grass snow water sand ice fire smoke wood metal gold silver rice bread cheese "
    "spring summer autumn fall winter night".split()
)
_VOWEL = re.compile(r"(?!uni|use|eu|one\b)[aeiou]")
_SINGULAR_ENDINGS = ("ss", "us", "is")
_DETERMINER = re.compile(r"(?:(?:all|both) )?(?:the|an?|my|your|his|her|its|our|their|this|that|these|those|some) ")
_FINDING_BEFORE = re.compile(
    r"(?:(?:very )?(?:(?:bigg|small|larg|tall|short)(?:er|est)|left|right|middle|leftmost|rightmost|"
    r"upper|lower|first|second|third|other|only) )+"
)
_FINDING_AFTER = re.compile(
    r" (?:on|to|at|in) the (?:(?:far )?(?:left|right)|middle|cent(?:er|re)|top|bottom|front|back(?:ground)?|foreground|"
    r"(?:top|bottom|upper|lower)[ -](?:left|right))(?: side)?$"
)
_HEAD_ENDS = re.compile(r" (?:with|of|in|on|at|under|behind|near|from|that|who|which|and) ")


def without_colour(phrase: str) -> str:
    """Remove colours: "white scarf" -> "scarf"."""
    return re.sub(rf"\b{COLOUR} ", "", phrase)


def without_determiner(phrase: str) -> str:
    """Remove the determiner: "the bigger cat" -> "bigger cat"."""
    return _DETERMINER.sub("", phrase, count=1) if _DETERMINER.match(phrase) else re.sub(r"^(all|both) ", "", phrase)


def bare(phrase: str) -> str:
    """Remove the words that only locate an object: "bigger cat", "cat on the left" -> "cat"."""
    noun = _FINDING_AFTER.sub("", phrase)
    return _FINDING_BEFORE.sub("", noun, count=1) if _FINDING_BEFORE.match(noun) else noun


def is_bare_noun(phrase: str) -> bool:
    """Return whether a phrase takes no indefinite article: a plural or an uncountable noun."""
    words = _HEAD_ENDS.split(phrase, maxsplit=1)[0].split()
    head = words[-1] if words else ""
    if head in _PLURALS | _UNCOUNTABLE:
        return True
    return head.endswith("s") and not head.endswith(_SINGULAR_ENDINGS)


def article(phrase: str) -> str:
    """Prepend "a" or "an" if the phrase takes an indefinite article."""
    if is_bare_noun(phrase):
        return phrase
    return f"{_article_of(phrase)} {phrase}"


def like(phrase: str, model: str) -> str:
    """Return the replacement of ``model`` with its article: in the user's grammatical number, else in ``model``'s."""
    plain = without_determiner(phrase)
    if re.match(r"an? ", phrase):
        return f"{_article_of(plain)} {plain}"
    if plain == phrase and is_bare_noun(bare(model)):
        return plain
    return article(plain)


def _article_of(phrase: str) -> str:
    return "an" if _VOWEL.match(phrase) else "a"
