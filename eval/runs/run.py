"""A run as it lies on disk: the only type that tables, loggers and the report read."""

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
"""Columns of one run's metric values: ``ROWS`` without what is the same in all of them."""


@dataclass(frozen=True, eq=False)
class Run:
    """One folder under ``results/runs``, read once; or what was chosen from several, which has no folder.

    Two runs are equal only if they are the same object.
    """

    run_id: str
    """Its address, or any other name that no run has."""
    name: str
    """Of the method."""
    plain_label: str
    """As the run's configuration calls it, and which paraphrase of the instructions it was given."""
    records: Mapping[str, SampleRecord]
    """The last record of each sample."""
    values: pd.DataFrame
    """Metric values, with the columns ``VALUES``; each scores a picture which is still the sample's."""
    cards: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """``cards.json``: what each card id stands for."""
    config: Mapping[str, Any] = field(default_factory=dict)
    config_text: str = ""
    """``config.yaml`` as it stands."""
    manifest: Manifest = Manifest()
    difference: str = ""
    """What sets the run apart from others of its plain label, from :func:`eval.runs.labels.distinguished`."""
    stored_in: RunStore | None = None
    """None where the run is not on disk."""

    @property
    def store(self) -> RunStore:
        """Its folder, where pictures are read from.

        Raises:
            ValueError: the run is not on disk.
        """
        if self.stored_in is None:
            raise ValueError(f"run {self.run_id} is not on disk")
        return self.stored_in

    @property
    def label(self) -> str:
        """How tables call the run: its plain label, and what sets it apart from runs of the same."""
        return f"{self.plain_label} {self.difference}" if self.difference else self.plain_label

    @property
    def variation(self) -> int:
        """Which paraphrase of the instructions: 0 is the benchmark's own."""
        return int(self.config.get("variation") or 0)

    @property
    def is_described(self) -> bool:
        """Whether a captioner described the images to the language processor."""
        return any("captioner" in path.split(".")[:-1] for path in self.hyperparameters)

    @property
    def finished(self) -> str | None:
        """When its last session ended, in ISO 8601; None while it runs, or where it was interrupted."""
        return self.manifest.finished

    @property
    def sessions(self) -> tuple[Session, ...]:
        """Each time that the run was begun or taken up again."""
        return self.manifest.sessions

    @property
    def device(self) -> str:
        """What it ran on; several, where it was taken up elsewhere."""
        return ", ".join(dict.fromkeys(s.device for s in self.sessions)) or "unknown"

    @property
    def checkpoints(self) -> dict[str, str]:
        """Revision of each checkpoint, by id."""
        return {k: v for s in self.sessions for k, v in s.checkpoints.items()}

    @property
    def edited(self) -> int:
        """Samples with an edit."""
        return sum(isinstance(record, EditRecord) for record in self.records.values())

    @property
    def failed(self) -> int:
        """Samples without one."""
        return len(self.records) - self.edited

    @property
    def failures(self) -> list[Failure]:
        """Samples without an edit, and why."""
        return [record.failure for record in self.records.values() if isinstance(record, FailureRecord)]

    @cached_property
    def hyperparameters(self) -> dict[str, Scalar]:
        """The method's parameters by path, such as ``editor.ratio``; a list is one text."""
        method = self.config.get("wrapper")
        return dict(_leaves(method, "")) if isinstance(method, Mapping) else {}

    def hyperparameter(self, short: str) -> Scalar:
        """A parameter by the last part of its path, such as ``ratio``; None where the method has none."""
        return next((v for path, v in self.hyperparameters.items() if path.rpartition(".")[2] == short), None)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Metric values as rows of ``eval.runs.records.ROWS``."""
        return self.values.assign(run_id=self.run_id, label=self.label)[list(ROWS)]

    @cached_property
    def higher_is_better(self) -> dict[str, bool]:
        """The direction of each metric with a value, by its card; a metric whose card was not stored is left out."""
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
        """The part of the run that one request covers: the benchmark's samples, and the metrics in the order asked for.

        Images are those of the benchmark, because runs of earlier versions noted none.
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
        """Whether the run's address is that of its configuration on this benchmark's present content.

        Args:
            benchmark: With its own instructions; the run's paraphrase is looked up.

        Returns:
            None where configuration and manifest do not say enough to tell.
        """
        try:
            method, seed = fingerprinted(self.config["wrapper"], self.checkpoints), self.config["seed"]
        except KeyError:
            return None
        return address(method, replace(benchmark, variation=self.variation), seed) == self.run_id


def direction_of(card: Mapping[str, Any]) -> bool | None:
    """Whether higher is better, by a metric's card; None where the card does not say."""
    direction = card.get("direction")
    return None if direction is None else bool(direction == "higher")


def frame_of(runs: Sequence[Run]) -> pd.DataFrame:
    """Metric rows of several runs together, with the columns ``eval.runs.records.ROWS``."""
    frames = [run.metrics for run in runs if len(run.metrics)]
    return pd.concat(frames, ignore_index=True) if frames else _no_values(ROWS)


def counts_of(runs: Sequence[Run]) -> pd.DataFrame:
    """Edits and failures of several runs, a row each, with the columns ``eval.runs.records.COUNTS``."""
    return pd.DataFrame([(r.run_id, r.label, r.edited, r.failed) for r in runs], columns=list(COUNTS))


def read_runs(results: Path) -> Iterator[Run]:
    """Every run under ``results/runs``, by run id; a folder that is none is left out and logged."""
    for folder in sorted((results / "runs").glob("*/")):
        try:
            yield read_run(RunStore(results, folder.name))
        except (OSError, ValueError) as error:
            log.warning("%s: cannot be read and is left out (%s)", folder, " ".join(str(error).split()))


def read_run(store: RunStore) -> Run:
    """One run as it lies on disk, with what is missing left empty."""
    text, config = store.read_config()
    label, records = configured_label(config, store.run_id), store.finished()
    return Run(
        run_id=store.run_id,
        # Early configurations have a label only, which begins with the method's name.
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
    """Of ``metrics.parquet``, the values that score a picture which is still the sample's."""
    if stored is None:
        return _no_values(VALUES)
    digests = {k: record.image_sha256 for k, record in records.items() if isinstance(record, EditRecord)}
    kept = stored[stored["image_sha256"] == stored["sample_id"].map(digests)]
    # Runs of earlier versions noted no image_id.
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
