"""Shared by all scripts: Hydra's overrides, one-line messages for configuration errors, and the exit codes.

0: all samples edited. 1: some samples failed (they are rows in the results), or the disk did. 2: the configuration was
wrong. 130: interrupted.
"""

import difflib
import errno
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from instructedit.types import ConfigError, StageError
from scripts.arguments import overrides

log = logging.getLogger(__name__)
CONF = Path(__file__).resolve().parent.parent / "conf"
OK, SOME_FAILED, WRONG_REQUEST, INTERRUPTED = 0, 1, 2, 130
STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)
"""Errors of the results' disk, which are neither the request's nor this code's."""
INTERRUPTION = "interrupted; finished samples are kept, and the same command resumes"


def launch(
    task: Callable[[DictConfig], int],
    config_name: str,
    verbatim: Sequence[str] = (),
    positional: Sequence[str] = (),
    check: Callable[[DictConfig], None] | None = None,
    collect: Callable[[DictConfig], int] | None = None,
) -> int:
    """Run ``task`` under Hydra, once or (with ``-m``) for each job of a sweep.

    A failed job does not end the sweep.

    Args:
        task: The work; returns its exit code.
        config_name: The primary configuration in ``conf/``.
        verbatim: Keys of free text, see :func:`scripts.arguments.overrides`.
        positional: Keys of the arguments without a key.
        check: Validates a job's configuration, before jobs are sent to a cluster.
        collect: Takes the results of a job that ran on a cluster, and returns its exit code.

    Returns:
        The highest exit code.
    """
    # Otherwise Hydra prints errors itself, in several lines, and always exits with 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    if config_name != "checkpoints":
        # Each loaded model would leave a bar among our lines; downloads keep theirs.
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    codes: list[int] = []

    def guarded(config: DictConfig) -> int:
        codes.append(_guard(lambda: task(config)))
        return codes[-1]

    # Hydra takes the job's name and docstring from the function that it wraps.
    guarded.__name__, guarded.__module__ = task.__name__, task.__module__

    def collected(config: DictConfig, code: int | None) -> int:
        # What a task that died (None) was to do, others may have done.
        own = code if code is not None else OK if collect else SOME_FAILED
        codes.append(max(own, _guard(lambda: collect(config)) if collect else OK))
        return codes[-1]

    # For scripts.slurm, which runs the task in other processes.
    vars(guarded).update(check=check, collect=collected)
    entry = hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(guarded)

    def run() -> int:
        sys.argv[1:] = overrides(sys.argv[1:], verbatim, positional)
        return entry() or OK

    try:
        return max([_guard(run), *codes])
    except KeyboardInterrupt:
        print(INTERRUPTION, file=sys.stderr)
        return INTERRUPTED


def _guard(body: Callable[[], int]) -> int:
    try:
        return body()
    except Exception as error:
        line = _request_error(error)
        if line is None and (full := _storage_error(error)):
            print(f"error: {full}; finished samples are kept, and the same command resumes", file=sys.stderr)
            return SOME_FAILED
        if line is None:
            log.exception("unexpected error")
            return SOME_FAILED
        print(f"error: {line}", file=sys.stderr)
        return WRONG_REQUEST


def _request_error(error: BaseException) -> str | None:
    """Return the one-line message of a configuration error in the chain of causes; None if there is none."""
    for cause in _causes(error):
        if isinstance(cause, ConfigError | StageError):
            return str(cause)
    for cause in _causes(error):
        if isinstance(cause, MissingConfigException) and cause.options is not None:
            group, _, choice = str(cause.missing_cfg_file).rpartition("/")
            accepted = ", ".join(option for option in cause.options if not option.startswith("_"))
            return f"{group}={choice}: accepted are {accepted}"
    if isinstance(error, OverrideParseException):
        return f"{error.override!r} cannot be read: {_flat(error.message)}; overrides are key=value"
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _override_error(_flat(error))
    return None


def _storage_error(error: BaseException) -> str | None:
    """Return a line for a disk that is full or cannot be written; None for other errors."""
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno in STORAGE:
            return f"{cause.strerror}: {cause.filename}" if cause.filename else str(cause.strerror)
    return None


def _override_error(message: str) -> str:
    """Return Hydra's message, shortened; for an unknown key, it suggests the nearest known ones."""
    if unknown := re.search(r"Could not override '([^']+)'", message):
        key = unknown.group(1)
        near = difflib.get_close_matches(key, known_keys(), n=3, cutoff=0.7)
        return f"unknown key {key!r}" + (f"; did you mean {' or '.join(near)}?" if near else "; see conf/config.yaml")
    if unknown := re.search(r"No match in the defaults list\. ?.*'([^']+)'", message):
        return f"unknown choice {unknown.group(1)!r}; see conf/"
    return re.sub(r" (See https?://\S+.*|Set the environment variable.*)$", "", message)


def _flat(text: object) -> str:
    return " ".join(str(text).split())


def known_keys() -> list[str]:
    """Return the keys that can be overridden, such as ``segmenter.box_threshold``, for suggestions."""
    found: dict[str, None] = dict.fromkeys(p.name for p in CONF.iterdir() if p.is_dir())
    for path in (CONF / "config.yaml", *sorted(CONF.glob("*/*.yaml"))):
        values = OmegaConf.to_container(OmegaConf.load(path))
        is_global = path.parent == CONF or "@package _global_" in path.read_text()
        found |= dict.fromkeys(_paths(values, "" if is_global else f"{path.parent.name}."))
    return list(found)


def _paths(node: Any, prefix: str) -> Iterator[str]:
    for key, value in node.items() if isinstance(node, dict) else ():
        if prefix or key not in ("defaults", "hydra"):
            yield f"{prefix}{key}"
            yield from _paths(value, f"{prefix}{key}.")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
