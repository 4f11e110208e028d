"""A run: a method over a benchmark. Each sample is stored as soon as it is done; metrics follow from what is stored."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from eval.benchmarks.base import Benchmark
from eval.metrics.base import Metric, MetricUndefined
from eval.runs.identity import address
from eval.runs.records import METRICS, EditRecord, SampleRecord
from eval.runs.run import Run, read_run
from eval.runs.store import RunStore
from instructedit.images import load_image
from instructedit.models import Context
from instructedit.types import ConfigError, EditRequest, EditResult, Failure, Method, Sample, Stage, StageError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunPlan:
    """Everything a run needs, checked before any model loads."""

    name: str
    """Of the method, such as ``diffedit``."""
    label: str
    """How tables call the run, such as ``instructedit ratio=0.5``."""
    method: Method
    decides: Mapping[str, Any]
    """What decides the numbers beside benchmark and seed: the method's parameters, with fingerprints of its models."""
    benchmark: Benchmark
    metrics: Callable[[], Sequence[Metric]]
    """Loads the metrics when they are first needed."""
    results: Path
    config: str = "{}"
    """The resolved configuration as YAML, for the record."""
    checkpoints: Mapping[str, str] | None = None
    seed: int = 0
    batch_size: int = 8
    retry_failed: bool = False
    fail_on_error: bool | int | float = False
    """When to stop: never, at the first failure, above a count, or above a share of the samples."""

    @property
    def run_id(self) -> str:
        """Address of the run's results."""
        return address(self.decides, self.benchmark, self.seed)


@dataclass(frozen=True)
class Outcome:
    """What one call of :func:`run` came to."""

    run: Run
    """Read back from disk: the samples and metrics of the plan, under its name and label."""
    new: int
    """Samples that this call did; the others were there already."""
    stopped: bool
    """``fail_on_error`` ended the run early."""


def run(plan: RunPlan, context: Context) -> Outcome:
    """Do what is missing of a run, then score it.

    Raises:
        ConfigError: the request itself is wrong, or another process holds the run.
    """
    store = RunStore(plan.results, plan.run_id)
    with store.lock():
        known = store.finished(plan.retry_failed)
        missing = [s for s in plan.benchmark.samples if s.id not in known]
        is_new = bool(missing) or not store.is_noted
        if is_new:
            store.begin(plan.config, str(context.device), plan.checkpoints or {})
        stopped = _edit_all(plan, store, missing, len(plan.benchmark.samples))
        if is_new:
            store.finish()
        samples = {s.id: s for s in plan.benchmark.samples}
        metrics = plan.metrics()
        _score_all(metrics, store, {k: v for k, v in store.finished().items() if k in samples}, samples)
        stored = read_run(store).narrowed(plan.benchmark, [m.name for m in metrics])
    return Outcome(replace(stored, name=plan.name, plain_label=plan.label), len(missing), stopped)


def _edit_all(plan: RunPlan, store: RunStore, missing: list[Sample], total: int) -> bool:
    """Edit what is missing; True if ``fail_on_error`` stopped it."""
    failed = 0
    with tqdm(total=total, initial=total - len(missing), desc=plan.label, unit="edit", disable=not missing) as bar:
        for start in range(0, len(missing), plan.batch_size):
            batch = missing[start : start + plan.batch_size]
            for sample, outcome in _outcomes(plan, batch):
                store.write(outcome, sample)
                bar.update()
                if isinstance(outcome, Failure):
                    failed += 1
                    bar.write(f"{sample.id}: {outcome.stage}: {outcome.message}")
            bar.set_postfix(failed=failed, refresh=False)
            if _too_many(failed, total, plan.fail_on_error):
                return True
    return False


def _too_many(failed: int, total: int, limit: bool | int | float) -> bool:
    if limit is False or not failed:
        return False
    if limit is True:
        return True
    return failed > (limit * total if isinstance(limit, float) and limit < 1 else limit)


def _outcomes(plan: RunPlan, batch: list[Sample]) -> Iterator[tuple[Sample, EditResult | Failure]]:
    requests: list[EditRequest] = []
    samples = {sample.id: sample for sample in batch}
    for sample in batch:
        try:
            image = load_image(sample.image)
        except StageError as error:
            yield sample, Failure(sample.id, error.stage, type(error).__name__, str(error))
        else:
            requests.append(EditRequest(sample.id, image, sample.instruction, sample.captions, plan.seed))
    for outcome in guarded(plan.method, requests):
        yield samples[outcome.id], outcome


def guarded(method: Method, requests: list[EditRequest]) -> list[EditResult | Failure]:
    """Edit a batch; should the method raise after all, one by one, so that a bad sample takes no neighbour with it."""
    if not requests:
        return []
    try:
        outcomes = method.edit(requests)
        answered = [o.id for o in outcomes]
        if answered != [r.id for r in requests]:
            raise RuntimeError(f"asked for {[r.id for r in requests]}, the method answered {answered}")
    except ConfigError:
        raise
    except Exception as error:
        if len(requests) > 1:
            return [outcome for request in requests for outcome in guarded(method, [request])]
        if not isinstance(error, StageError):
            log.exception("sample %s", requests[0].id)
        message = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
        stage = error.stage if isinstance(error, StageError) else Stage.METHOD
        return [Failure(requests[0].id, stage, type(error).__name__, message)]
    return outcomes


def _score_all(
    metrics: Sequence[Metric], store: RunStore, records: Mapping[str, SampleRecord], samples: Mapping[str, Sample]
) -> None:
    """Compute the metric values that are missing on disk, or no longer valid, and store them."""
    kept = store.read_metrics()
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    if kept is not None:
        for row in kept.to_dict("records"):
            rows[row["sample_id"], row["metric"]] = {str(k): v for k, v in row.items()}
    digests = {k: record.image_sha256 for k, record in records.items() if isinstance(record, EditRecord)}
    new = False
    for sample_id, digest in tqdm(digests.items(), desc="metrics", unit="edit", leave=False, disable=not metrics):
        missing = [m for m in metrics if not _is_valid(rows.get((sample_id, m.name)), m, digest)]
        if missing:
            new = True
            for metric in missing:  # or another card's row would stand where this one does not apply
                rows.pop((sample_id, metric.name), None)
            for name, row in _score(store, samples[sample_id], missing).items():
                rows[sample_id, name] = row | {"image_sha256": digest}
    cards = {m.card_id: {"metric": m.name} | m.card() for m in metrics}
    # The cards first: a kill between the two leaves no value whose card is unknown.
    if new or (rows and not cards.keys() <= store.read_cards().keys()):
        store.write_cards(cards)
    if new:
        store.write_metrics(pd.DataFrame(rows.values(), columns=list(METRICS)).astype({"value": "Float64"}))


def _is_valid(row: Mapping[str, Any] | None, metric: Metric, digest: str) -> bool:
    """A value stands while both its card and the picture that it scored do; so does having none, but for a server."""
    if row is None or row["card_id"] != metric.card_id or row["image_sha256"] != digest:
        return False
    return not (metric.asks_again and pd.isna(row["value"]))


def _score(store: RunStore, sample: Sample, metrics: Sequence[Metric]) -> dict[str, dict[str, Any]]:
    result, source = store.read_result(sample.id), load_image(sample.image)
    # The benchmark's own captions, the same for every method; where it has none, what the method itself wrote.
    captions = sample.captions or result.decisions.captions
    origin = "" if sample.captions or captions is None else "captions by the method"
    rows = {}
    for metric in metrics:
        if not metric.applies(sample):
            continue
        try:
            score = metric.score(sample, source, result, captions)
            value, note = score.value, "; ".join(filter(None, (score.note, origin)))
        except MetricUndefined as error:
            value, note = None, str(error)
        row = {"sample_id": sample.id, "metric": metric.name, "value": value, "card_id": metric.card_id, "note": note}
        rows[metric.name] = row
    return rows
