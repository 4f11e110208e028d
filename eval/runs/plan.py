"""Plan a run from a Hydra configuration, which is validated before a model loads. No DictConfig is passed on."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from eval.benchmarks.base import Benchmark, configured
from eval.metrics.base import Metric
from eval.metrics.entries import load_metrics, metric_entries
from eval.runs.identity import fingerprinted
from eval.runs.labels import configured_label
from eval.runs.runner import RunPlan
from eval.runs.scoring import scoring_key
from instructedit.checkpoints import checkpoints, require_checkpoints
from instructedit.types import ConfigError, Method

if TYPE_CHECKING:
    from instructedit.models import Context


def plan(config: DictConfig) -> RunPlan:
    """Validate a configuration; method and metrics are built when needed, because importing them takes seconds.

    Raises:
        ConfigError: The configuration is not valid. The message is one line that names the key or file and the accepted
            values.
    """
    require_checkpoints(config.models, config.wrapper, config.metrics)
    results = Path(config.results)
    benchmark = _benchmark(config, results).worded(int(config.variation))
    described = OmegaConf.to_container(config.wrapper, resolve=True)
    metrics = OmegaConf.to_container(config.metrics, resolve=True) if config.metrics else {}
    assert isinstance(described, dict)
    parts = _Parts(config, benchmark, results)
    return RunPlan(
        name=str(config.name),
        label=configured_label(config),
        method=lambda: parts.method,
        decides=fingerprinted(described),
        benchmark=benchmark,
        metrics=lambda: parts.metrics,
        results=results,
        scoring=scoring_key(metrics),
        device_name=lambda: str(parts.context.device),
        config=OmegaConf.to_yaml(_without_shard(config), resolve=True),
        checkpoints={c.id: c.version for c in checkpoints(described)},
        seed=int(config.seed),
        batch_size=int(config.batch_size),
        retry_failed=bool(config.retry_failed),
        waits=config.shard is None,
        fail_on_error=config.fail_on_error,
    )


def _without_shard(config: DictConfig) -> DictConfig:
    """Return the configuration of the run, whose folder is that of all its shards."""
    config = config.copy()
    config.shard = None
    return config


@dataclass(frozen=True)
class _Parts:
    """What takes torch to build, built once and only when asked for."""

    config: DictConfig
    benchmark: Benchmark
    results: Path

    @cached_property
    def context(self) -> "Context":
        from instructedit.models import Context

        config = self.config
        return Context.create(self.results / "cache", str(config.device), config.offload, config.compiler)

    @cached_property
    def method(self) -> Method:
        # Entries are validated before the first edit, so that a wrong metric does not cost the edits' time.
        metric_entries(self.config.metrics)
        method: Method = instantiate(self.config.wrapper, _convert_="all")(context=self.context)
        require_captions(str(self.config.name), method, self.benchmark)
        return method

    @cached_property
    def metrics(self) -> list[Metric]:
        return load_metrics(metric_entries(self.config.metrics), self.context)


def _benchmark(config: DictConfig, results: Path) -> Benchmark:
    if OmegaConf.is_missing(config.benchmark, "folder"):
        expected = "a folder with manifest.jsonl or manifest.csv"
        raise ConfigError(f"benchmark={config.benchmark.name} needs benchmark.folder=<{expected}>")
    return configured(config.benchmark, results, None if config.limit is None else int(config.limit))


def require_captions(name: str, method: Method, benchmark: Benchmark) -> None:
    """Refuse a caption-conditioned method (``needs_captions`` is true) if a sample has no captions.

    Raises:
        ConfigError: A sample has no captions. The message names the benchmark and the first such sample.
    """
    if not method.needs_captions:
        return
    for sample in benchmark.samples:
        if sample.captions is None:
            raise ConfigError(
                f"method={name} is caption-conditioned, and sample {sample.id} of benchmark {benchmark.name} has none; "
                'accepted are manifests with "captions": {"input": ..., "edited": ...} for each sample'
            )
