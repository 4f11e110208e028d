"""Check a benchmark's folder completely, with every problem at once, before anything is edited."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.benchmarks.base import Benchmark, load_benchmark
from eval.benchmarks.schema import Entry, collected
from instructedit.images import load_image
from instructedit.types import ConfigError, Sample, StageError


@dataclass(frozen=True)
class Checked:
    """The result of :func:`check`."""

    problems: tuple[str, ...]
    """One line each, with the file, the line, the key and what is accepted."""
    benchmark: Benchmark | None
    """None if the folder cannot be read."""


def check(folder: Path, reader: str | None = None, masks: Path | None = None) -> Checked:
    """Read a folder as a run does, and open every picture that it names.

    A reader notes all its problems if it uses :mod:`eval.benchmarks.schema`; of other readers, the first one is found.

    Args:
        folder: The benchmark's folder.
        reader: See :func:`eval.benchmarks.base.load_benchmark`.
        masks: Likewise.
    """
    with collected() as found:
        try:
            benchmark = load_benchmark(folder, reader=reader, masks=masks)
        except ConfigError as error:
            return Checked(tuple(dict.fromkeys((*found.lines, str(error)))), None)
    # A reader may look at a wrong key twice.
    lines, entries = list(dict.fromkeys(found.lines)), found.entries
    if len(entries) != len(benchmark.samples):  # of a reader without entries
        entries = [Entry(folder, f"sample {sample.id}", {}) for sample in benchmark.samples]
    for sample, entry in zip(benchmark.samples, entries, strict=True):
        lines += [str(entry.error(key, reason)) for key, reason in _unusable(sample, folder.resolve())]
    return Checked(tuple(lines), benchmark)


def _unusable(sample: Sample, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the key and the problem of each picture that cannot be used."""
    size: tuple[int, int] | None = None
    for key, path in (
        ("image", sample.image),
        ("truth.mask", sample.truth.mask),
        ("truth.edited", sample.truth.edited),
    ):
        if path is None or path == Path():  # absent, or noted by the reader
            continue
        try:
            image = load_image(path)
        except StageError as error:
            yield key, str(error).replace(f"{folder}/", "")
            continue
        if key == "image":
            size = image.size
        elif size is not None and image.size != size:
            yield key, f"{path.name}: {_pixels(image.size)}; {_pixels(size)} are expected, the size of the picture"


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]} pixels"


def summarized(benchmark: Benchmark) -> list[str]:
    """Return what a benchmark has, in lines such as ``categories: single 2, same 1``."""
    samples = benchmark.samples
    pictures = len({sample.image for sample in samples})
    truths: dict[str, list[Any]] = {
        "mask": [s.truth.mask for s in samples],
        "reference edit": [s.truth.edited for s in samples],
        "referring expression": [s.truth.referred for s in samples],
        "target": [s.truth.target for s in samples],
    }
    having = {name: sum(value is not None for value in values) for name, values in truths.items()}
    variations = [len(s.variations) for s in samples]
    fewest, most = min(variations), max(variations)
    return [
        f"{benchmark.name}: {len(samples)} samples of {pictures} pictures",
        f"categories: {_counted(s.category for s in samples)}",
        f"edits: {_counted(s.edit for s in samples)}",
        f"captions: {sum(s.captions is not None for s in samples)} of {len(samples)}",
        "ground truth: " + ", ".join(f"{name} {count} of {len(samples)}" for name, count in having.items()),
        f"paraphrases: {fewest if fewest == most else f'{fewest} to {most}'} of each instruction",
    ]


def _counted(values: Iterable[str]) -> str:
    return ", ".join(f"{value or 'none'} {count}" for value, count in Counter(values).items())
