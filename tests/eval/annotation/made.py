"""Small studies without models: pictures of random colours, and answers that give the paper's percentages."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from eval.annotation.study import Protocol, UserStudy, Visitor
from eval.annotation.triplets import Edited, Triplets
from instructedit.types import Sample

METHODS = ("mdp", "instruct_pix2pix", "diffedit")
ATTACK = "Change the <script>document.title='hacked'</script> & \"cat\" to a lion"
PUBLISHED = {"mdp": (249, 181), "instruct_pix2pix": (262, 179), "diffedit": (269, 178)}
"""Answers and preferences for InstructEdit that round to the percentages of the paper, 780 answers in all."""


def triplets(count: int, methods: Sequence[str] = METHODS, side: int = 16) -> Iterator[Triplets]:
    """Yield samples ``s0``, ``s1``, ..., two of which always share an image; the first instruction is an attack."""
    random = np.random.default_rng(0)

    def picture() -> Image.Image:
        return Image.fromarray(random.integers(0, 256, (side, side, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1))

    for i in range(count):
        sample = Sample(f"s{i}", Path(f"{i}.png"), f"Change thing {i}" if i else ATTACK, image_id=f"i{i // 2}")
        baselines = tuple(Edited(method, f"run-{method}", picture()) for method in methods)
        edited = Edited("instructedit", "run-instructedit", picture())
        yield Triplets(sample, sample.instruction, sample.image_id, picture(), edited, baselines)


def study(path: Path, count: int = 6, checks: int = 2, samples: int | None = None) -> UserStudy:
    """Return a study that has begun."""
    made = UserStudy(path)
    made.begin(Protocol("tiny", "instructedit", samples, checks, "Which?", "Yes."), triplets(count))
    return made


def join(made: UserStudy, visit: str, checks: int = 2, samples: int | None = None) -> str:
    """Return the token of a participant outside Prolific."""
    return made.join(Visitor(visit), samples, checks)


def as_published() -> pd.DataFrame:
    """Return answers of 26 people on 30 edits that give the paper's 72.7, 68.3 and 66.2 %."""
    random = np.random.default_rng(0)
    baselines, preferred = [], []
    for name, (n, k) in PUBLISHED.items():
        baselines += [name] * n
        preferred += list(random.permutation([True] * k + [False] * (n - k)))
    order = random.permutation(len(baselines))
    sides = random.choice(["left", "right"], len(order))
    rows = [
        {
            "participant": f"w{place // 30}", "sample_id": f"s{place % 30}", "reference": "instructedit",
            "baseline": baselines[at], "side": side,
            "choice": side if preferred[at] else {"left": "right", "right": "left"}[side],
        }
        for place, (at, side) in enumerate(zip(order, sides, strict=True))
    ]  # fmt: skip
    return pd.DataFrame(rows)
