"""TEdBench (Kawar et al., Imagic, CVPR 2023): 100 pairs of a picture and a target text.

Its folder has ``input_list.json`` and the pictures under ``originals/``, as in the project's repository.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eval.benchmarks.base import Benchmark, revision
from eval.benchmarks.schema import Entry, as_id, distinct, entry_of, kind, read_json
from instructedit.types import ConfigError, Sample

EXPECTED = (
    "benchmark.folder= names TEdBench's folder, with input_list.json and originals/; "
    "the project gives it out: https://github.com/imagic-editing/imagic-editing.github.io"
)


def read(folder: Path, masks: Path | None = None) -> Benchmark:
    """Read all pairs, in the order of their file; ids are the names of the project's own results.

    TEdBench has neither instructions nor captions of its inputs. The target text is used as the instruction, although
    it describes the edited image and not the edit. There are no captions, so caption-conditioned methods are refused.

    Raises:
        ConfigError: The file is not valid. The one-line message names the file, the item, the key and the accepted
            values.
    """
    file = folder / "input_list.json"
    data, pairs = read_json(file, EXPECTED)
    if not isinstance(pairs, list) or not pairs:
        raise ConfigError(f"{file}: a list of pairs is expected, not {'an empty one' if pairs == [] else kind(pairs)}")
    samples = tuple(distinct(_samples(file, pairs)))
    return Benchmark("tedbench", revision(data, (s.image for s in samples)), samples)


def _samples(file: Path, pairs: list[Any]) -> Iterator[tuple[Entry, Sample]]:
    for number, value in enumerate(pairs, start=1):
        entry = entry_of(file, f"item {number}", value)
        if entry is None:
            continue
        name, text = entry.text("img_name"), entry.text("target_text")
        identity = as_id(f"{name}-{text.rstrip('.')}") if name and text else ""
        yield entry, Sample(id=identity, image=entry.path("img_name", "originals"), instruction=text)
