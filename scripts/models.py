"""List, check or fetch the checkpoints of a models preset.

python -m scripts.models list models=sd15     # ids, sizes and folders; uses no network
python -m scripts.models check models=sd15    # exit code 1 if one is missing; uses no network
python -m scripts.models fetch models=sd15    # downloads missing files and resumes partial downloads
python -m scripts.models list pipeline=flux_kontext   # likewise for the checkpoint of a preset of method=pipeline
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from instructedit import hub
from instructedit.checkpoints import OPTIONAL, PIPELINE, Checkpoint, by_key, fetch_command, named
from instructedit.checks import require_one_of
from instructedit.types import ConfigError
from scripts.app import OK, SOME_FAILED, launch

ACTIONS = ("list", "fetch", "check")
RANDOM = "random:"
"""Prefix of the source of a checkpoint that is built from a configuration with random weights."""


def task(config: DictConfig) -> int:
    """List, fetch or check the checkpoints of a preset."""
    require_one_of("action", config.action, ACTIONS)
    if config.get(PIPELINE):
        node = OmegaConf.to_container(config.pipeline.checkpoint, resolve=True)
        checkpoints = {PIPELINE: named(node)}  # type: ignore[arg-type]
        facts = {"licence": config.pipeline.licence, "gigabytes": config.pipeline.memory_gb}
        about = {**config.about, checkpoints[PIPELINE].id: facts}
    else:
        checkpoints, about = dict(by_key(OmegaConf.to_container(config.models, resolve=True))), config.about
    selected = {k: c for k, c in checkpoints.items() if not k.startswith(OPTIONAL)}
    if config.only is not None:
        keys = [str(k) for k in ([config.only] if isinstance(config.only, str) else config.only)]
        if unknown := [k for k in keys if k not in checkpoints]:
            raise ConfigError(f"only=[{','.join(unknown)}]: accepted are {', '.join(checkpoints)}")
        selected = {k: checkpoints[k] for k in keys}
    if config.action == "list":
        show(checkpoints if config.only is None else selected, about)
        return OK
    return check(selected) if config.action == "check" else fetch(selected)


def show(named: Mapping[str, Checkpoint], about: Mapping[str, Any]) -> None:
    """Print one line per checkpoint."""
    rows = [("key", "id", "revision", "licence", "about", "where")]
    for key, c in named.items():
        facts = about.get(c.source or c.id) or {}
        size = f"{facts['gigabytes']:.1f} GB" if facts else "unknown"
        where = "missing" if c.missing() else str(c.folder)
        rows.append((key, c.id, _revision(c), facts.get("licence", "unknown"), size, where))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _revision(checkpoint: Checkpoint) -> str:
    if checkpoint.is_local:
        return f"content {checkpoint.version}"
    if checkpoint.revision is None:
        return Path(checkpoint.source or "").name
    pinned = hub.is_pinned(checkpoint.revision)
    return checkpoint.revision if pinned else f"not pinned: {checkpoint.revision}"


def check(selected: Mapping[str, Checkpoint]) -> int:
    """Print the missing files and the command that fetches them; return the exit code."""
    missing = {key: files for key, c in selected.items() if (files := c.missing())}
    for key, files in missing.items():
        print(f"{key}: {selected[key].id}: {files}")
    print(f"{len(selected) - len(missing)} of {len(selected)} checkpoints are on this machine")
    if missing:
        group = PIPELINE if PIPELINE in selected else "models"
        print(f"fetch the others with: {fetch_command(list(missing), group)}")
    return SOME_FAILED if missing else OK


def fetch(named: Mapping[str, Checkpoint]) -> int:
    """Download missing files and return the exit code. Failures are isolated per checkpoint."""
    failed = 0
    for key, c in named.items():
        if not c.missing():
            print(f"{key}: {c.folder}")
            continue
        print(f"{key}: fetching {c.id}", flush=True)
        try:
            _fetch(key, c)
            if missing := c.missing():
                raise hub.FetchError(f"its repository lacks {missing}; name a copy that has it by {_path(key)}.id")
        except hub.FetchError as error:
            print(f"error: {_path(key)}: {c.id}: {error}", file=sys.stderr)
            failed += 1
    print(f"{len(named) - failed} of {len(named)} checkpoints are on this machine")
    return SOME_FAILED if failed else OK


def _path(key: str) -> str:
    """Return the path of a checkpoint in the configuration."""
    return f"{PIPELINE}.checkpoint" if key == PIPELINE else f"models.{key}"


def _fetch(key: str, checkpoint: Checkpoint) -> None:
    # Both modules import torch, which takes seconds and which listing and checking do not need.
    if checkpoint.source and checkpoint.source.startswith(RANDOM):
        from scripts.random_weights import build

        build(checkpoint.source.removeprefix(RANDOM), Path(checkpoint.id))
    elif checkpoint.source:
        from scripts.download import convert

        convert(checkpoint.source, Path(checkpoint.id))
    elif checkpoint.is_local:
        raise hub.FetchError("a folder of your own, which only you can complete")
    else:
        revision = str(checkpoint.revision)
        commit = hub.fetch(checkpoint.id, revision, checkpoint.files).name
        if not hub.is_pinned(revision):
            print(f"{key}: {revision} is {commit} today; pin it with {_path(key)}.revision={commit}")


def main() -> int:
    """Run the action that is named without a key; the other arguments are Hydra's overrides."""
    return launch(task, "checkpoints", positional=("action",))


if __name__ == "__main__":
    sys.exit(main())
