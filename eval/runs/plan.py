"""From a Hydra configuration to a run, everything checked before a model loads. Past here there is no DictConfig."""

from functools import partial
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from eval.benchmarks.base import Benchmark, configured
from eval.metrics.entries import load_metrics, metric_entries
from eval.runs.identity import fingerprinted
from eval.runs.runner import RunPlan
from instructedit.checkpoints import checkpoints, require_checkpoints
from instructedit.models import Context
from instructedit.types import ConfigError, Method
from instructedit.wrappers.full_size import FullSize


def plan(config: DictConfig) -> tuple[RunPlan, Context]:
    """Check a configuration and build what it names.

    Raises:
        ConfigError: one line that names the key or file and what is accepted.
    """
    _check_integer(config, "batch_size", 1)
    _check_integer(config, "seed", 0)
    _check_integer(config, "variation", 0)
    if config.limit is not None:
        _check_integer(config, "limit", 1)
    config = wrapped(config)
    require_checkpoints(config.models, config.method, config.metrics)
    results = Path(config.results)
    benchmark = _benchmark(config, results).worded(int(config.variation))
    context = Context.create(results / "cache", str(config.device))
    method = instantiate(config.method, _convert_="all")(context=context)
    require_captions(str(config.name), method, benchmark)
    described = OmegaConf.to_container(config.method, resolve=True)
    assert isinstance(described, dict)
    made = RunPlan(
        name=str(config.name),
        label=f"{config.label} variation={benchmark.variation}" if benchmark.variation else str(config.label),
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


def wrapped(config: DictConfig) -> DictConfig:
    """The configuration with its method inside what ``ratio=auto`` and photos ask for, if anything."""
    return full_size(best_ratio(config))


def best_ratio(config: DictConfig) -> DictConfig:
    """The configuration with its method at each ratio of ``auto.ratios``, one edit of which is kept, if ``ratio=auto``.

    Raises:
        ConfigError: ``auto`` asks for no ratio.
    """
    if config.ratio != "auto":
        return config
    tries = []
    for ratio in config.auto.ratios:
        tried = config.copy()
        tried.ratio = ratio
        tries.append(OmegaConf.to_container(tried.method, resolve=True))
    if not tries:
        raise ConfigError("auto.ratios=[]: at least one ratio is needed, as [0.3,0.5,0.7,0.9]")
    chosen = config.copy()
    if all(t == tries[0] for t in tries) and len(tries) > 1:
        chosen.method = tries[0]  # which has no ratio
        return chosen
    rule_metrics = OmegaConf.to_container(config.auto.metrics, resolve=True)
    assert isinstance(rule_metrics, dict)
    chosen.method = {
        "_target_": "eval.auto.best_of",  # by name: its networks' modules take a second to import
        "_partial_": True,
        "ratios": list(config.auto.ratios),
        "methods": tries,
        "weight": config.auto.weight,
        # Partial, because the context comes later.
        "metrics": {k: {**v, "_partial_": True} for k, v in rule_metrics.items()},
    }
    return chosen


def full_size(config: DictConfig) -> DictConfig:
    """The configuration with its method wrapped for photos, where ``max_side`` or ``paste_back`` asks for it.

    The wrapper is a part of the method, and so of the run's address, wherever it works. Elsewhere, as on picturebook,
    whose pictures are as small as its models, there is none, and nothing changes.
    """
    if config.max_side is None and not config.paste_back:
        return config
    wrapped = config.copy()
    wrapped.method = {
        "_target_": f"{FullSize.__module__}.{FullSize.__qualname__}",
        "_partial_": True,
        "method": config.method,
        "max_side": config.max_side,
        "paste_back": config.paste_back,
    }
    return wrapped


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
    if not getattr(method, "needs_captions", False):
        return
    for sample in benchmark.samples:
        if sample.captions is None:
            raise ConfigError(
                f"method={name} is driven by captions, and sample {sample.id} of benchmark {benchmark.name} has none; "
                'accepted are manifests with "captions": {"input": ..., "edited": ...} for each sample'
            )


def _check_integer(config: DictConfig, key: str, low: int) -> None:
    value = config[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise ConfigError(f"{key}={value}: accepted are whole numbers from {low} on")
