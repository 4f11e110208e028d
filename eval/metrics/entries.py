"""The metrics of a configuration: each entry is a ``_target_`` with its arguments and is loaded on first use.

A target is a metric's class, one of its classmethods, or a function that returns a metric, in any package.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from hydra.utils import instantiate

from eval.metrics.base import Metric
from instructedit.models import Context
from instructedit.types import ConfigError

Entry = Callable[..., Metric]
"""A target with its arguments except the context."""
CONTEXT = "context"
"""Name of the optional parameter through which a target receives the context."""


def metric_entries(config: Mapping[str, Any] | None) -> list[Entry]:
    """Validate the entries under ``metrics`` and import their targets, without building a metric.

    Args:
        config: Entries by name, in the order of the tables; null entries are skipped.

    Raises:
        ConfigError: An entry has no target, or an argument is unknown or missing.
    """
    return [_entry(name, config[name]) for name in config if config[name] is not None] if config else []


def _entry(name: str, config: Any) -> Entry:
    if not isinstance(config, Mapping) or "_target_" not in config:
        raise ConfigError(f"metrics.{name}: accepted is a mapping with _target_=<dotted path> and its arguments")
    entry: partial[Metric] = instantiate(config, _convert_="all", _partial_=True)
    signature = inspect.signature(entry.func)
    try:
        signature.bind(**entry.keywords, **({CONTEXT: None} if CONTEXT in signature.parameters else {}))
    except TypeError as error:
        accepted = ", ".join(p for p in signature.parameters if p != CONTEXT) or "none"
        raise ConfigError(f"metrics.{name}: {error}; accepted arguments: {accepted}") from None
    return entry


def load_metrics(entries: Iterable[Entry], context: Context) -> list[Metric]:
    """Build the metrics, in order. Metrics share networks through ``context.pool``.

    Raises:
        ConfigError: A checkpoint or a value cannot be used, a target returns no metric, or two metrics share a name.
    """
    metrics: dict[str, Metric] = {}
    for entry in entries:
        metric = entry(context=context) if CONTEXT in inspect.signature(entry).parameters else entry()
        if not isinstance(metric, Metric):
            raise ConfigError(
                f"metrics: a target returned {type(metric).__name__}, accepted is eval.metrics.base.Metric"
            )
        if metric.name in metrics:
            raise ConfigError(f"metrics: two entries are called {metric.name}; accepted is one metric of each name")
        metrics[metric.name] = metric
    return list(metrics.values())
