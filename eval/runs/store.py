"""Results of one run on disk: never lost, never half written, addressed by what made them (DESIGN §3)."""

import contextlib
import datetime
import json
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from PIL import Image

from eval.runs.provenance import Manifest, Session, environment
from eval.runs.records import (
    EditRecord,
    FailureRecord,
    SampleRecord,
    from_line,
    record_of,
    records_equal_ignoring_timing,
    to_line,
)
from eval.runs.repair import parse_cards, parse_config, parse_metrics, repair
from instructedit.files import write_aside
from instructedit.images import is_whole_png, mask_image, save_png
from instructedit.types import ConfigError, EditResult, Failure, Sample

__all__ = ["RunStore", "records_equal_ignoring_timing"]

log = logging.getLogger(__name__)
T = TypeVar("T")


class RunStore:
    """The folder ``<root>/runs/<run_id>/``. Anyone may read it at any time; to write it, hold its :meth:`lock`.

    A sample's pictures are on the disk before the line that says it is done, and the line before :meth:`write`
    returns, so a kill at any moment loses at most the samples in flight.

    Args:
        root: The results folder.
        run_id: See :mod:`eval.runs.identity`.
    """

    def __init__(self, root: Path, run_id: str) -> None:
        self.root = root
        self.run_id = run_id
        self.folder = root / "runs" / run_id
        self._samples = self.folder / "samples.jsonl"
        self._manifest = self.folder / "manifest.json"
        self._metrics = self.folder / "metrics.parquet"
        self._cards = self.folder / "cards.json"
        self._config = self.folder / "config.yaml"
        self._is_locked = False
        self._records: dict[str, SampleRecord] = {}
        self._read_stamp: tuple[int, int] | None = None

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for writing; what is damaged is repaired first, see :mod:`eval.runs.repair`.

        Raises:
            ConfigError: If another process (or another store of this one) holds it. The lock of a process that died
                is free.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        # Beside the lock's file, whose content is filelock's own.
        holder = self.folder / ".holder"
        try:
            held = FileLock(self.folder / ".lock", timeout=0).acquire()
        except Timeout:
            name = holder.read_text() if holder.is_file() else "another process"
            raise ConfigError(f"run {self.run_id}: {name} is writing {self.folder}; wait for it") from None
        with held:
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
            self._is_locked = True
            try:
                repair(self.folder)
                yield
            finally:
                self._is_locked = False

    def begin(self, config: str, device: str, checkpoints: Mapping[str, str]) -> None:
        """Write down what runs now: ``config.yaml``, and one more session in ``manifest.json``.

        Args:
            config: The resolved configuration as YAML, without secrets.
            device: Such as ``cuda:0 (NVIDIA A100)``.
            checkpoints: Revision of each checkpoint id.
        """
        self._check_locked()
        with write_aside(self._config) as file:
            file.write(config.encode())
        session = Session(started=_now(), device=device, checkpoints=dict(checkpoints), **vars(environment()))
        self._write_manifest(*self.read_manifest().sessions, session)

    def finish(self) -> None:
        """Note in ``manifest.json`` that the session that :meth:`begin` opened has come to its end."""
        self._check_locked()
        *earlier, last = self.read_manifest().sessions
        self._write_manifest(*earlier, replace(last, finished=_now()))

    def read_manifest(self) -> Manifest:
        """``manifest.json``; without sessions before :meth:`begin`."""
        try:
            return Manifest.from_json(self._manifest.read_bytes())
        except FileNotFoundError:
            return Manifest(self.run_id)

    @property
    def is_noted(self) -> bool:
        """Whether ``config.yaml`` is there, and the last session in ``manifest.json`` has ended."""
        return self._config.is_file() and self.read_manifest().finished is not None

    def finished(self, retry_failed: bool = False) -> dict[str, SampleRecord]:
        """Samples that need no work, by id.

        Args:
            retry_failed: Leave failures out, so that they are done again.

        Returns:
            The last record of each sample. An edit whose picture or mask is gone or truncated is left out.
        """
        return {
            id_: record
            for id_, record in self._all().items()
            if (self._has_pictures(record) if isinstance(record, EditRecord) else not retry_failed)
        }

    def write(self, outcome: EditResult | Failure, sample: Sample) -> None:
        """Store a sample's outcome for good; replaces an earlier one.

        Args:
            outcome: What the method answered.
            sample: What it was asked; its id is the outcome's and names the files.

        Raises:
            RuntimeError: Without the lock.
            ValueError: If the ids differ, or the image is not RGB.
        """
        self._check_locked()
        if outcome.id != sample.id:
            raise ValueError(f"outcome of {outcome.id!r} for sample {sample.id!r}")
        if isinstance(outcome, EditResult):
            if outcome.image.mode != "RGB":
                raise ValueError(f"sample {sample.id}: an image of mode {outcome.image.mode}; RGB is expected")
            save_png(outcome.image, self.image_path(sample.id))
            if outcome.mask is not None:
                save_png(mask_image(outcome.mask), self.mask_path(sample.id))
        line = to_line(record_of(outcome, sample))
        known = self._all()
        self._append(line.encode() + b"\n")
        known[sample.id] = from_line(line)
        self._read_stamp = self._stamp()

    def read_result(self, sample_id: str) -> EditResult:
        """Load an edit back, pixels and all.

        Raises:
            KeyError: If the sample is not there or has failed.
        """
        record = self._all().get(sample_id)
        if not isinstance(record, EditRecord):
            raise KeyError(f"run {self.run_id} has no edit of sample {sample_id}")
        with Image.open(self.image_path(sample_id)) as image:
            pixels = image.convert("RGB")
        if record.mask_sha256 is None:
            return record.result(pixels, None)
        with Image.open(self.mask_path(sample_id)) as mask:
            return record.result(pixels, np.asarray(mask) > 0)

    def read_failure(self, sample_id: str) -> Failure:
        """Load a failure back.

        Raises:
            KeyError: If the sample is not there or was edited.
        """
        record = self._all().get(sample_id)
        if not isinstance(record, FailureRecord):
            raise KeyError(f"run {self.run_id} has no failure of sample {sample_id}")
        return record.failure

    def write_metrics(self, frame: pd.DataFrame) -> None:
        """Replace ``metrics.parquet``, whole."""
        with write_aside(self._metrics) as file:
            frame.to_parquet(file, index=False)

    def read_metrics(self) -> pd.DataFrame | None:
        """``metrics.parquet``, or None where metrics have not been computed or the file is damaged."""
        return self._read(self._metrics, parse_metrics)

    def write_cards(self, cards: Mapping[str, Any]) -> None:
        """Keep ``cards.json``: what each card id in ``metrics.parquet`` stands for."""
        known = self.read_cards()
        with write_aside(self._cards) as file:
            file.write(json.dumps(known | dict(cards), indent=2, sort_keys=True).encode() + b"\n")

    def read_cards(self) -> dict[str, Mapping[str, Any]]:
        """``cards.json``; empty where metrics have not been computed or the file is damaged."""
        return self._read(self._cards, parse_cards) or {}

    def read_config(self) -> tuple[str, dict[str, Any]]:
        """``config.yaml`` as text and parsed; empty before :meth:`begin` or if the file is damaged."""
        return self._read(self._config, parse_config) or ("", {})

    def image_path(self, sample_id: str) -> Path:
        """Where a sample's edited picture stands."""
        return self.folder / "images" / f"{sample_id}.png"

    def mask_path(self, sample_id: str) -> Path:
        """Where a sample's mask stands, if its method has one."""
        return self.folder / "masks" / f"{sample_id}.png"

    def _all(self) -> dict[str, SampleRecord]:
        stamp = self._stamp()
        if stamp == self._read_stamp:
            return self._records
        self._records, self._read_stamp = {}, stamp
        data = self._samples.read_bytes() if stamp is not None else b""
        # What follows the last newline is torn, or just being written by another process.
        for number, text in enumerate(data.split(b"\n")[:-1], start=1):
            try:
                record = from_line(text)
                self._records[record.id] = record
            except ValueError:
                log.warning("%s: line %d is damaged and left out; its sample is done again", self._samples, number)
        return self._records

    def _read(self, path: Path, parse: Callable[[Path], T]) -> T | None:
        try:
            return parse(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("%s: damaged and left out; the run's command writes it again (%s)", path, error)
            return None

    def _stamp(self) -> tuple[int, int] | None:
        """What changes whenever someone writes to the records; None before the first."""
        try:
            status = self._samples.stat()
        except FileNotFoundError:
            return None
        return status.st_size, status.st_mtime_ns

    def _has_pictures(self, record: EditRecord) -> bool:
        has_mask = record.mask_sha256 is None or is_whole_png(self.mask_path(record.id))
        return has_mask and is_whole_png(self.image_path(record.id))

    def _append(self, line: bytes) -> None:
        with self._samples.open("ab", buffering=0) as file:
            before = os.fstat(file.fileno()).st_size
            try:
                if file.write(line) != len(line):
                    raise OSError(f"{self._samples}: disk full")
                os.fsync(file.fileno())
            except OSError:
                # Or the next line would be glued to the rest of this one.
                file.truncate(before)
                raise

    def _write_manifest(self, *sessions: Session) -> None:
        with write_aside(self._manifest) as file:
            file.write(json.dumps(Manifest(self.run_id, sessions).to_json(), indent=2).encode())

    def _check_locked(self) -> None:
        if not self._is_locked:
            raise RuntimeError(f"run {self.run_id} is written without its lock; use `with store.lock():`")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
