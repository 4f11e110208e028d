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
from eval.runs.run import Run, read_run
from eval.runs.scoring import score_all
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
    new: int
    """Number of samples that were missing before this call; the others were already stored."""
    stopped: bool
    """Whether ``fail_on_error`` stopped the run early."""


def run(plan: RunPlan) -> Outcome:
    """Edit the missing samples of a run, then score it.

    Raises:
        ConfigError: The request is not valid, or another process has locked the run.
    """
    store = RunStore(plan.results, plan.run_id, warns=False)
    # Before the lock, because a method refuses wrong parameters, and then no folder is to be made.
    method = plan.method() if _missing(plan, store) else None
    with store.lock():
        missing = _missing(plan, store)
        stopped = False
        if missing or not store.is_noted:
            store.begin(plan.config, plan.device_name(), plan.checkpoints or {})
            if missing:
                stopped = _edit_all(plan, method or plan.method(), store, missing)
            store.finish()
        names = score_all(plan.metrics, plan.scoring, store, plan.benchmark)
        stored = read_run(store).narrowed(plan.benchmark, names)
    return Outcome(replace(stored, name=plan.name, plain_label=plan.label), len(missing), stopped)


def _missing(plan: RunPlan, store: RunStore) -> list[Sample]:
    known = store.finished(plan.retry_failed)
    return [s for s in plan.benchmark.samples if s.id not in known]


def _edit_all(plan: RunPlan, method: Method, store: RunStore, missing: list[Sample]) -> bool:
    """Edit the missing samples; return True if ``fail_on_error`` stopped the run."""
    failed, total = 0, len(plan.benchmark.samples)
    with tqdm(total=total, initial=total - len(missing), desc=plan.label, unit="edit") as bar:
        for start in range(0, len(missing), plan.batch_size):
            batch = missing[start : start + plan.batch_size]
            for sample, outcome in _outcomes(plan, method, batch):
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
