"""Upload runs on disk to Weights & Biases, as ``logger=wandb`` does during a run. Nothing is computed again.

python -m scripts.publish runs=[v2-0123456789abcdef]
"""

import sys
from functools import cache
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig

from eval.benchmarks.base import Benchmark, configured
from eval.loggers.base import Logger, Reporter
from eval.runs.labels import distinguished
from eval.runs.run import Run, read_runs
from instructedit.types import ConfigError
from scripts.app import OK, SOME_FAILED, launch


def task(config: DictConfig) -> int:
    """Publish the selected runs; the exit code is 1 if one fails."""
    if "_target_" not in (config.logger or {}):
        raise ConfigError("logger=none publishes nothing; accepted is wandb")
    logger: Logger = instantiate(config.logger, _convert_="all")
    results = Path(str(config.results))
    runs = distinguished(selected(results, config.runs))
    reporter, published = Reporter(), 0
    for run in runs:
        # Without a group, a run that was logged with one keeps it.
        if not reporter.tell(logger, results, run.run_id, benchmark_of(run), None):
            break
        published += 1
        print(f"{run.run_id}: {run.label}")
    print(f"{published} of {len(runs)} runs published")
    return OK if published == len(runs) else SOME_FAILED


def selected(results: Path, wanted: str | ListConfig) -> list[Run]:
    """Return runs with at least one sample: all, or those with the given ids.

    Raises:
        ConfigError: An id is unknown, or there are no runs.
    """
    runs = {run.run_id: run for run in read_runs(results) if run.records}
    ids = list(runs) if wanted == "all" else wanted.split(",") if isinstance(wanted, str) else [str(w) for w in wanted]
    if unknown := [i for i in ids if i not in runs]:
        raise ConfigError(f"runs={','.join(unknown)}: not in {results}/runs; accepted are all, {', '.join(runs)}")
    if not ids:
        raise ConfigError(f"results={results}: no runs there")
    return [runs[i] for i in ids]


def benchmark_of(run: Run) -> Benchmark | None:
    """Return the benchmark of a run; None if it has been moved or changed since."""
    config = run.config.get("benchmark") or {}
    benchmark = _loaded(str(config["folder"]), config.get("reader"), run.store.root) if config.get("folder") else None
    return benchmark if benchmark and run.was_made_on(benchmark) is not False else None


@cache
def _loaded(folder: str, reader: str | None, results: Path) -> Benchmark | None:
    try:
        return configured({"folder": folder, "reader": reader}, results)
    except ConfigError:
        return None


if __name__ == "__main__":
    sys.exit(launch(task, "publish"))
