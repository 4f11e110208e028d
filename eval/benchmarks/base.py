"""Benchmarks: samples to edit, read from a folder in one of several formats and addressed by their content."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from eval.benchmarks.packed import unpack
from instructedit.files import located
from instructedit.types import ConfigError, Sample

MANIFEST = "manifest.jsonl"
READERS = {
    MANIFEST: "eval.benchmarks.manifest.read",
    "manifest.csv": "eval.benchmarks.manifest.read",
    "mapping_file.json": "eval.benchmarks.pie_bench.read",
    "edit_turns.json": "eval.benchmarks.magicbrush.read",
    "input_list.json": "eval.benchmarks.tedbench.read",
    "basic_edit.json": "eval.benchmarks.imgedit.read",
    "gie_bench.json": "eval.benchmarks.gie_bench.read",
}
"""Readers by the index file of a folder, used if the configuration names no reader."""


@dataclass(frozen=True)
class Benchmark:
    """Samples to edit, with name and revision."""

    name: str
    """Name of the folder, or of the published benchmark."""
    revision: str
    """SHA-256, in hex, over the manifest and the content of every file that it names. It always covers the whole
    benchmark, so that a run with a limit can be continued without it."""
    samples: tuple[Sample, ...]
    variation: int = 0
    """Paraphrase of the instructions: 0 is the instruction itself, k its k-th paraphrase."""

    @property
    def images(self) -> dict[str, str]:
        """The ``image_id`` of each sample by sample id, for statistics; a sample without one gets its own id."""
        return {s.id: s.image_id or s.id for s in self.samples}

    def worded(self, variation: int) -> "Benchmark":
        """Return the benchmark with the ``variation``-th paraphrase as instruction of each sample; 0 is unchanged.

        Raises:
            ConfigError: A sample has no such paraphrase; the message names the first one.
        """
        if variation == 0:
            return self
        for sample in self.samples:
            if not 0 < variation <= len(sample.variations):
                raise ConfigError(
                    f"variation={variation}: sample {sample.id} of benchmark {self.name} has {len(sample.variations)}; "
                    f"accepted are 0 (the instruction itself) to {len(sample.variations)}"
                )
        paraphrased = (replace(s, instruction=s.variations[variation - 1]) for s in self.samples)
        return replace(self, samples=tuple(paraphrased), variation=variation)


Reader = Callable[[Path, Path | None], Benchmark]
"""Reads a folder completely. The second argument is the folder to which a reader writes ground-truth masks that were
not published as PNG, and pictures that were published inside tables, named by their content; if None, such masks are
omitted and such pictures refused."""


def load_benchmark(
    folder: Path, limit: int | None = None, reader: str | None = None, masks: Path | None = None
) -> Benchmark:
    """Read and validate a benchmark; packed pictures are unpacked first (:mod:`eval.benchmarks.packed`).

    A missing or damaged picture is not an error here; its sample fails when the picture is read.

    Args:
        folder: The benchmark's folder.
        limit: Number of samples to take, from the first; None takes all.
        reader: Dotted path of a :data:`Reader` in any package that can be imported; None selects one by the files in
            the folder (:data:`READERS`).
        masks: A folder for decoded masks, see :data:`Reader`.

    Returns:
        The benchmark.

    Raises:
        ConfigError: The benchmark is not valid. The one-line message names the file, the line, the key and the accepted
            values.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"limit={limit}: a whole number of at least 1 is accepted, or null for all samples")
    matching = (path for index, path in READERS.items() if (folder / index).is_file())
    path = reader or next(matching, READERS[MANIFEST])
    read = _imported(path)
    unpack(folder)
    try:
        benchmark = read(folder, masks)
    except ConfigError:
        raise
    # A reader may be third-party code and raise anything; as a ConfigError, the report can handle it.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"benchmark.reader={path}: {folder}: {type(error).__name__}: {reason}") from error
    if not isinstance(benchmark, Benchmark):
        raise ConfigError(
            f"benchmark.reader={path}: it returned {benchmark!r:.80}; an eval.benchmarks.base.Benchmark is expected"
        )
    return replace(benchmark, samples=tuple(_with_image_ids(benchmark.samples[:limit])))


def _with_image_ids(samples: Iterable[Sample]) -> Iterator[Sample]:
    """Yield the samples with an ``image_id``: the benchmark's, or the hash of the picture's file."""
    hashes: dict[Path, str] = {}
    for sample in samples:
        if not sample.image_id and sample.image.is_file():
            if sample.image not in hashes:
                hashes[sample.image] = _content(sample.image).hex()[:16]
            sample = replace(sample, image_id=hashes[sample.image])
        yield sample


def configured(benchmark: Mapping[str, Any], results: Path, limit: int | None = None) -> Benchmark:
    """Read the benchmark that a run's configuration names.

    Args:
        benchmark: The configuration's ``benchmark``, with ``folder`` and optionally ``reader``.
        results: The results folder, whose cache holds decoded masks.
        limit: See :func:`load_benchmark`.

    Raises:
        ConfigError: See :func:`load_benchmark`.
    """
    masks = results / "cache" / "true_masks"
    return load_benchmark(located(str(benchmark["folder"])), limit, benchmark.get("reader"), masks)


def revision(manifest: bytes, files: Iterable[Path | None]) -> str:
    """Return the SHA-256, in hex, over a manifest and the content of files. None is skipped; a missing file counts."""
    total = hashlib.sha256(hashlib.sha256(manifest).digest())
    for path in files:
        if path is not None:
            total.update(_content(path))
    return total.hexdigest()


def _imported(path: str) -> Reader:
    module, _, name = path.rpartition(".")
    try:
        function = getattr(import_module(module), name)
    # Importing runs third-party code, which may raise anything.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"benchmark.reader={path}: {reason}; a function's dotted path is expected") from error
    if not callable(function):
        raise ConfigError(f"benchmark.reader={path}: not a function; a function's dotted path is expected")
    return function


def _content(path: Path) -> bytes:
    # Opening a named pipe would block, so it counts as missing.
    if not path.is_file():
        return b"missing"
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return b"unreadable"
