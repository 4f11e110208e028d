"""Small cases to label, without runs."""

from collections.abc import Iterator
from pathlib import Path

from eval.analysis.components import COMPONENTS
from eval.annotation.cases import EDITED, MARKED, SOURCE, Case
from eval.annotation.label import LabelStore
from tests.eval.annotation.made import ATTACK, triplets


def cases(count: int) -> Iterator[Case]:
    """Yield cases; the method of every third has no language processor, and the first instruction is an attack."""
    for i, made in enumerate(triplets(count, ("mdp",))):
        pictures = {SOURCE: made.source, EDITED: made.reference.image, MARKED: made.baselines[0].image}
        asked = COMPONENTS if i % 3 else COMPONENTS[1:]
        texts = {"Segmentation prompt": f"<b>thing</b> {i}"} if i % 3 else {}
        text = ATTACK if not i else f"Change thing {i}"
        yield Case("v2-0", f"s{i}", made.image_id, text, texts, asked, pictures, f"{i}")


def store(path: Path, count: int = 10) -> LabelStore:
    """Return a file with cases."""
    made = LabelStore(path)
    assert made.add(cases(count)) == count
    return made
