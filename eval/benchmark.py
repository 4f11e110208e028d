"""Benchmarks: a folder with a manifest and its pictures, read into samples and addressed by their content."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from instructedit.types import Captions, ConfigError, Sample, Truth

MANIFEST = "manifest.jsonl"
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_SAMPLE_KEYS = ("id", "image", "instruction", "variations", "captions", "category", "edit", "truth")
_CAPTION_KEYS = ("input", "edited")
_TRUTH_KEYS = ("mask", "edited", "referred", "target")


@dataclass(frozen=True)
class Benchmark:
    """Samples to edit, and what they are."""

    name: str
    """Of its folder."""
    revision: str
    """SHA-256, in hex, over the manifest and the content of every file that it names; the whole benchmark's, whatever
    the limit, so that a run over a few samples can be continued over all of them."""
    samples: tuple[Sample, ...]
    variation: int = 0
    """Which wording of the instructions: 0 is the instruction itself, k its k-th variation."""

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


def load_benchmark(folder: Path, limit: int | None = None) -> Benchmark:
    """Read ``manifest.jsonl``, one sample a line, and check all of it before anything is edited.

    A sample's line has ``id``, ``image`` and ``instruction``, and may have ``variations`` (a list), ``captions``
    (``input`` and ``edited``), ``category``, ``edit`` and ``truth`` (``mask``, ``edited``, ``referred``, ``target``).
    Paths are relative to the folder. A picture that is missing or damaged is no error here: it fails that one sample
    when it is read.

    Args:
        folder: The benchmark's folder.
        limit: Take the first so many samples only; None takes all.

    Returns:
        The benchmark.

    Raises:
        ConfigError: In one line that names the file, the line, the key and what is accepted.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"limit={limit}: a whole number of at least 1 is accepted, or null for all samples")
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise ConfigError(f"{folder}: no {MANIFEST} there; a benchmark is a folder with {MANIFEST} and its pictures")
    try:
        data = manifest.read_bytes()
    except OSError as error:
        raise ConfigError(f"{manifest}: cannot be read ({error.strerror})") from None
    samples = tuple(_samples(data, manifest))
    if not samples:
        raise ConfigError(f"{manifest}: no samples; one JSON object a line is expected")
    return Benchmark(folder.resolve().name, _revision(data, samples), samples[:limit])


def _revision(manifest: bytes, samples: tuple[Sample, ...]) -> str:
    total = hashlib.sha256(hashlib.sha256(manifest).digest())
    for sample in samples:
        for path in (sample.image, sample.truth.mask, sample.truth.edited):
            if path is not None:
                total.update(_content(path))
    return total.hexdigest()


def _content(path: Path) -> bytes:
    # is_file first: a named pipe would be waited on for ever.
    if not path.is_file():
        return b"missing"
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return b"unreadable"


def _samples(data: bytes, manifest: Path) -> Iterator[Sample]:
    seen: dict[str, int] = {}
    # Split by \n alone: str.splitlines would also split at U+2028, which may stand inside a JSON string.
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        reader = _Reader(manifest, number)
        sample = reader.sample(reader.parse(line))
        # Two ids that differ by case only would be one file on some disks.
        first = seen.setdefault(sample.id.lower(), number)
        if first != number:
            raise reader.error("id", f"{sample.id!r} is taken by line {first}; ids differ, not only by case")
        yield sample


@dataclass(frozen=True)
class _Reader:
    """Reads one line, and knows where it stands when something is wrong."""

    manifest: Path
    number: int

    def error(self, key: str, message: str) -> ConfigError:
        return ConfigError(f"{self.manifest}: line {self.number}: {key}: {message}")

    def parse(self, line: bytes) -> dict[str, Any]:
        try:
            value = json.loads(line.decode(), object_pairs_hook=self._object)
        except (ValueError, RecursionError) as error:
            raise self.error("line", f"no JSON object in UTF-8 ({error})") from None
        if not isinstance(value, dict):
            raise self.error("line", f"a JSON object is expected, not {_kind(value)}")
        return value

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            twice = next(key for index, (key, _) in enumerate(pairs) if key in dict(pairs[:index]))
            raise self.error(twice, "stands twice; once is accepted")
        return value

    def sample(self, line: Mapping[str, Any]) -> Sample:
        self._known(line, _SAMPLE_KEYS, "")
        identity = self._text(line, "id")
        if not _ID.fullmatch(identity):
            accepted = "1 to 128 letters (A-Z, a-z), digits, dots, - and _, no leading dot: it names files"
            raise self.error("id", f"{identity!r} is not accepted; {accepted}")
        truth = self._nested(line, "truth", _TRUTH_KEYS) or {}
        return Sample(
            id=identity,
            image=self._path(self._text(line, "image"), "image"),
            instruction=self._text(line, "instruction"),
            variations=self._texts(line, "variations"),
            captions=self._captions(line),
            category=self._optional(line, "category") or "",
            edit=self._optional(line, "edit") or "",
            truth=Truth(
                mask=self._optional_path(truth, "mask"),
                edited=self._optional_path(truth, "edited"),
                referred=self._optional(truth, "referred", "truth."),
                target=self._optional(truth, "target", "truth."),
            ),
        )

    def _captions(self, line: Mapping[str, Any]) -> Captions | None:
        captions = self._nested(line, "captions", _CAPTION_KEYS)
        if captions is None:
            return None
        return Captions(self._text(captions, "input", "captions."), self._text(captions, "edited", "captions."))

    def _known(self, line: Mapping[str, Any], accepted: tuple[str, ...], prefix: str) -> None:
        for key in line:
            if key not in accepted:
                raise self.error(prefix + key, f"unknown key; accepted are {', '.join(accepted)}")

    def _nested(self, line: Mapping[str, Any], key: str, accepted: tuple[str, ...]) -> dict[str, Any] | None:
        value = line.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.error(key, f"an object with {', '.join(accepted)} is expected, not {_kind(value)}")
        self._known(value, accepted, f"{key}.")
        return value

    def _text(self, line: Mapping[str, Any], key: str, prefix: str = "") -> str:
        if key not in line:
            raise self.error(prefix + key, "missing; a text is expected")
        return self._checked(line[key], prefix + key)

    def _optional(self, line: Mapping[str, Any], key: str, prefix: str = "") -> str | None:
        # Empty counts as absent here: spreadsheets turned into JSON have no other way to say so.
        return None if line.get(key) in (None, "") else self._checked(line[key], prefix + key)

    def _texts(self, line: Mapping[str, Any], key: str) -> tuple[str, ...]:
        value = line.get(key)
        if value is None:
            return ()
        if not isinstance(value, list):
            raise self.error(key, f"a list of texts is expected, not {_kind(value)}")
        return tuple(self._checked(item, f"{key}[{index}]") for index, item in enumerate(value))

    def _checked(self, value: Any, key: str) -> str:
        if not isinstance(value, str):
            raise self.error(key, f"a text is expected, not {_kind(value)}")
        if not value.strip():
            raise self.error(key, "empty; a text is expected")
        try:
            value.encode()
        except UnicodeEncodeError:  # half of a surrogate pair, which JSON's \u can write
            raise self.error(key, "no valid Unicode; a text is expected") from None
        return value

    def _optional_path(self, truth: Mapping[str, Any], key: str) -> Path | None:
        value = self._optional(truth, key, "truth.")
        return None if value is None else self._path(value, f"truth.{key}")

    def _path(self, text: str, key: str) -> Path:
        folder = self.manifest.parent.resolve()
        try:
            path = (folder / text).resolve()
        except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a zero byte
            raise self.error(key, f"{text!r} is no path ({error})") from None
        if Path(text).is_absolute() or not path.is_relative_to(folder) or path == folder:
            raise self.error(key, f"{text!r} leaves the benchmark's folder; a path inside it is expected")
        return path


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
