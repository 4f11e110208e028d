"""User-supplied pictures: a folder with ``manifest.jsonl`` or ``manifest.csv``.

A sample's line has ``id``, ``image`` and ``instruction``, and may have ``variations`` (a list), ``captions`` (``input``
and ``edited``), ``category``, ``edit``, ``image_id`` and ``truth`` (``mask``, ``edited``, ``referred``, ``target``).
Paths are relative to the folder. ``image_id`` is equal for samples that are not independent, such as the frames of a
video; by default, samples with equal picture files share one.

In a CSV, the first row names the columns, in any order: ``image``, ``instruction``, and optionally others of
:data:`COLUMNS`. Paraphrases are in ``variation_1``, ``variation_2``, ... An empty cell means that the field is absent.
Without an ``id``, a sample is named after its picture's file, without the ending.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.benchmarks.base import MANIFEST, Benchmark, revision
from eval.benchmarks.schema import Entry, as_id, distinct, kind, read_bytes
from instructedit.types import Captions, ConfigError, Sample, Truth

CSV = "manifest.csv"
COLUMNS = {
    "id": "id",
    "image": "image",
    "instruction": "instruction",
    "input_caption": "captions.input",
    "edited_caption": "captions.edited",
    "category": "category",
    "edit": "edit",
    "image_id": "image_id",
    "mask": "truth.mask",
    "edited_image": "truth.edited",
    "referred": "truth.referred",
    "target": "truth.target",
}
"""Columns of ``manifest.csv``, and the corresponding keys of ``manifest.jsonl``."""

_SAMPLE_KEYS = ("id", "image", "instruction", "variations", "captions", "category", "edit", "truth", "image_id")
_CAPTION_KEYS = ("input", "edited")
_TRUTH_KEYS = ("mask", "edited", "referred", "target")
_VARIATION = re.compile(r"variation_([1-9]\d?)")


def read(folder: Path, masks: Path | None = None) -> Benchmark:
    """Read a folder with exactly one of the two manifests; the benchmark is named after the folder.

    Raises:
        ConfigError: The manifest is not valid. The one-line message names the file, the line, the key and the accepted
            values.
    """
    manifest = folder / MANIFEST
    if (folder / CSV).is_file():
        if manifest.is_file():
            raise ConfigError(f"{folder}: both {MANIFEST} and {CSV} are there; one of them is accepted")
        manifest = folder / CSV
    data = read_bytes(manifest, f"a benchmark is a folder with {MANIFEST} or {CSV}, and its pictures")
    entries = _rows(data, manifest) if manifest.name == CSV else _lines(data, manifest)
    samples = tuple(distinct((entry, _sample(entry)) for entry in entries))
    if not samples:
        expected = "one row per sample below the column names" if manifest.name == CSV else "one JSON object per line"
        raise ConfigError(f"{manifest}: no samples; {expected} is expected")
    files = (path for s in samples for path in (s.image, s.truth.mask, s.truth.edited))
    return Benchmark(folder.resolve().name, revision(data, files), samples)


def _sample(entry: Entry) -> Sample:
    entry.known(_SAMPLE_KEYS)
    captions = entry.nested("captions", _CAPTION_KEYS)
    truth = entry.nested("truth", _TRUTH_KEYS)
    return Sample(
        id=entry.identity("id"),
        image=entry.path("image"),
        instruction=entry.text("instruction"),
        variations=entry.texts("variations"),
        captions=Captions(captions.text("input"), captions.text("edited")) if captions else None,
        category=entry.optional("category") or "",
        edit=entry.optional("edit") or "",
        truth=_truth(truth) if truth else Truth(),
        image_id=entry.optional("image_id") or "",
    )


def _truth(entry: Entry) -> Truth:
    return Truth(
        mask=entry.optional_path("mask"),
        edited=entry.optional_path("edited"),
        referred=entry.optional("referred"),
        target=entry.optional("target"),
    )


def _lines(data: bytes, manifest: Path) -> Iterator[Entry]:
    # str.splitlines would also split at U+2028, which JSON strings may contain.
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if line.strip():
            yield _Line(manifest, number).parse(line)


@dataclass(frozen=True)
class _Line:
    manifest: Path
    number: int

    def entry(self, fields: dict[str, Any]) -> Entry:
        return Entry(self.manifest, f"line {self.number}", fields)

    def parse(self, line: bytes) -> Entry:
        try:
            value = json.loads(line.decode(), object_pairs_hook=self._object)
        except (ValueError, RecursionError) as error:
            raise self.entry({}).error("line", f"no JSON object in UTF-8 ({error})") from None
        if not isinstance(value, dict):
            raise self.entry({}).error("line", f"a JSON object is expected, not {kind(value)}")
        return self.entry(value)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            repeated = next(key for index, (key, _) in enumerate(pairs) if key in dict(pairs[:index]))
            raise self.entry({}).error(repeated, "repeated; it is accepted once")
        return value


def _rows(data: bytes, manifest: Path) -> Iterator[Entry]:
    try:
        text = io.StringIO(data.decode("utf-8-sig"), newline="")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{manifest}: no text in UTF-8 ({error})") from None
    table = csv.reader(text, strict=True)
    try:
        header = [name.strip() for name in next(table, [])]
        _check_header(header, manifest)
        columns = {key: name for name, key in COLUMNS.items()}
        columns |= {f"variations[{k}]": f"variation_{k + 1}" for k in range(_variations(header))}
        for cells in table:
            if not any(cell.strip() for cell in cells):  # spreadsheets export empty rows
                continue
            place = f"line {table.line_num}"
            if len(cells) != len(header):
                message = f"{len(cells)} cells; {len(header)} are expected, as many as columns"
                raise Entry(manifest, place, {}).error("row", message)
            yield Entry(manifest, place, _nested(dict(zip(header, cells, strict=True))), columns=columns)
    except csv.Error as error:
        raise ConfigError(f"{manifest}: line {table.line_num}: no CSV with commas ({error})") from None


def _check_header(header: list[str], manifest: Path) -> None:
    for name in header:
        if name not in COLUMNS and not _VARIATION.fullmatch(name):
            accepted = f"{', '.join(COLUMNS)}, variation_1 to variation_99, separated by commas"
            raise ConfigError(f"{manifest}: column {name!r}: unknown; accepted are {accepted}")
        if header.count(name) > 1:
            raise ConfigError(f"{manifest}: column {name!r}: repeated; it is accepted once")
    variations = [f"variation_{k}" for k in range(1, 1 + _variations(header))]
    for name in ("image", "instruction", *variations):
        if name not in header:
            raise ConfigError(f"{manifest}: column {name!r}: missing; the first row names the columns")


def _nested(row: dict[str, str]) -> dict[str, Any]:
    """Return a row's cells in the structure of a line of ``manifest.jsonl``, without empty cells."""
    cells = {name: cell.strip() for name, cell in row.items()}
    fields: dict[str, Any] = {"image": "", "instruction": ""}
    for name, key in COLUMNS.items():
        outer, _, inner = key.partition(".")
        if cells.get(name):
            (fields.setdefault(outer, {}) if inner else fields)[inner or outer] = cells[name]
    fields.setdefault("id", as_id(Path(fields["image"]).stem) or "_")
    paraphrases = [cells[f"variation_{k}"] for k in range(1, 1 + _variations(cells))]
    while paraphrases and not paraphrases[-1]:
        paraphrases.pop()
    return fields | {"variations": paraphrases}


def _variations(names: Iterable[str]) -> int:
    return sum(_VARIATION.fullmatch(name) is not None for name in names)
