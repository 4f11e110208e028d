"""The metrics that a configuration names: each entry is a ``_target_`` with its arguments, and loads when first needed.

A target is a metric's class, one of its classmethods, or a function that returns a metric; it may be in any package.
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
"""A target with its arguments, all but the context."""
CONTEXT = "context"
"""The parameter through which a target is given the context, if it has one of this name."""


def metric_entries(config: Mapping[str, Any] | None) -> list[Entry]:
    """Check what stands under ``metrics`` and import its targets. No metric is made yet.

    Args:
        config: Entries by name, in the order of the tables; an entry that is null is left out.

    Raises:
        ConfigError: an entry has no target, or an argument is unknown or missing.
    """
    return [_entry(name, config[name]) for name in config if config[name] is not None] if config else []


def _entry(name: str, config: Any) -> Entry:
    if not isinstance(config, Mapping) or "_target_" not in config:
        raise ConfigError(f"metrics.{name}: accepted is a mapping with _target_=<dotted path> and its arguments")
    made: partial[Metric] = instantiate(config, _convert_="all", _partial_=True)
    signature = inspect.signature(made.func)
    try:
        signature.bind(**made.keywords, **({CONTEXT: None} if CONTEXT in signature.parameters else {}))
    except TypeError as error:
        accepted = ", ".join(p for p in signature.parameters if p != CONTEXT) or "none"
        raise ConfigError(f"metrics.{name}: {error}; accepted arguments: {accepted}") from None
    return made


def load_metrics(entries: Iterable[Entry], context: Context) -> list[Metric]:
    """Make the metrics, in order. Networks that several of them use are shared through ``context.pool``.

    Raises:
        ConfigError: a checkpoint or a value cannot be used, a target returns no metric, or two metrics have one name.
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
