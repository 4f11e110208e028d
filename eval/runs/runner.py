"""Run a method on a benchmark. Each outcome is stored immediately; metrics are computed from the stored outcomes."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from eval.benchmarks.base import Benchmark
from eval.metrics.base import Metric
from eval.runs.identity import address
from eval.runs.memory import peak_gib, reset_peak
from eval.runs.run import Run, read_run
from eval.runs.scoring import score_all, scored
from eval.runs.sharing import Missing, batches
from eval.runs.store import RunStore
from instructedit.images import load_image
from instructedit.types import ConfigError, EditRequest, EditResult, Failure, Method, Sample, Stage, StageError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunPlan:
    """A validated run, before any model loads."""

    name: str
    """Name of the method, such as ``diffedit``."""
    label: str
    """Name of the run in tables, such as ``instructedit ratio=0.5``."""
    method: Callable[[], Method]
    """Builds the method, when a sample is missing."""
    decides: Mapping[str, Any]
    """The method's parameters and the fingerprints of its models, which are a part of the run's address."""
    benchmark: Benchmark
    metrics: Callable[[], Sequence[Metric]]
    """Builds the metrics, when an edit has not been scored by them."""
    results: Path
    scoring: str | None = None
    """Identifies the metrics and their code (:func:`eval.runs.scoring.scoring_key`); None if that is unknown."""
    device_name: Callable[[], str] = lambda: "unknown"
    """Returns the device, when a sample is missing."""
    config: str = "{}"
    """The resolved configuration as YAML, which is stored with the run."""
    checkpoints: Mapping[str, str] | None = None
    seed: int = 0
    batch_size: int = 8
    retry_failed: bool = False
    waits: bool = True
    """Whether to wait for samples that other processes work on; a shard leaves them to the others."""
    fail_on_error: bool | int | float = False
    """When to stop: False is never, True at the first failure, a number above this count or share of the samples."""

    @property
    def run_id(self) -> str:
        """Address of the run."""
        return address(self.decides, self.benchmark, self.seed)


@dataclass(frozen=True)
class Outcome:
    """The result of one call of :func:`run`."""

    run: Run
    """The stored samples and metrics of the plan, with its name and label."""
    new: int | None
    """Number of samples that this call has done; None if jobs on a cluster did them."""
    missing: int
    """Number of samples without a record, which a later call will do."""
    is_scored: bool = True
    """Whether the values of all edits are stored."""
    stopped: bool = False
    """Whether ``fail_on_error`` stopped the run early."""


def run(plan: RunPlan) -> Outcome:
    """Edit the missing samples of a run, then score it; other processes may do the same at the same time.

    Raises:
        ConfigError: The request is not valid.
    """
    store = RunStore(plan.results, plan.run_id, warns=False)
    # First, because a method refuses wrong parameters, and then no folder is to be made.
    ids = [s.id for s in plan.benchmark.samples]
    method = plan.method() if store.missing(ids, plan.retry_failed) else None
    store.repair()
    missing = store.missing(ids, plan.retry_failed)
    new, stopped = 0, False
    if missing or not store.is_noted:
        device, peak = plan.device_name(), None
        store.begin(plan.config, device, plan.checkpoints or {}, len(ids))
        if missing:
            reset_peak(device)
            new, stopped = _edit_all(plan, method or plan.method(), Missing(store, missing))
            peak = round(peak_gib(device), 2)
        store.finish(peak)
    names = score_all(plan.metrics, plan.scoring, store, plan.benchmark, plan.waits)
    return replace(_outcome(plan, store, names), new=new, stopped=stopped)


def stored(plan: RunPlan) -> Outcome:
    """Return what is on disk of a run that other processes did; nothing is edited or scored."""
    store = RunStore(plan.results, plan.run_id)
    names = scored(plan.scoring, store, plan.benchmark)
    if names is not None:
        return _outcome(plan, store, names)
    # A process died before it had scored all edits, or the metrics are not known before they are built.
    values = store.read_metrics()
    outcome = _outcome(plan, store, [] if values is None else list(values["metric"].unique()))
    return replace(outcome, is_scored=plan.scoring is None)


def _outcome(plan: RunPlan, store: RunStore, metrics: Sequence[str]) -> Outcome:
    run = replace(read_run(store).narrowed(plan.benchmark, metrics), name=plan.name, plain_label=plan.label)
    return Outcome(run, None, len(plan.benchmark.samples) - len(run.records))


def _edit_all(plan: RunPlan, method: Method, missing: Missing) -> tuple[int, bool]:
    """Edit those of the missing samples that no other process has edited.

    Returns:
        The number of edited samples, and whether ``fail_on_error`` stopped the run.
    """
    samples, store, new = {s.id: s for s in plan.benchmark.samples}, missing.store, 0
    with tqdm(total=len(samples), initial=len(samples) - len(missing.lines), desc=plan.label, unit="edit") as bar:
        for ids in batches(store, missing.left, plan.batch_size, plan.waits, "edits"):
            for sample, outcome in _outcomes(plan, method, [samples[i] for i in ids]):
                store.write(outcome, sample)
                new += 1
                bar.update()
                if isinstance(outcome, Failure):
                    bar.write(f"{sample.id}: {outcome.stage}: {outcome.message}")
            failed = missing.failed()
            bar.n = len(samples) - len(missing.left())
            bar.set_postfix(failed=failed, refresh=False)
            if _too_many(failed, len(samples), plan.fail_on_error):
                return new, True
    return new, False


def _too_many(failed: int, total: int, limit: bool | int | float) -> bool:
    if limit is False or not failed:
        return False
    if limit is True:
        return True
    return failed > (limit * total if isinstance(limit, float) and limit < 1 else limit)


def _outcomes(plan: RunPlan, method: Method, batch: list[Sample]) -> Iterator[tuple[Sample, EditResult | Failure]]:
    requests: list[EditRequest] = []
    samples = {sample.id: sample for sample in batch}
    for sample in batch:
        try:
            image = load_image(sample.image)
        except StageError as error:
            yield sample, Failure(sample.id, error.stage, type(error).__name__, str(error))
        else:
            requests.append(EditRequest(sample.id, image, sample.instruction, sample.captions, plan.seed))
    for outcome in guarded(method, requests):
        yield samples[outcome.id], outcome


def guarded(method: Method, requests: list[EditRequest]) -> list[EditResult | Failure]:
    """Edit a batch; if the method raises, edit its requests one by one, so that failures are isolated per sample."""
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
