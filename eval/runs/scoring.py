"""Metric values of a run: those that are missing or no longer valid are computed from the stored edits."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from tqdm import tqdm

from eval.benchmarks.base import Benchmark
from eval.metrics.base import Metric, MetricUndefined
from eval.runs.declared import source_of
from eval.runs.identity import fingerprinted
from eval.runs.provenance import packages
from eval.runs.records import METRICS, EditRecord, Judged
from eval.runs.sharing import batches
from eval.runs.store import RunStore
from instructedit.files import digest
from instructedit.images import load_image
from instructedit.types import Sample

BATCH = 32
"""Number of edits that a process scores before it stores their values."""


def scoring_key(metrics: Any) -> str | None:
    """Identify metrics without importing them: their configuration, checkpoints, code, and the installed packages.

    Args:
        metrics: The entries under ``metrics``, resolved to plain mappings.

    Returns:
        None where the source of a metric cannot be found.
    """
    sources = {target: _code_hash(target) for target in _targets(metrics)}
    if None in sources.values():
        return None
    return digest({"metrics": fingerprinted(metrics), "sources": sources, "packages": dict(packages())})


def score_all(
    load: Callable[[], Sequence[Metric]], key: str | None, store: RunStore, benchmark: Benchmark, waits: bool = True
) -> list[str]:
    """Store the values of all edits, and return the names of the metrics in the order of tables.

    Args:
        load: Builds the metrics; not called if all edits were scored under the same key before.
        key: See :func:`scoring_key`.
        store: The run.
        benchmark: Its samples.
        waits: Whether to wait for values that other processes compute.
    """
    edits = _Edits(store, benchmark)
    seal = edits.seal(key)
    if seal is not None and (names := store.read_scored(seal)) is not None:
        return names
    metrics = load()
    names = [metric.name for metric in metrics]
    _score_missing(metrics, store, edits, waits)
    if seal is not None and not edits.unscored(metrics):
        store.write_scored(seal, names)
    return names


def scored(key: str | None, store: RunStore, benchmark: Benchmark) -> list[str] | None:
    """Return the names of the metrics if all edits have been scored under a key; None otherwise."""
    seal = _Edits(store, benchmark).seal(key)
    return None if seal is None else store.read_scored(seal)


class _Edits:
    """The edits that are on disk when a process begins to score, and their values."""

    def __init__(self, store: RunStore, benchmark: Benchmark) -> None:
        self.samples: Mapping[str, Sample] = {s.id: s for s in benchmark.samples}
        records = {k: r for k, r in store.finished().items() if k in self.samples and isinstance(r, EditRecord)}
        self.digests: Mapping[str, str] = {k: record.image_sha256 for k, record in records.items()}
        self._store = store

    def seal(self, key: str | None) -> str | None:
        """Return a hash of the metrics' key and the edits."""
        return None if key is None else digest({"scoring": key, "edits": self.digests})

    def rows(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Return the stored values by sample and metric."""
        stored = self._store.read_metrics()
        rows = [] if stored is None else stored.to_dict("records")
        return {(row["sample_id"], row["metric"]): {str(k): v for k, v in row.items()} for row in rows}

    def unscored(self, metrics: Sequence[Metric]) -> dict[str, list[Metric]]:
        """Return the metrics of each edit whose values are missing or no longer valid."""
        rows = self.rows()
        found: dict[str, list[Metric]] = {}
        for sample_id, image in self.digests.items():
            missing = [
                m
                for m in metrics
                if not _is_valid(row := rows.get((sample_id, m.name)), m, image)
                and (row is not None or m.applies(self.samples[sample_id]))
            ]
            if missing:
                found[sample_id] = missing
        return found


def _score_missing(metrics: Sequence[Metric], store: RunStore, edits: _Edits, waits: bool) -> None:
    """Compute the values that are missing on disk or no longer valid."""
    cards = {m.card_id: {"metric": m.name} | m.card() for m in metrics}
    tried: set[str] = set()
    unscored = edits.unscored(metrics)

    def left() -> list[str]:
        # A value that stays undefined is computed once in each process.
        return [k for k in edits.unscored(metrics) if k not in tried]

    with tqdm(total=len(unscored), desc="metrics", unit="edit", leave=False, disable=not unscored) as bar:
        for ids in batches(store, left, BATCH, waits, "scores"):
            missing = edits.unscored(metrics)
            values = {}
            for sample_id in ids:
                values[sample_id], judged = _score(store, edits.samples[sample_id], missing[sample_id])
                store.write_judged(judged)
                bar.update()
            tried.update(ids)
            # Cards are written before values, so that every stored value has a card even after a kill.
            store.write_cards(cards)
            with store.lock():
                rows = edits.rows()
                for sample_id, scores in values.items():
                    for metric in missing[sample_id]:  # a stale row is removed, even if the metric no longer applies
                        rows.pop((sample_id, metric.name), None)
                    for name, row in scores.items():
                        rows[sample_id, name] = row | {"image_sha256": edits.digests[sample_id]}
                store.write_metrics(pd.DataFrame(rows.values(), columns=list(METRICS)).astype({"value": "Float64"}))
    if edits.rows() and not json.loads(json.dumps(cards)).items() <= store.read_cards().items():
        store.write_cards(cards)


def _is_valid(row: Mapping[str, Any] | None, metric: Metric, digest: str) -> bool:
    """Return whether a stored value has the metric's card and scores the present picture.

    An undefined value is not valid if the metric asks again, as metrics with a server do.
    """
    if row is None or row["card_id"] != metric.card_id or row["image_sha256"] != digest:
        return False
    return not (metric.asks_again and pd.isna(row["value"]))


def _score(
    store: RunStore, sample: Sample, metrics: Sequence[Metric]
) -> tuple[dict[str, dict[str, Any]], list[Judged]]:
    """Return the rows of an edit by metric, and what the questions to judging models took."""
    result, source = store.read_result(sample.id), load_image(sample.image)
    # The benchmark's captions are used for all methods; if it has none, those that the method wrote.
    captions = sample.captions or result.decisions.captions
    origin = "" if sample.captions or captions is None else "captions by the method"
    rows, judged = {}, []
    for metric in metrics:
        if not metric.applies(sample):
            continue
        try:
            score = metric.score(sample, source, result, captions)
            value, note, tokens = score.value, "; ".join(filter(None, (score.note, origin))), score.tokens
        except MetricUndefined as error:
            value, note, tokens = None, str(error), error.tokens
        if tokens is not None:
            judged.append(Judged(sample.id, metric.name, model_of(metric.card()), tokens))
        row = {"sample_id": sample.id, "metric": metric.name, "value": value, "card_id": metric.card_id, "note": note}
        rows[metric.name] = row
    return rows, judged


def model_of(card: Mapping[str, Any]) -> str:
    """Return the judging model that a card names."""
    named = card.get("vlm", card)
    return str(named.get("model", "unknown")) if isinstance(named, Mapping) else str(named)


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from [str(value)] if name == "_target_" else _targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from _targets(value)


def _code_hash(target: str) -> str | None:
    """Hash the module of a target, and its package, whose other modules it may use."""
    source = source_of(target)
    if source is None:
        return None
    is_package = (source.parent / "__init__.py").is_file()
    files = sorted(source.parent.rglob("*.py")) if is_package else [source]
    return hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in files)).hexdigest()
