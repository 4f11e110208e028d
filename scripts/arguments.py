"""Command-line arguments as people type them, turned into Hydra overrides."""

import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from instructedit.types import ConfigError

_OVERRIDE = re.compile(r"[~+]*[A-Za-z_][\w./@:-]*=")
_WITH_VALUE = (
    "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd", "--package", "-p", "--cfg", "-c",
    "--experimental-rerun",
)  # fmt: skip
"""Hydra's own options that take the next argument."""
_SWEEP = ("-m", "--multirun")

PATHS = ("results", "out", "labels", "answers", "file", "benchmark.folder", "folder")
"""Keys of paths, which are taken as they are too; with ``-m`` only where Hydra's grammar cannot read them."""


def overrides(arguments: Sequence[str], verbatim: Sequence[str] = (), positional: Sequence[str] = ()) -> list[str]:
    """Quote values that are free text or paths, and name the arguments that are given without a key.

    Args:
        arguments: ``sys.argv[1:]``.
        verbatim: Keys whose value is taken as it is, with commas, quotes, brackets and ``$``. Hydra's grammar would
            refuse them, or read a sweep or an interpolation.
        positional: Keys of the arguments that are given without a key, in this order.

    Returns:
        Arguments for Hydra: ``-m`` and options with a value first, because it refuses overrides on both sides of one.

    Raises:
        ConfigError: more arguments without a key than ``positional``.
    """
    options: list[str] = []
    found: list[str] = []
    given = {argument.partition("=")[0] for argument in arguments}
    unnamed = [key for key in positional if key not in given]
    accepted = " and ".join(unnamed) or "none"
    is_value = False
    is_sweep = bool({*_SWEEP} & {*arguments})
    for argument in arguments:
        key, _, value = argument.partition("=")
        if is_value or argument in (*_WITH_VALUE, *_SWEEP):
            is_value = not is_value and argument in _WITH_VALUE
            options.append(argument)
        elif argument.startswith("-"):
            found.append(argument)
        elif positional and (not _OVERRIDE.match(argument) or Path(argument).exists()):
            if not unnamed:
                raise ConfigError(f"{argument!r} has no key; accepted without one: {accepted}")
            found.append(f"{unnamed.pop(0)}={quoted(argument)}")
        elif value not in ("", "null") and (
            key in verbatim or (key in PATHS and not (is_sweep and _is_readable(argument)))
        ):
            found.append(f"{key}={quoted(_bare(value))}")
        else:
            found.append(argument)
    return [*options, *found]


def quoted(text: str) -> str:
    """A text as one quoted value of Hydra's grammar, in which nothing is interpolated."""
    # A backslash is an escape only before a quote or at the end, and OmegaConf reads one before an interpolation.
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    text = re.sub(r"(\\*)'", r"\1\1\\'", text)
    text = re.sub(r"(\\+)$", r"\1\1", text)
    return f"'{text}'"


def _is_readable(argument: str) -> bool:
    try:
        OverridesParser.create().parse_override(argument)
    except HydraException:
        return False
    return True


def _bare(value: str) -> str:
    """The value without the quotes that Hydra's grammar asks for, where a user has typed them."""
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if is_quoted and value[0] not in value[1:-1] else value
