"""Storage of one run: durable, atomic writes to a folder that is named by the run's address."""

import contextlib
import datetime
import hashlib
import json
import logging
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from PIL import Image

from eval.runs.lines import Stamp, append_line, stamp
from eval.runs.provenance import Manifest, Session, environment
from eval.runs.records import (
    EditRecord,
    FailureRecord,
    Judged,
    SampleRecord,
    from_line,
    judged_from_line,
    judged_to_line,
    record_of,
    records_equal_ignoring_timing,
    to_line,
)
from eval.runs.repair import format_metrics, parse_cards, parse_config, parse_metrics, repair
from instructedit.files import write_aside
from instructedit.images import is_whole_png, mask_image, save_png
from instructedit.types import ConfigError, EditResult, Failure, Sample

__all__ = ["RunStore", "records_equal_ignoring_timing"]

log = logging.getLogger(__name__)
T = TypeVar("T")
PATIENCE = 10.0
"""Seconds after which a process that waits for the lock of a run says so."""


class RunStore:
    """The folder ``<root>/runs/<run_id>/``. Any number of processes may read and write it at the same time.

    A process claims the samples that it works on (:meth:`claim`), so that no two work on the same one. Each write takes
    the run's :meth:`lock` for its own duration. Locks and claims are those of the file system: they also hold between
    the machines that share a folder, and those of a dead process are free.

    :meth:`write` stores a sample's pictures before its line in ``samples.jsonl``, and the line before it returns, so a
    kill loses at most the samples that are not yet written.

    Args:
        root: The results folder.
        run_id: See :mod:`eval.runs.identity`.
        warns: Whether a damaged record is logged when it is read. :meth:`repair` logs it in any case.
    """

    def __init__(self, root: Path, run_id: str, warns: bool = True) -> None:
        self.root = root
        self._warns = warns
        self.run_id = run_id
        self.folder = root / "runs" / run_id
        self._samples = self.folder / "samples.jsonl"
        self._manifest = self.folder / "manifest.json"
        self._metrics = self.folder / "metrics.parquet"
        self._cards = self.folder / "cards.json"
        self._config = self.folder / "config.yaml"
        self._scored = self.folder / "scored.json"
        self._judged = self.folder / "judged.jsonl"
        self._claims = self.folder / ".claims"
        self._lock = FileLock(self.folder / ".lock")
        self._session: Session | None = None
        self._records: dict[str, SampleRecord] = {}
        self._lines: Counter[str] = Counter()
        self._read_stamp: Stamp | None = None
        self._pictures: dict[Path, tuple[Stamp | None, bool]] = {}

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the run's files for one change, which takes milliseconds; wait while another process has the lock.

        Raises:
            ConfigError: The folder cannot be written.
        """
        self._make(self.folder)
        try:
            self._lock.acquire(timeout=PATIENCE)
        except Timeout:
            log.warning("%s: waiting for its lock, which another process has", self.folder)
            self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()

    def repair(self) -> None:
        """Repair what a crash or a full disk has damaged, see :mod:`eval.runs.repair`."""
        with self.lock():
            repair(self.folder)

    @contextlib.contextmanager
    def claim(self, ids: Iterable[str], count: int) -> Iterator[list[str]]:
        """Claim samples until the block ends, or the process.

        Another process may have finished a sample just before it was claimed; :meth:`lines` tells.

        Args:
            ids: The samples to choose from, in order.
            count: The greatest number of samples to claim.

        Yields:
            The ids of the claimed samples, none if other processes have claimed all.
        """
        self._make(self._claims)
        with contextlib.ExitStack() as stack:
            claimed: list[str] = []
            for id_ in ids:
                if len(claimed) == count:
                    break
                path = self._claims / id_
                with contextlib.suppress(Timeout):
                    stack.enter_context(FileLock(path, timeout=0))
                    # Removed before it is released; filelock refuses a lock whose file is gone.
                    stack.callback(path.unlink, missing_ok=True)
                    claimed.append(id_)
            yield claimed

    def claimed(self) -> list[str]:
        """Return the ids of the samples that processes work on now."""
        held = []
        for path in sorted(self._claims.glob("*")):
            try:
                with FileLock(path, timeout=0):
                    path.unlink(missing_ok=True)  # left by a dead process
            except Timeout:
                held.append(path.name)
            except OSError:  # a folder that this user may only read
                continue
        return held

    def begin(self, config: str, device: str, checkpoints: Mapping[str, str], samples: int | None = None) -> None:
        """Write ``config.yaml`` and add a session to ``manifest.json``.

        Args:
            config: The resolved configuration as YAML, without secrets.
            device: Such as ``cuda:0 (NVIDIA A100)``.
            checkpoints: Revision of each checkpoint id.
            samples: Number of the benchmark's samples.
        """
        process = f"process {os.getpid()} on {socket.gethostname()}"
        session = Session(
            started=_now(),
            device=device,
            checkpoints=dict(checkpoints),
            process=process,
            samples=samples,
            **vars(environment()),
        )
        with self.lock():
            with write_aside(self._config) as file:
                file.write(config.encode())
            self._write_manifest(*self.read_manifest().sessions, session)
        self._session = session

    def finish(self, peak_gib: float | None = None) -> None:
        """Write the end time of the session that :meth:`begin` added to ``manifest.json``.

        Args:
            peak_gib: Peak memory of the session's edits, in GiB.
        """
        with self.lock():
            ended = [
                replace(s, finished=_now(), peak_gib=peak_gib) if s == self._session else s
                for s in self.read_manifest().sessions
            ]
            self._write_manifest(*ended)

    def read_manifest(self) -> Manifest:
        """Read ``manifest.json``; there are no sessions before :meth:`begin`."""
        try:
            return Manifest.from_json(self._manifest.read_bytes())
        except FileNotFoundError:
            return Manifest(self.run_id)

    @property
    def is_noted(self) -> bool:
        """Whether ``config.yaml`` is there, and the last session in ``manifest.json`` has ended."""
        return self._config.is_file() and self.read_manifest().finished is not None

    def finished(self, retry_failed: bool = False) -> dict[str, SampleRecord]:
        """Return the records of finished samples by id.

        Args:
            retry_failed: Omit failures, so that they are repeated.

        Returns:
            The last record of each sample. Edits with a missing or damaged picture or mask are omitted and logged.
        """
        return {k: record for k, record in self._all().items() if self._is_finished(record, retry_failed)}

    def missing(self, ids: Iterable[str], retry_failed: bool = False) -> dict[str, int]:
        """Return those of the samples that :meth:`finished` does not, with their numbers of lines."""
        records, lines = self._all(), self._lines
        return {i: lines[i] for i in ids if i not in records or not self._is_finished(records[i], retry_failed)}

    def write(self, outcome: EditResult | Failure, sample: Sample) -> None:
        """Store a sample's outcome durably; it replaces an earlier one.

        Args:
            outcome: The method's result or failure.
            sample: The sample; its id equals the outcome's and names the files.

        Raises:
            ValueError: The ids differ, or the image is not RGB.
        """
        if outcome.id != sample.id:
            raise ValueError(f"outcome of {outcome.id!r} for sample {sample.id!r}")
        if isinstance(outcome, EditResult):
            if outcome.image.mode != "RGB":
                raise ValueError(f"sample {sample.id}: an image of mode {outcome.image.mode}; RGB is expected")
            save_png(outcome.image, self.image_path(sample.id))
            if outcome.mask is not None:
                save_png(mask_image(outcome.mask), self.mask_path(sample.id))
        line = to_line(record_of(outcome, sample)).encode()
        with self.lock():
            is_current = stamp(self._samples) == self._read_stamp
            append_line(self._samples, line)
            if is_current:
                self._remember(from_line(line))
                self._read_stamp = stamp(self._samples)

    def lines(self) -> Mapping[str, int]:
        """Return the number of lines of each sample, which grows by one each time that any process has done it."""
        self._all()
        return self._lines

    def read_result(self, sample_id: str) -> EditResult:
        """Read an edit with its pixels.

        Raises:
            KeyError: The sample is missing or failed.
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
        """Read a failure.

        Raises:
            KeyError: The sample is missing or was edited.
        """
        record = self._all().get(sample_id)
        if not isinstance(record, FailureRecord):
            raise KeyError(f"run {self.run_id} has no failure of sample {sample_id}")
        return record.failure

    def write_metrics(self, frame: pd.DataFrame) -> None:
        """Replace ``metrics.parquet`` atomically."""
        with write_aside(self._metrics) as file:
            file.write(format_metrics(frame))

    def read_metrics(self) -> pd.DataFrame | None:
        """Read ``metrics.parquet``; None if no metrics have been computed or the file is damaged."""
        return self._read(self._metrics, parse_metrics)

    def write_cards(self, cards: Mapping[str, Any]) -> None:
        """Add metric cards by id to ``cards.json``."""
        with self.lock():
            known = self.read_cards()
            with write_aside(self._cards) as file:
                file.write(json.dumps(known | dict(cards), indent=2, sort_keys=True).encode() + b"\n")

    def read_cards(self) -> dict[str, Mapping[str, Any]]:
        """Read ``cards.json``; empty if no metrics have been computed or the file is damaged."""
        return self._read(self._cards, parse_cards) or {}

    def read_config(self) -> tuple[str, dict[str, Any]]:
        """Read ``config.yaml`` as text and parsed; empty before :meth:`begin` or if the file is damaged."""
        return self._read(self._config, parse_config) or ("", {})

    def write_judged(self, judged: Sequence[Judged]) -> None:
        """Append what questions to judging models took to ``judged.jsonl``."""
        if judged:
            with self.lock():
                append_line(self._judged, "\n".join(map(judged_to_line, judged)).encode())

    def read_judged(self) -> list[Judged]:
        """Read ``judged.jsonl``; damaged lines are left out, since nothing but a sum depends on them."""
        found = []
        for text in self._judged.read_bytes().split(b"\n") if self._judged.is_file() else ():
            with contextlib.suppress(ValueError):
                found.append(judged_from_line(text))
        return found

    def write_scored(self, seal: str, metrics: Sequence[str]) -> None:
        """Note that the stored values are all that ``seal`` stands for.

        Args:
            seal: Hash of the metrics' identity and the edits.
            metrics: Names of the metrics, in the order of tables.
        """
        with write_aside(self._scored) as file:
            file.write(json.dumps({"seal": seal, "files": self._derived(), "metrics": list(metrics)}).encode() + b"\n")

    def read_scored(self, seal: str) -> list[str] | None:
        """The names noted by :meth:`write_scored`; None where other values are stored, or a file has changed since."""
        try:
            noted = json.loads(self._scored.read_bytes())
            return list(noted["metrics"]) if (noted["seal"], noted["files"]) == (seal, self._derived()) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _derived(self) -> list[str | None]:
        paths = (self._metrics, self._cards)
        return [hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None for path in paths]

    def image_path(self, sample_id: str) -> Path:
        """Return the path of a sample's edited picture."""
        return self.folder / "images" / f"{sample_id}.png"

    def mask_path(self, sample_id: str) -> Path:
        """Return the path of a sample's mask, which exists if the method has one."""
        return self.folder / "masks" / f"{sample_id}.png"

    def _all(self) -> dict[str, SampleRecord]:
        current = stamp(self._samples)
        if current == self._read_stamp:
            return self._records
        self._records, self._lines, self._read_stamp = {}, Counter(), current
        data = self._samples.read_bytes() if current is not None else b""
        # Text after the last newline is incomplete: its writer was killed or is still writing.
        for number, text in enumerate(data.split(b"\n")[:-1], start=1):
            try:
                self._remember(from_line(text))
            except ValueError:
                level = logging.WARNING if self._warns else logging.DEBUG
                log.log(level, "%s: line %d is damaged and left out; its sample is done again", self._samples, number)
        return self._records

    def _remember(self, record: SampleRecord) -> None:
        self._records[record.id] = record
        self._lines[record.id] += 1

    def _read(self, path: Path, parse: Callable[[Path], T]) -> T | None:
        try:
            return parse(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("%s: damaged and left out; the run's command writes it again (%s)", path, error)
            return None

    def _is_finished(self, record: SampleRecord, retry_failed: bool) -> bool:
        return self._has_pictures(record) if isinstance(record, EditRecord) else not retry_failed

    def _has_pictures(self, record: EditRecord) -> bool:
        has_mask = record.mask_sha256 is None or self._is_intact(self.mask_path(record.id))
        return has_mask and self._is_intact(self.image_path(record.id))

    def _is_intact(self, path: Path) -> bool:
        """Return whether a picture is complete; it is read again only when it has changed, and reported once."""
        current = stamp(path)
        if path not in self._pictures or self._pictures[path][0] != current:
            self._pictures[path] = current, is_whole_png(path)
            if not self._pictures[path][1]:
                reason = "missing" if current is None else "damaged"
                log.warning("%s: %s; its sample is left out until the run's command has done it again", path, reason)
        return self._pictures[path][1]

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"results={self.root}: {error.strerror}; a folder that can be written is accepted"
            ) from None

    def _write_manifest(self, *sessions: Session) -> None:
        with write_aside(self._manifest) as file:
            file.write(json.dumps(Manifest(self.run_id, sessions).to_json(), indent=2).encode())


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
