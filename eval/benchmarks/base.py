"""Benchmarks: samples to edit, read from a folder in one of several formats and addressed by their content."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from instructedit.types import ConfigError, Sample

MANIFEST = "manifest.jsonl"
READERS = {
    MANIFEST: "eval.benchmarks.manifest.read",
    "manifest.csv": "eval.benchmarks.manifest.read",
    "mapping_file.json": "eval.benchmarks.pie_bench.read",
    "edit_turns.json": "eval.benchmarks.magicbrush.read",
    "input_list.json": "eval.benchmarks.tedbench.read",
}
"""What reads a folder, by the file that such a folder has: for those who are handed a folder and nothing else."""


@dataclass(frozen=True)
class Benchmark:
    """Samples to edit, and what they are."""

    name: str
    """Of its folder; of the project, where the format is a published benchmark's."""
    revision: str
    """SHA-256, in hex, over the manifest and the content of every file that it names; the whole benchmark's, whatever
    the limit, so that a run over a few samples can be continued over all of them."""
    samples: tuple[Sample, ...]
    variation: int = 0
    """Which paraphrase of the instructions: 0 is the instruction itself, k its k-th variation."""

    @property
    def images(self) -> dict[str, str]:
        """The image of each sample by sample id, for statistics; a sample without an ``image_id`` shares none."""
        return {s.id: s.image_id or s.id for s in self.samples}

    def worded(self, variation: int) -> "Benchmark":
        """The same samples, each asked for in its ``variation``-th other words; 0 leaves them as they are.

        Raises:
            ConfigError: names the first sample that has no such variation.
        """
        if variation == 0:
            return self
        for sample in self.samples:
            if not 0 < variation <= len(sample.variations):
                raise ConfigError(
                    f"variation={variation}: sample {sample.id} of benchmark {self.name} has {len(sample.variations)}; "
                    f"accepted are 0 (the instruction itself) to {len(sample.variations)}"
                )
        worded = (replace(s, instruction=s.variations[variation - 1]) for s in self.samples)
        return replace(self, samples=tuple(worded), variation=variation)


Reader = Callable[[Path, Path | None], Benchmark]
"""Reads the whole of a folder. The second folder is for true masks that were published as something else than pictures
of black and white: a reader writes them there, named by their content; None leaves them out."""


def load_benchmark(
    folder: Path, limit: int | None = None, reader: str | None = None, masks: Path | None = None
) -> Benchmark:
    """Read a benchmark, and check all of it before anything is edited.

    A picture that is missing or damaged is no error here: it fails that one sample when it is read.

    Args:
        folder: Where the benchmark lies.
        limit: Take the first so many samples only; None takes all.
        reader: Dotted path of a :data:`Reader`, in ``eval.formats`` or in any package that can be imported; None goes
            by the files in the folder (:data:`READERS`).
        masks: A folder for decoded masks, see :data:`Reader`.

    Returns:
        The benchmark.

    Raises:
        ConfigError: In one line that names the file, the line, the key and what is accepted.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"limit={limit}: a whole number of at least 1 is accepted, or null for all samples")
    found = (path for index, path in READERS.items() if (folder / index).is_file())
    chosen = reader or next(found, READERS[MANIFEST])
    read = _imported(chosen)
    try:
        whole = read(folder, masks)
    except ConfigError:
        raise
    # A reader may be other people's code: the report goes on without the pictures, whatever it raises.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"benchmark.reader={chosen}: {folder}: {type(error).__name__}: {reason}") from error
    if not isinstance(whole, Benchmark):
        raise ConfigError(
            f"benchmark.reader={chosen}: it returned {whole!r:.80}; an eval.benchmarks.base.Benchmark is expected"
        )
    return replace(whole, samples=tuple(_with_image_ids(whole.samples[:limit])))


def _with_image_ids(samples: Iterable[Sample]) -> Iterator[Sample]:
    """The samples, each with an ``image_id``: the format's own, or the hash of its picture's file."""
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
        benchmark: The configuration's ``benchmark``: ``folder``, and perhaps ``reader``.
        results: The results folder, whose cache holds decoded masks.
        limit: See :func:`load_benchmark`.

    Raises:
        ConfigError: See :func:`load_benchmark`.
    """
    masks = results / "cache" / "true_masks"
    return load_benchmark(Path(str(benchmark["folder"])), limit, benchmark.get("reader"), masks)


def revision(manifest: bytes, files: Iterable[Path | None]) -> str:
    """SHA-256, in hex, over a manifest and the content of files, None left out; that one is missing counts too."""
    total = hashlib.sha256(hashlib.sha256(manifest).digest())
    for path in files:
        if path is not None:
            total.update(_content(path))
    return total.hexdigest()


def _imported(path: str) -> Reader:
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    # Importing runs other people's code: whatever it raises, the request named it.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"benchmark.reader={path}: {reason}; a function's dotted path is expected") from error
    if not callable(found):
        raise ConfigError(f"benchmark.reader={path}: not a function; a function's dotted path is expected")
    return found


def _content(path: Path) -> bytes:
    # is_file first: a named pipe would be waited on for ever.
    if not path.is_file():
        return b"missing"
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return b"unreadable"
