"""Which images a participant of the study sees, in which order and on which sides (paper, appendix E.4)."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import TypeVar

T = TypeVar("T")
LEFT, RIGHT = "left", "right"
SIDES = (LEFT, RIGHT)
Shown = Mapping[tuple[int, int, str], int]
"""How often earlier participants saw a sample with a baseline and the reference on a side."""


@dataclass(frozen=True)
class Item:
    """One page of a participant: an input and two edited images."""

    sample: int
    baseline: int
    """The baseline's edit of the sample."""
    reference_side: str
    """Where the reference's edit is: one of :data:`SIDES`."""
    check_side: str | None = None
    """The side that an attention check asks for; None if the item is no check."""


def assign(
    baselines: Mapping[int, Mapping[str, int]], shown: Shown, samples: int | None, checks: int, random: Random
) -> list[Item]:
    """Return the pages of a new participant, in random order.

    The samples and, for each sample, the baseline are those that were shown least; the reference is on the left in half
    of the items (of an odd number, one more or less), preferably where it was on the left least. All ties are broken at
    random. Attention checks have random pictures and are at random places, but not at the first.

    Args:
        baselines: The baselines' edits by sample, and by method.
        shown: What earlier participants saw.
        samples: Number of samples; None takes all.
        checks: Number of attention checks.
        random: Source of randomness, such as :class:`random.SystemRandom`.
    """
    by_edit, by_sample = Counter[tuple[int, int]](), Counter[int]()
    for (sample, baseline, _), count in shown.items():
        by_edit[sample, baseline] += count
        by_sample[sample] += count
    chosen = sorted(_shuffled(baselines, random), key=lambda s: by_sample[s])[:samples]
    pairs: list[tuple[int, int]] = []
    own: Counter[str] = Counter()
    for sample in _shuffled(chosen, random):
        methods = _shuffled(baselines[sample], random)
        method = min(methods, key=lambda m: (by_edit[sample, baselines[sample][m]], own[m]))
        own[method] += 1
        pairs.append((sample, baselines[sample][method]))
    # The pairs in which the reference was on the left least are first; the sort is stable and the pairs are shuffled.
    pairs.sort(key=lambda pair: shown.get((*pair, LEFT), 0) - shown.get((*pair, RIGHT), 0))
    lefts = (len(pairs) + random.randrange(2)) // 2
    found = [Item(*pair, LEFT if place < lefts else RIGHT) for place, pair in enumerate(pairs)]
    random.shuffle(found)
    for _ in range(checks if found else 0):
        sample, baseline = random.choice(pairs)
        check = Item(sample, baseline, random.choice(SIDES), random.choice(SIDES))
        found.insert(random.randint(1, len(found)), check)
    return found


def _shuffled(values: Iterable[T], random: Random) -> list[T]:
    shuffled = list(values)
    random.shuffle(shuffled)
    return shuffled
