"""Runs as they lie on disk: what they are called, what decides them, and every number they left."""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from eval.benchmarks.base import Benchmark
from eval.runs.identity import address, deciding, fingerprinted
from eval.runs.records import EDITED, ROWS, failure
from eval.runs.store import RunStore
from instructedit.types import Failure, Record

log = logging.getLogger(__name__)
Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class StoredRun:
    """One folder under ``results/runs``, read once."""

    store: RunStore
    config: Mapping[str, Any]
    config_text: str
    """``config.yaml`` as it stands."""
    manifest: Mapping[str, Any]
    records: Mapping[str, Record]
    """The last record of each sample."""
    cards: Mapping[str, Mapping[str, Any]]
    """``cards.json``: what each card id stands for."""
    stored_metrics: pd.DataFrame | None
    """``metrics.parquet`` as it stands."""
    tag: str = ""
    """Sets runs apart that share a label; empty where none does."""

    @property
    def run_id(self) -> str:
        """Its address."""
        return self.store.run_id

    @property
    def plain_label(self) -> str:
        """As the run's configuration calls it, and which other wording of the instructions it was given."""
        own = str(self.config.get("label") or self.config.get("name") or self.run_id)
        return f"{own} variation={self.variation}" if self.variation else own

    @property
    def label(self) -> str:
        """How the page calls the run: unlike any other's."""
        return f"{self.plain_label} #{self.tag}" if self.tag else self.plain_label

    @property
    def name(self) -> str:
        """Of the method. Early configurations have a label only, which begins with it."""
        return str(self.config.get("name") or self.plain_label.split()[0])

    @property
    def variation(self) -> int:
        """Which wording of the instructions: 0 is the benchmark's own."""
        return int(self.config.get("variation") or 0)

    @property
    def is_described(self) -> bool:
        """Whether a captioner described the images to the language processor."""
        return any("captioner" in path.split(".")[:-1] for path in self.knobs)

    @property
    def finished(self) -> str | None:
        """When its last session ended, in ISO 8601; None while it runs, or where it was interrupted."""
        return self.manifest.get("finished")

    @property
    def sessions(self) -> list[dict[str, Any]]:
        """Each time that the run was begun or taken up again."""
        return list(self.manifest.get("sessions", []))

    @property
    def device(self) -> str:
        """What it ran on; several, where it was taken up elsewhere."""
        return ", ".join(dict.fromkeys(str(s.get("device")) for s in self.sessions)) or "unknown"

    @property
    def checkpoints(self) -> dict[str, str]:
        """Revision of each checkpoint, by id."""
        return {str(k): str(v) for s in self.sessions for k, v in s.get("checkpoints", {}).items()}

    @property
    def edited(self) -> int:
        """Samples with an edit."""
        return sum(line["status"] == EDITED for line in self.records.values())

    @property
    def failed(self) -> int:
        """Samples without one."""
        return len(self.records) - self.edited

    @property
    def failures(self) -> list[Failure]:
        """Samples without an edit, and why."""
        return [failure(line) for line in self.records.values() if line["status"] != EDITED]

    @cached_property
    def knobs(self) -> dict[str, Scalar]:
        """The method's parameters by path, such as ``editor.ratio``; checkpoints are told apart by revision."""
        method = self.config.get("wrapper")
        return dict(_leaves(method, "")) if isinstance(method, Mapping) else {}

    def knob(self, short: str) -> Scalar:
        """A parameter by the last part of its path, such as ``ratio``; None where the method has none."""
        return next((v for path, v in self.knobs.items() if path.rpartition(".")[2] == short), None)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Rows of ``eval.runs.records.ROWS`` that score a picture which is still the sample's."""
        if self.stored_metrics is None:
            return pd.DataFrame(columns=list(ROWS)).astype({"value": "Float64"})
        digests = {k: line["image_sha256"] for k, line in self.records.items() if line["status"] == EDITED}
        kept = self.stored_metrics[self.stored_metrics["image_sha256"] == self.stored_metrics["sample_id"].map(digests)]
        # Runs of earlier versions noted no image_id.
        images = kept["sample_id"].map({k: line.get("image_id") or k for k, line in self.records.items()})
        return kept.assign(run_id=self.run_id, label=self.label, image_id=images)[list(ROWS)]

    def was_made_on(self, benchmark: Benchmark) -> bool | None:
        """Whether the run's address is that of its configuration on this benchmark's present content.

        Args:
            benchmark: In its own wording; the run's is looked up.

        Returns:
            None where configuration and manifest do not say enough to tell.
        """
        try:
            method, seed = fingerprinted(self.config["wrapper"], self.checkpoints), self.config["seed"]
        except KeyError:
            return None
        return address(method, replace(benchmark, variation=self.variation), seed) == self.run_id


def read_runs(results: Path) -> Iterator[StoredRun]:
    """Every run under ``results/runs``, by run id; a folder that is none is left out and logged."""
    for folder in sorted((results / "runs").glob("*/")):
        try:
            yield read_run(RunStore(results, folder.name))
        except (OSError, ValueError, yaml.YAMLError) as error:
            log.warning("%s: cannot be read and is left out (%s)", folder, " ".join(str(error).split()))


def read_run(store: RunStore) -> StoredRun:
    """One run as it lies on disk, with what is missing left empty."""
    path, cards = store.folder / "config.yaml", store.folder / "cards.json"
    text = path.read_text() if path.is_file() else ""
    config = yaml.safe_load(text)
    return StoredRun(
        store=store,
        config=config if isinstance(config, dict) else {},
        config_text=text,
        manifest=store.read_manifest(),
        records=store.finished(),
        cards=json.loads(cards.read_bytes()) if cards.is_file() else {},
        stored_metrics=store.read_metrics(),
    )


def _leaves(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Scalar]]:
    for key, value in deciding(node).items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        elif not isinstance(value, list):
            yield f"{prefix}{key}", value
