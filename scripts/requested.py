"""Shared by the commands that edit one picture, clip or scene: required keys, captions by hand, and the method."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from instructedit.types import Captions, ConfigError, Method

if TYPE_CHECKING:
    from instructedit.models import Context

_CAPTIONS = "method={} takes captions.input=... and captions.edited=..., both"


def require_given(config: DictConfig, keys: Sequence[str], example: str) -> None:
    """Check that keys without a default have a value.

    Args:
        config: The command's configuration.
        keys: The keys.
        example: A complete command, for the message.

    Raises:
        ConfigError: A key has no value.
    """
    for key in keys:
        if OmegaConf.is_missing(config, key) or not str(config[key] or "").strip():
            raise ConfigError(f"{key}=... is needed, as in: {example}")


def given_captions(config: DictConfig) -> Captions | None:
    """Return the captions that were given by hand; None without.

    Raises:
        ConfigError: Only one of them is given.
    """
    given = [config.captions.input, config.captions.edited]
    if not any(given):
        return None
    if not all(given):
        raise ConfigError(_CAPTIONS.format(config.name))
    return Captions(*map(str, given))


def load_method(config: DictConfig, captions: Captions | None) -> "tuple[Context, Method]":
    """Return the method with the context that it was built with.

    Raises:
        ConfigError: The method needs captions, and there are none; or a parameter has a value that is not accepted.
    """
    # torch takes seconds to import, which an edit that is already stored does not need.
    from instructedit.models import Context

    context = Context.create(Path(config.results) / "cache", str(config.device), config.offload, config.compiler)
    method: Method = instantiate(config.wrapper, _convert_="all")(context=context)
    if method.needs_captions and captions is None:
        raise ConfigError(_CAPTIONS.format(config.name))
    return context, method
