"""Instructions written by hand, as people type them, with their right answers: test sets for language models.

No phrase of them is in any training: ``tests/data/test_phrasings.py`` compares them with every template of the
generator. An instruction without answers asks for what the drawn world has no words for, and a refusal is right.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from instructedit.language.base import LanguageProcessor
from instructedit.language.parse import Parsed
from instructedit.types import StageError

PHRASINGS = Path(__file__).with_name("phrasings.jsonl")
"""150 instructions, whose wrong answers were read while the training's grammar was widened."""
UNREAD = Path(__file__).with_name("phrasings_unread.jsonl")
"""60 instructions, written before a model answered them. Their answers are never printed one by one, so that the set
stays independent of the grammar."""
Grade = Literal["right", "wrong", "refused"]
GRADES: tuple[Grade, ...] = ("right", "wrong", "refused")


@dataclass(frozen=True)
class Phrasing:
    """An instruction and what a language processor may answer."""

    instruction: str
    answers: tuple[tuple[str, str, str], ...]
    """Every right answer: segmentation prompt, input caption, edited caption. Empty where a refusal is right."""

    def grade(self, given: Parsed | StageError) -> Grade:
        """Grade one answer; ``refused`` is a failure on an instruction that has an answer."""
        if isinstance(given, StageError):
            return "refused" if self.answers else "right"
        outputs = (given.segmentation_prompt, given.captions.input, given.captions.edited)
        return "right" if tuple(text.lower() for text in outputs) in self.answers else "wrong"


@cache
def phrasings(path: Path = PHRASINGS) -> tuple[Phrasing, ...]:
    """Return a set, in the order of its file."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return tuple(Phrasing(line["instruction"], tuple(map(tuple, line["answers"]))) for line in lines)


def graded(language: LanguageProcessor, path: Path = PHRASINGS) -> list[tuple[Phrasing, Parsed | StageError, Grade]]:
    """Return every phrasing with what a language processor answers, without a description, and its grade."""
    asked = phrasings(path)
    given = language.parse([p.instruction for p in asked], [None] * len(asked))
    return [(p, answer, p.grade(answer)) for p, answer in zip(asked, given, strict=True)]


def shares(grades: Sequence[Grade]) -> dict[str, float]:
    """Return the share of each grade, as ``phrasings_right``, ``phrasings_wrong`` and ``phrasings_refused``."""
    counts = Counter(grades)
    return {f"phrasings_{grade}": counts[grade] / len(grades) for grade in GRADES}
