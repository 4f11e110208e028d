"""From a Hydra configuration to a run, everything checked before a model loads. Past here there is no DictConfig."""

from functools import partial
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from eval.benchmarks.base import Benchmark, configured
from eval.metrics.entries import load_metrics, metric_entries
from eval.runs.identity import fingerprinted
from eval.runs.labels import configured_label
from eval.runs.runner import RunPlan
from instructedit.checkpoints import checkpoints, require_checkpoints
from instructedit.checks import require_whole
from instructedit.models import Context
from instructedit.types import ConfigError, Method


def plan(config: DictConfig) -> tuple[RunPlan, Context]:
    """Check a configuration and build what it names.

    Raises:
        ConfigError: one line that names the key or file and what is accepted.
    """
    require_whole("batch_size", config.batch_size, 1)
    require_whole("seed", config.seed, 0)
    require_whole("variation", config.variation, 0)
    if config.limit is not None:
        require_whole("limit", config.limit, 1)
    require_checkpoints(config.models, config.wrapper, config.metrics)
    results = Path(config.results)
    benchmark = _benchmark(config, results).worded(int(config.variation))
    context = Context.create(results / "cache", str(config.device))
    method = instantiate(config.wrapper, _convert_="all")(context=context)
    require_captions(str(config.name), method, benchmark)
    described = OmegaConf.to_container(config.wrapper, resolve=True)
    assert isinstance(described, dict)
    made = RunPlan(
        name=str(config.name),
        label=configured_label(config),
        method=method,
        decides=fingerprinted(described),
        benchmark=benchmark,
        metrics=partial(load_metrics, metric_entries(config.metrics), context),
        results=results,
        config=OmegaConf.to_yaml(config, resolve=True),
        checkpoints={c.id: c.version for c in checkpoints(described)},
        seed=int(config.seed),
        batch_size=int(config.batch_size),
        retry_failed=bool(config.retry_failed),
        fail_on_error=config.fail_on_error,
    )
    return made, context


def _benchmark(config: DictConfig, results: Path) -> Benchmark:
    if OmegaConf.is_missing(config.benchmark, "folder"):
        expected = "a folder with manifest.jsonl or manifest.csv"
        raise ConfigError(f"benchmark={config.benchmark.name} needs benchmark.folder=<{expected}>")
    return configured(config.benchmark, results, None if config.limit is None else int(config.limit))


def require_captions(name: str, method: Method, benchmark: Benchmark) -> None:
    """Refuse a method that captions drive (its ``needs_captions`` is true) where a sample has none.

    Raises:
        ConfigError: names the benchmark and its first sample without captions.
    """
    if not method.needs_captions:
        return
    for sample in benchmark.samples:
        if sample.captions is None:
            raise ConfigError(
                f"method={name} is caption-conditioned, and sample {sample.id} of benchmark {benchmark.name} has none; "
                'accepted are manifests with "captions": {"input": ..., "edited": ...} for each sample'
            )
