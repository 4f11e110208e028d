"""Typing errors: letters that are swapped, dropped, doubled, or hit beside the right key."""

from functools import cache

import numpy as np

from data.picturebook.phrases import plural
from data.picturebook.world import COLOURS, SPRITES

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEIGHBOURS = {
    letter: "".join(row[max(0, i - 1) : i] + row[i + 1 : i + 2]) for row in _ROWS for i, letter in enumerate(row)
}
_MIN_LETTERS = 3


@cache
def _known() -> frozenset[str]:
    return frozenset([*SPRITES, *map(plural, SPRITES), *COLOURS])


def mistyped(rng: np.random.Generator, text: str, errors: int) -> str:
    """Return ``text`` with at most so many words mistyped, none of them into another word of the drawn world."""
    words = text.split(" ")
    for _ in range(errors):
        at = int(rng.integers(len(words)))
        if words[at].isalpha() and len(words[at]) >= _MIN_LETTERS:
            wrong = _mistyped(rng, words[at].lower())
            if wrong not in _known():
                words[at] = wrong
    return " ".join(words)


def _mistyped(rng: np.random.Generator, word: str) -> str:
    at, roll = int(rng.integers(len(word))), rng.random()
    # A short word keeps its letters: "cat" without one is hardly a cat any more.
    if roll < 0.4 or (len(word) <= _MIN_LETTERS and roll < 0.75):
        at = min(at, len(word) - 2)
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if roll < 0.6 or len(word) <= _MIN_LETTERS:
        return word[: at + 1] + word[at:]
    if roll < 0.8:
        return word[:at] + word[at + 1 :]
    near = _NEIGHBOURS.get(word[at], word[at])
    return word[:at] + near[int(rng.integers(len(near)))] + word[at + 1 :]
