"""Values of the main configuration, checked before anything slow is imported."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig

from instructedit import parameters
from instructedit.checks import is_number, require, require_whole


def _whole(low: int, key: str, value: Any) -> None:
    require_whole(key, value, low)


def _limit(value: Any) -> None:
    if value is not None:
        require_whole("limit", value, 1)


def _shard(value: Any) -> None:
    if value is not None:
        require_whole("shard", value, 0)


def _fail_on_error(value: Any) -> None:
    is_share = isinstance(value, float) and 0 < value < 1
    is_count = is_number(value) and value >= 1 and value == int(value)
    accepted = "true, false, a share of the samples between 0 and 1, or a count from 1 on"
    require(isinstance(value, bool) or is_share or is_count, "fail_on_error", value, accepted)


def _ratios(value: Any) -> None:
    accepted = "a list of numbers above 0 and up to 1, such as [0.5,0.7]"
    require(isinstance(value, ListConfig | list) and len(value) > 0, "auto.ratios", value, accepted)
    for ratio in value:
        parameters.check_ratio(ratio, "auto.ratios")


def _weight(key: str, value: Any) -> None:
    require(is_number(value) and value >= 0, key, value, "numbers from 0 on")


def _auto(value: Any) -> None:
    _ratios(value.ratios)
    _weight("auto.weight", value.weight)


def _tuning(value: Any) -> None:
    if value is not None:
        is_rule = isinstance(value, Mapping | DictConfig) and set(value) == {"weight"}
        require(is_rule, "tuning", value, "null, or {weight: <number>}")
        _weight("tuning.weight", value["weight"])


def _results(value: Any) -> None:
    accepted = "a folder that can be written; it is made where it does not exist"
    path = Path(str(value))
    nearest = next(p for p in (path, *path.absolute().parents) if p.exists())
    require(value not in (None, "") and nearest.is_dir() and os.access(nearest, os.W_OK), "results", value, accepted)


def _offload(value: Any) -> None:
    is_size = is_number(value) and value >= 0
    require(value is None or is_size, "offload", value, "null, or GiB of the GPU's memory to keep free, from 0 on")


def _compiler(value: Any) -> None:
    accepted = "null, or a backend of torch.compile such as inductor"
    require(value is None or (isinstance(value, str) and value.isidentifier()), "compiler", value, accepted)


CHECKS: Mapping[str, Callable[[Any], None]] = {
    "ratio": parameters.check_ratio,
    "theta": parameters.check_theta,
    "start": partial(_whole, 0, "start"),
    "end": partial(_whole, 0, "end"),
    "guidance_scale": parameters.check_guidance_scale,
    "image_guidance_scale": partial(parameters.check_guidance_scale, key="image_guidance_scale"),
    "dilate": parameters.check_dilate,
    "auto": _auto,
    "tuning": _tuning,
    "seed": partial(_whole, 0, "seed"),
    "variation": partial(_whole, 0, "variation"),
    "max_side": parameters.check_max_side,
    "paste_back": partial(parameters.check_flag, key="paste_back"),
    "limit": _limit,
    "shard": _shard,
    "batch_size": partial(_whole, 1, "batch_size"),
    "device": parameters.check_device,
    "offload": _offload,
    "compiler": _compiler,
    "results": _results,
    "retry_failed": partial(parameters.check_flag, key="retry_failed"),
    "fail_on_error": _fail_on_error,
}
"""The check of each value at the top of ``conf/config.yaml``; those of a component's own are its class's."""


def chosen_runs(key: str, value: Any) -> str | list[str]:
    """Return the choice of runs under a key: ``all``, ``latest``, or run ids or beginnings of them.

    Raises:
        ConfigError: The value is none of these.
    """
    require(isinstance(value, str | ListConfig), key, value, "all, latest, or run ids as [v2-0123,v2-4567]")
    return value if isinstance(value, str) else [str(run) for run in value]


def check_values(config: DictConfig) -> None:
    """Check the values at the top of the configuration.

    Raises:
        ConfigError: One is not accepted; the message names the key and what is accepted.
    """
    for key, check in CHECKS.items():
        check(config[key])
