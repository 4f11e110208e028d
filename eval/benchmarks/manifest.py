"""User-supplied pictures: a folder with ``manifest.jsonl`` or ``manifest.csv``.

A sample's line has ``image`` and ``instruction``, and may have ``id``, ``variations`` (a list), ``captions`` (``input``
and ``edited``), ``category``, ``edit``, ``image_id`` and ``truth`` (``mask``, ``edited``, ``referred``, ``target``).
Paths are relative to the folder. ``image_id`` is equal for samples that are not independent, such as the frames of a
video; by default, samples with equal picture files share one.

In a CSV, the first row names the columns, in any order: ``image``, ``instruction``, and optionally others of
:data:`COLUMNS`. Paraphrases are in ``variation_1``, ``variation_2``, ... An empty cell means that the field is absent.
In both, a sample without an ``id`` is named after its picture's file, without the ending.
"""

import codecs
import csv
import io
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.benchmarks.base import MANIFEST, Benchmark, revision
from eval.benchmarks.schema import Entry, as_id, distinct, kind, noted, read_bytes, unrepeated
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
    if os.path.lexists(folder / CSV):
        if os.path.lexists(manifest):
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
        id=_identity(entry),
        image=entry.path("image"),
        instruction=entry.text("instruction"),
        variations=entry.texts("variations"),
        captions=Captions(captions.text("input"), captions.text("edited")) if captions else None,
        category=entry.optional("category") or "",
        edit=entry.optional("edit") or "",
        truth=_truth(truth) if truth else Truth(),
        image_id=entry.optional("image_id") or "",
    )


def _identity(entry: Entry) -> str:
    # An empty id counts as absent, as other optional texts do.
    if entry.fields.get("id") not in (None, ""):
        return entry.identity("id")
    return as_id(Path(str(entry.fields.get("image") or "")).stem)


def _truth(entry: Entry) -> Truth:
    return Truth(
        mask=entry.optional_path("mask"),
        edited=entry.optional_path("edited"),
        referred=entry.optional("referred"),
        target=entry.optional("target"),
    )


def _lines(data: bytes, manifest: Path) -> Iterator[Entry]:
    # str.splitlines would also split at U+2028, which JSON strings may contain.
    for number, line in enumerate(_as_utf_8(data, manifest).split(b"\n"), start=1):
        entry = _Line(manifest, number).parse(line) if line.strip() else None
        if entry is not None:
            yield entry


@dataclass(frozen=True)
class _Line:
    manifest: Path
    number: int

    def entry(self, fields: dict[str, Any]) -> Entry:
        return Entry(self.manifest, f"line {self.number}", fields)

    def parse(self, line: bytes) -> Entry | None:
        try:
            value = json.loads(line.decode(), object_pairs_hook=self._object)
        except (ValueError, RecursionError) as error:
            noted(self.entry({}).error("line", f"no JSON object in UTF-8 ({error})"))
            return None
        if not isinstance(value, dict):
            noted(self.entry({}).error("line", f"a JSON object is expected, not {kind(value)}"))
            return None
        return self.entry(value)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return unrepeated(pairs, self.entry({}).error)


def _as_utf_8(data: bytes, manifest: Path) -> bytes:
    """Return a manifest without a byte order mark; UTF-16, which spreadsheets also write, is a problem."""
    if not data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.removeprefix(codecs.BOM_UTF8)
    noted(ConfigError(f"{manifest}: text in UTF-16; UTF-8 is accepted"))
    return data.decode("utf-16", errors="replace").encode()


def _rows(data: bytes, manifest: Path) -> Iterator[Entry]:
    data = _as_utf_8(data, manifest)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        noted(ConfigError(f"{manifest}: line {line}: no text in UTF-8 ({error}); UTF-8 is accepted"))
        text = data.decode("latin-1")
    delimiter = _delimiter(text, manifest)
    table = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    try:
        header = _header([name.strip() for name in next(table, [])], manifest)
        if not {"image", "instruction"} <= set(header):
            return
        columns = {key: name for name, key in COLUMNS.items()}
        columns |= {f"variations[{k}]": f"variation_{k + 1}" for k in range(_variations(header))}
        for cells in table:
            if not any(cell.strip() for cell in cells):  # spreadsheets export empty rows
                continue
            place = f"line {table.line_num}"
            if len(cells) != len(header):
                message = f"{len(cells)} cells; {len(header)} are expected, as many as columns"
                noted(Entry(manifest, place, {}).error("row", message))
                continue
            yield Entry(manifest, place, _nested(dict(zip(header, cells, strict=True))), columns=columns)
    except csv.Error as error:
        noted(ConfigError(f"{manifest}: line {table.line_num}: no CSV with commas ({error})"))


def _delimiter(text: str, manifest: Path) -> str:
    """Return a comma; another delimiter is a problem, and is returned so that the columns can be checked."""
    first = text.partition("\n")[0]
    other = next((mark for mark in ";\t|" if mark in first and "," not in first), None)
    if other is not None:
        noted(ConfigError(f"{manifest}: line 1: columns are separated by {other!r}; ',' is accepted"))
    return other or ","


def _header(names: list[str], manifest: Path) -> list[str]:
    """Check the names of the columns, and return them in the case that is accepted."""
    header = []
    for name in names:
        lower = name.lower()
        is_known = lower in COLUMNS or _VARIATION.fullmatch(lower)
        if not is_known:
            accepted = f"{', '.join(COLUMNS)}, variation_1 to variation_99, separated by commas"
            noted(ConfigError(f"{manifest}: column {name!r}: unknown; accepted are {accepted}"))
        elif name != lower:
            noted(ConfigError(f"{manifest}: column {name!r}: {lower!r} is accepted, in lower case"))
        header.append(lower if is_known else name)
    for name in dict.fromkeys(header):
        if header.count(name) > 1:
            noted(ConfigError(f"{manifest}: column {name!r}: repeated; it is accepted once"))
    variations = [f"variation_{k}" for k in range(1, 1 + _variations(header))]
    for name in ("image", "instruction", *variations):
        if name not in header:
            noted(ConfigError(f"{manifest}: column {name!r}: missing; the first row names the columns"))
    return header


def _nested(row: dict[str, str]) -> dict[str, Any]:
    """Return a row's cells in the structure of a line of ``manifest.jsonl``, without empty cells."""
    cells = {name: cell.strip() for name, cell in row.items()}
    fields: dict[str, Any] = {"image": "", "instruction": ""}
    for name, key in COLUMNS.items():
        outer, _, inner = key.partition(".")
        if cells.get(name):
            (fields.setdefault(outer, {}) if inner else fields)[inner or outer] = cells[name]
    paraphrases = [cells.get(f"variation_{k}", "") for k in range(1, 1 + _variations(cells))]
    while paraphrases and not paraphrases[-1]:
        paraphrases.pop()
    return fields | {"variations": paraphrases}


def _variations(names: Iterable[str]) -> int:
    return sum(_VARIATION.fullmatch(name) is not None for name in names)
