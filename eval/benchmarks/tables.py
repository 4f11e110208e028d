"""Benchmarks published as tables with the pictures inside: Parquet or Arrow files of the ``datasets`` library."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eval.benchmarks.schema import Entry, quoted
from instructedit.checkpoints import files_hash
from instructedit.files import write_aside
from instructedit.types import ConfigError

_INDEX = "pictures.json"
_ENDINGS = {b"\x89PNG": ".png", b"\xff\xd8": ".jpg", b"RIFF": ".webp"}
"""Endings of picture files by their first bytes, for programs that go by the name."""


@dataclass(frozen=True)
class Table:
    """The files of a table in their order, and their rows without the pictures."""

    folder: Path
    files: tuple[Path, ...]
    revision: str
    """Hash of the files."""
    entries: tuple[Entry, ...]
    """One per row, with the texts and numbers of the columns that were asked for."""

    def pictures(self, column: str, extracted: Path | None) -> list[Path]:
        """Return the path of each row's picture; pictures are extracted once for each revision.

        Args:
            column: A column of pictures, as ``datasets`` stores them: ``bytes`` and ``path``.
            extracted: The folder to extract to.

        Raises:
            ConfigError: A row has no picture, or there is no folder to extract to.
        """
        if extracted is None:
            raise ConfigError(
                f"{self.folder}: the pictures are inside the table, and no folder is given to extract them"
            )
        target = extracted / f"{self.revision}-{column}"
        try:
            names = json.loads((target / _INDEX).read_bytes())
        except (OSError, ValueError):
            names = self._extract(column, target)
        return [target / name for name in names]

    def _extract(self, column: str, target: Path) -> list[str]:
        names: list[str] = []
        for entry, (row,) in zip(self.entries, _rows(self.files, (column,)), strict=True):
            data = row.get("bytes") if isinstance(row, Mapping) else None
            if not data:
                raise entry.error(column, "no picture; one stored in the table is expected")
            ending = next((e for start, e in _ENDINGS.items() if data.startswith(start)), ".png")
            names.append(f"{len(names):05d}{ending}")
            with write_aside(target / names[-1]) as file:
                file.write(data)
        # Last, so that an interrupted extraction is done again.
        with write_aside(target / _INDEX) as file:
            file.write(json.dumps(names).encode())
        return names


def read_table(folder: Path, pattern: str, columns: Sequence[str], pictures: Sequence[str], expected: str) -> Table:
    """Read the texts and numbers of a table.

    Args:
        folder: The benchmark's folder.
        pattern: Glob pattern of the files, at any depth, such as ``test-*.parquet``.
        columns: Columns to read.
        pictures: Columns of pictures, whose presence is checked.
        expected: Describes the expected folder and its source, for messages.

    Raises:
        ConfigError: There are no such files, or they cannot be read or lack a column.
    """
    files = tuple(sorted(p for p in folder.rglob(pattern) if not any(q.startswith(".") for q in p.parts[-2:])))
    if not files:
        raise ConfigError(f"{folder}: no {pattern} there; {expected}")
    for file in files:
        names = _schema(file)
        if missing := [name for name in (*columns, *pictures) if name not in names]:
            raise ConfigError(f"{file}: no column {', '.join(missing)}; there are {', '.join(map(quoted, names))}")
    rows = _rows(files, columns)
    entries = tuple(
        Entry(files[0].parent, f"row {number}", dict(zip(columns, row, strict=True))) for number, row in enumerate(rows)
    )
    return Table(folder, files, files_hash(folder, files), entries)


def _schema(file: Path) -> list[str]:
    try:
        if file.suffix == ".parquet":
            return [str(name) for name in pq.read_schema(file).names]
        with pa.memory_map(str(file)) as source:
            return [str(name) for name in pa.ipc.open_stream(source).schema.names]
    except (OSError, pa.ArrowInvalid) as error:
        raise ConfigError(f"{file}: cannot be read ({str(error).splitlines()[0]})") from None


def _rows(files: Sequence[Path], columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    for file in files:
        for batch in _batches(file, columns):
            yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)


def _batches(file: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    try:
        if file.suffix == ".parquet":
            with pq.ParquetFile(file) as parquet:
                yield from parquet.iter_batches(64, columns=list(columns))
            return
        with pa.memory_map(str(file)) as source:
            for batch in pa.ipc.open_stream(source):
                yield batch.select(list(columns))
    except (OSError, pa.ArrowInvalid) as error:
        raise ConfigError(f"{file}: cannot be read ({str(error).splitlines()[0]})") from None
