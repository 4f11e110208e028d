"""A stored run: the only type that tables, loggers and the report read."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from eval.benchmarks.base import Benchmark
from eval.runs.identity import address, deciding, fingerprinted
from eval.runs.labels import configured_label
from eval.runs.provenance import Manifest, Session
from eval.runs.records import COUNTS, ROWS, EditRecord, FailureRecord, SampleRecord
from eval.runs.store import RunStore
from instructedit.types import Failure

log = logging.getLogger(__name__)
Scalar = str | int | float | bool | None
VALUES = ("sample_id", "image_id", "metric", "value", "card_id", "note")
"""Columns of one run's metric values: ``ROWS`` without the columns that are constant in a run."""


@dataclass(frozen=True, eq=False)
class Run:
    """The content of one folder under ``results/runs``, or a selection from several runs, which has no folder.

    Two runs are equal only if they are the same object.
    """

    run_id: str
    """Address of the run, or another unique name."""
    name: str
    """Name of the method."""
    plain_label: str
    """Label from the run's configuration, with the paraphrase of the instructions if there is one."""
    records: Mapping[str, SampleRecord]
    """The last record of each sample."""
    values: pd.DataFrame
    """Metric values with the columns ``VALUES``; values of replaced pictures are excluded."""
    cards: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Content of ``cards.json``: the metric cards by id."""
    config: Mapping[str, Any] = field(default_factory=dict)
    config_text: str = ""
    """Text of ``config.yaml``."""
    manifest: Manifest = Manifest()
    difference: str = ""
    """What sets the run apart from others of its plain label, from :func:`eval.runs.labels.distinguished`."""
    stored_in: RunStore | None = None
    """None if the run is not stored."""

    @property
    def store(self) -> RunStore:
        """The folder of the run.

        Raises:
            ValueError: The run is not stored.
        """
        if self.stored_in is None:
            raise ValueError(f"run {self.run_id} is not on disk")
        return self.stored_in

    @property
    def label(self) -> str:
        """Name of the run in tables: its plain label, and what sets it apart from runs of the same one."""
        return f"{self.plain_label} {self.difference}" if self.difference else self.plain_label

    @property
    def variation(self) -> int:
        """Number of the paraphrase of the instructions; 0 means the benchmark's original instructions."""
        return int(self.config.get("variation") or 0)

    @property
    def is_described(self) -> bool:
        """Whether a captioner described the images to the language processor."""
        return any(is_captioners(path) and value is not None for path, value in self.hyperparameters.items())

    @property
    def finished(self) -> str | None:
        """End time of the last session in ISO 8601; None while it runs, or if it was interrupted."""
        return self.manifest.finished

    @property
    def sessions(self) -> tuple[Session, ...]:
        """The sessions of the run: its start and each continuation."""
        return self.manifest.sessions

    @property
    def device(self) -> str:
        """Device of the run; several, separated by commas, if the sessions ran on different devices."""
        return ", ".join(dict.fromkeys(s.device for s in self.sessions)) or "unknown"

    @property
    def checkpoints(self) -> dict[str, str]:
        """Revision of each checkpoint by id."""
        return {k: v for s in self.sessions for k, v in s.checkpoints.items()}

    @property
    def edited(self) -> int:
        """Number of edited samples."""
        return sum(isinstance(record, EditRecord) for record in self.records.values())

    @property
    def failed(self) -> int:
        """Number of failed samples."""
        return len(self.records) - self.edited

    @cached_property
    def running(self) -> frozenset[str]:
        """Ids of the samples that processes work on now."""
        return frozenset(self.store.claimed())

    @property
    def missing(self) -> int | None:
        """Number of samples that are not done, without the running ones; None in runs of earlier versions."""
        asked = self.sessions[-1].samples if self.sessions else None
        return None if asked is None else max(0, asked - len(self.records.keys() | self.running))

    @property
    def failures(self) -> list[Failure]:
        """The failures of the run."""
        return [record.failure for record in self.records.values() if isinstance(record, FailureRecord)]

    @cached_property
    def hyperparameters(self) -> dict[str, Scalar]:
        """The method's parameters by path, such as ``editor.ratio``, including revisions of checkpoints.

        A list is one text.
        """
        method = self.config.get("wrapper")
        return dict(_leaves(method, "")) if isinstance(method, Mapping) else {}

    def hyperparameter(self, short: str) -> Scalar:
        """Return a parameter by the last part of its path, such as ``ratio``; None if the method does not have it."""
        return next((v for path, v in self.hyperparameters.items() if path.rpartition(".")[2] == short), None)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Metric values with the columns ``eval.runs.records.ROWS``."""
        return self.values.assign(run_id=self.run_id, label=self.label)[list(ROWS)]

    @cached_property
    def higher_is_better(self) -> dict[str, bool]:
        """The direction of each metric with values, from its card; metrics without a stored card are omitted."""
        found = {}
        for metric, card in self.values.drop_duplicates("metric")[["metric", "card_id"]].itertuples(index=False):
            if (direction := direction_of(self.cards.get(str(card), {}))) is not None:
                found[str(metric)] = direction
        return found

    def in_order_of(self, benchmark: Benchmark) -> "Run":
        """The run with its samples in the benchmark's order, not the order in which they were finished.

        A bootstrap draws positions, so that its interval depends on the order of the values.
        """
        places = {k: i for i, k in enumerate(benchmark.images)}
        records = {k: self.records[k] for k in sorted(self.records, key=lambda k: places.get(k, len(places)))}
        own = [places.get(k, len(places)) for k in self.values["sample_id"]]
        order = sorted(range(len(own)), key=own.__getitem__)
        return replace(self, records=records, values=self.values.iloc[order].reset_index(drop=True))

    def narrowed(self, benchmark: Benchmark, metrics: Sequence[str]) -> "Run":
        """Return the run with only the samples of a benchmark and the given metrics, in the given order.

        Image ids are those of the benchmark, because earlier versions did not store them.
        """
        images = benchmark.images
        records = {k: replace(self.records[k], image_id=i) for k, i in images.items() if k in self.records}
        places = {key: i for i, key in enumerate((k, m) for k in records for m in metrics)}
        own = [places.get(key, -1) for key in zip(self.values["sample_id"], self.values["metric"], strict=True)]
        values = self.values.assign(place=own).sort_values("place", kind="stable")
        values = values[values["place"] >= 0].reset_index(drop=True)
        values = values.assign(image_id=values["sample_id"].map(images))[list(VALUES)]
        return replace(self, records=records, values=values)

    def was_made_on(self, benchmark: Benchmark) -> bool | None:
        """Return whether the run's address equals that of its configuration on the present revision of a benchmark.

        Args:
            benchmark: The benchmark with its original instructions; the run's paraphrase is applied.

        Returns:
            None if the configuration and the manifest do not contain enough information.
        """
        try:
            method, seed = fingerprinted(self.config["wrapper"], self.checkpoints), self.config["seed"]
        except KeyError:
            return None
        return address(method, replace(benchmark, variation=self.variation), seed) == self.run_id


def is_captioners(path: str) -> bool:
    """Return whether a parameter's path belongs to a captioner, wrapped or not."""
    return "captioner" in path.split(".")


def direction_of(card: Mapping[str, Any]) -> bool | None:
    """Return whether higher is better according to a metric card; None if the card does not state it."""
    direction = card.get("direction")
    return None if direction is None else bool(direction == "higher")


def frame_of(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the metric values of several runs in one frame with the columns ``eval.runs.records.ROWS``."""
    frames = [run.metrics for run in runs if len(run.metrics)]
    return pd.concat(frames, ignore_index=True) if frames else _no_values(ROWS)


def counts_of(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the numbers of edits and failures, one row per run, with the columns ``eval.runs.records.COUNTS``."""
    return pd.DataFrame([(r.run_id, r.label, r.edited, r.failed) for r in runs], columns=list(COUNTS))


def read_runs(results: Path) -> Iterator[Run]:
    """Yield the runs under ``results/runs`` in the order of run ids; unreadable folders are skipped and logged."""
    for folder in sorted((results / "runs").glob("*/")):
        try:
            yield read_run(RunStore(results, folder.name))
        except (OSError, ValueError) as error:
            log.warning("%s: cannot be read and is left out (%s)", folder, " ".join(str(error).split()))


def read_run(store: RunStore) -> Run:
    """Read a stored run; missing files give empty fields."""
    text, config = store.read_config()
    label, records = configured_label(config, store.run_id), store.finished()
    return Run(
        run_id=store.run_id,
        # Configurations of early versions have only a label, which begins with the method's name.
        name=str(config.get("name") or label.split()[0]),
        plain_label=label,
        records=records,
        values=_values(store.read_metrics(), records),
        cards=store.read_cards(),
        config=config,
        config_text=text,
        manifest=store.read_manifest(),
        stored_in=store,
    )


def _values(stored: pd.DataFrame | None, records: Mapping[str, SampleRecord]) -> pd.DataFrame:
    """Return the values in ``metrics.parquet`` whose picture was not replaced since."""
    if stored is None:
        return _no_values(VALUES)
    digests = {k: record.image_sha256 for k, record in records.items() if isinstance(record, EditRecord)}
    kept = stored[stored["image_sha256"] == stored["sample_id"].map(digests)]
    # Earlier versions did not store image_id.
    images = kept["sample_id"].map({k: record.image_id or k for k, record in records.items()})
    return kept.assign(image_id=images)[list(VALUES)]


def _no_values(columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(columns=list(columns)).astype({"value": "Float64"})


def _leaves(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Scalar]]:
    for key, value in deciding(node).items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", ",".join(map(str, value)) if isinstance(value, list) else value
