"""Runs on disk to Weights & Biases, as ``logger=wandb`` tells of them; nothing is computed again.

python -m scripts.publish runs=[v2-0123456789abcdef]
"""

import sys
from functools import cache
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig

from eval.benchmarks.base import Benchmark, configured
from eval.loggers.base import Logger, Reporter
from eval.runs.run import Run, read_runs
from instructedit.types import ConfigError
from scripts.app import OK, SOME_FAILED, launch


def task(config: DictConfig) -> int:
    """Publish the chosen runs; exit code 1 where one of them could not be."""
    if "_target_" not in (config.logger or {}):
        raise ConfigError("logger=none publishes nothing; accepted is wandb")
    logger: Logger = instantiate(config.logger, _convert_="all")
    results = Path(str(config.results))
    runs = selected(results, config.runs)
    reporter, published = Reporter(), 0
    for run in runs:
        # No group: a run that was logged with one keeps it.
        if not reporter.tell(logger, results, run.run_id, benchmark_of(run), None):
            break
        published += 1
        print(f"{run.run_id}: {run.label}")
    print(f"{published} of {len(runs)} runs published")
    return OK if published == len(runs) else SOME_FAILED


def selected(results: Path, wanted: str | ListConfig) -> list[Run]:
    """Runs with at least one sample: all, or those named.

    Raises:
        ConfigError: one of the ids is not there, or nothing is.
    """
    found = {run.run_id: run for run in read_runs(results) if run.records}
    ids = list(found) if wanted == "all" else wanted.split(",") if isinstance(wanted, str) else [str(w) for w in wanted]
    if unknown := [i for i in ids if i not in found]:
        raise ConfigError(f"runs={','.join(unknown)}: not in {results}/runs; accepted are all, {', '.join(found)}")
    if not ids:
        raise ConfigError(f"results={results}: no runs there")
    return [found[i] for i in ids]


def benchmark_of(run: Run) -> Benchmark | None:
    """What a run was made on, if it still lies where it lay and is what it was."""
    named = run.config.get("benchmark") or {}
    benchmark = _loaded(str(named["folder"]), named.get("reader"), run.store.root) if named.get("folder") else None
    return benchmark if benchmark and run.was_made_on(benchmark) is not False else None


@cache
def _loaded(folder: str, reader: str | None, results: Path) -> Benchmark | None:
    try:
        return configured({"folder": folder, "reader": reader}, results)
    except ConfigError:
        return None


if __name__ == "__main__":
    sys.exit(launch(task, "publish"))
