"""Repair of a run's folder after a crash or a full disk, under the run's lock.

Derived files (``metrics.parquet``, ``cards.json``, ``config.yaml``) are removed if they are damaged, and the run writes
them again. Lines and files that cannot be computed again are moved to ``<name>.damaged``. Each repair is logged once.
"""

import hashlib
import io
import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from eval.runs.provenance import Manifest
from eval.runs.records import METRICS, from_line
from instructedit.files import remove_leftovers, write_aside

log = logging.getLogger(__name__)
SIGNATURE = b"checksum_of_this_file"
"""Key of the checksum in the metadata of ``metrics.parquet``."""
_UNSIGNED = b"0" * 64
"""Zeros that stand for the checksum while it is computed."""
DAMAGED = ".damaged"
"""Suffix of files with what could not be read."""


def format_metrics(frame: pd.DataFrame) -> bytes:
    """Return the content of ``metrics.parquet``: Parquet whose metadata holds a checksum of the whole file.

    Parquet's own checksums are of pages only, and a flipped bit elsewhere can change a value.
    """
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({**table.schema.metadata, SIGNATURE: _UNSIGNED})
    file = io.BytesIO()
    pq.write_table(table, file)
    data = file.getvalue()
    return data.replace(_UNSIGNED, _signature(data), 1)


def _signature(unsigned: bytes) -> bytes:
    return hashlib.sha256(unsigned).hexdigest().encode()


def parse_metrics(path: Path) -> pd.DataFrame:
    """Read ``metrics.parquet``.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is damaged.
    """
    try:
        data = path.read_bytes()
        signature = (pq.read_metadata(io.BytesIO(data)).metadata or {}).get(SIGNATURE)
        frame = pd.read_parquet(io.BytesIO(data))
    except FileNotFoundError:
        raise
    except Exception as error:  # for damaged files, pyarrow raises many types
        raise ValueError(_flat(error)) from None
    # Files of earlier versions have no checksum; a damaged file may have lost where it stands.
    if SIGNATURE in data and (signature is None or signature != _signature(data.replace(signature, _UNSIGNED, 1))):
        raise ValueError("checksum differs")
    if missing := [column for column in METRICS if column not in frame.columns]:
        raise ValueError(f"it lacks the columns {', '.join(missing)}")
    return frame


def parse_cards(path: Path) -> dict[str, Mapping[str, Any]]:
    """Read ``cards.json``.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is damaged.
    """
    cards = json.loads(path.read_bytes())
    if not isinstance(cards, dict) or not all(isinstance(card, dict) for card in cards.values()):
        raise ValueError("an object of cards is expected")
    return cards


def parse_config(path: Path) -> tuple[str, dict[str, Any]]:
    """Read ``config.yaml`` as text and parsed.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is damaged.
    """
    text = path.read_text(encoding="utf-8")
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(_flat(error)) from None
    if not isinstance(config, dict):
        raise ValueError("a mapping is expected")
    return text, config


def repair(folder: Path) -> None:
    """Repair what is damaged in a run's folder; hold the run's lock."""
    remove_leftovers([folder, folder / "images", folder / "masks"])
    _repair_samples(folder / "samples.jsonl")
    for name, parse in (("metrics.parquet", parse_metrics), ("cards.json", parse_cards), ("config.yaml", parse_config)):
        if reason := _damage(folder / name, parse):
            (folder / name).unlink()
            log.warning("%s: damaged and written again (%s)", folder / name, reason)
    manifest = folder / "manifest.json"
    if reason := _damage(manifest, lambda path: Manifest.from_json(path.read_bytes())):
        aside = manifest.with_name(manifest.name + DAMAGED)
        os.replace(manifest, aside)
        log.warning("%s: damaged, moved to %s and begun again (%s)", manifest, aside.name, reason)


def _damage(path: Path, parse: Callable[[Path], object]) -> str | None:
    try:
        parse(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return _flat(error)
    return None


def _repair_samples(path: Path) -> None:
    """Cut off a line that a killed writer left incomplete, and move damaged lines aside."""
    data = path.read_bytes() if path.is_file() else b""
    whole = data[: data.rfind(b"\n") + 1]
    lines = whole.split(b"\n")[:-1]
    damaged = [number for number, line in enumerate(lines, start=1) if not _is_record(line)]
    if damaged:
        aside = path.with_name("samples" + DAMAGED)
        with aside.open("ab") as file:
            file.write(b"".join(lines[number - 1] + b"\n" for number in damaged))
            file.flush()
            os.fsync(file.fileno())
        with write_aside(path) as file:
            file.write(b"".join(line + b"\n" for number, line in enumerate(lines, start=1) if number not in damaged))
        numbers = ", ".join(map(str, damaged))
        log.warning("%s: damaged lines (%s) are moved to %s; their samples are done again", path, numbers, aside.name)
    elif len(whole) < len(data):
        os.truncate(path, len(whole))


def _is_record(line: bytes) -> bool:
    try:
        from_line(line)
    except ValueError:
        return False
    return True


def _flat(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
