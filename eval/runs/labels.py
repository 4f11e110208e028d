"""Labels of runs, as tables show them; no other module writes a part of one.

A run's label is the configured ``label``, with the paraphrase if it is not the benchmark's own instruction. Runs of one
set that share it get ``key=value`` for the choices and hyperparameters in which they differ, such as
``language=rules steps=20``; if they differ in none, the beginning of their address's hash.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from instructedit.checkpoints import CHECKPOINT

if TYPE_CHECKING:
    from eval.runs.run import Run

CHOICES = "choices"
"""Key of a run's configuration: the name of the file selected in each group of ``conf/``, such as ``rules``."""
_TARGET = "._target_"
_LONGEST = 40


def configured_label(config: Mapping[str, Any], otherwise: str = "") -> str:
    """Return the label of a run on its own.

    Args:
        config: The run's configuration.
        otherwise: The label of a configuration with neither a label nor a name.
    """
    label, variation = str(config.get("label") or config.get("name") or otherwise), int(config.get("variation") or 0)
    return f"{label} variation={variation}" if variation else label


def distinguished(runs: Sequence["Run"]) -> list["Run"]:
    """Return the runs with labels that show how they differ; equal run ids have equal labels."""
    groups: dict[str, dict[str, Run]] = {}
    for run in runs:
        groups.setdefault(run.plain_label, {})[run.run_id] = run
    differences: dict[str, str] = {}
    for group in groups.values():
        texts = _differences(group)
        for run_id, text in texts.items():
            tag = f"#{run_id.rpartition('-')[2][:6]}" if list(texts.values()).count(text) > 1 else ""
            differences[run_id] = " ".join(filter(None, (text, tag)))
    return [replace(run, difference=differences[run.run_id]) for run in runs]


def settings(run: "Run") -> dict[str, str]:
    """Return the configuration that decides a run's numbers, as texts by dotted path.

    The value of a component is the name of its class or function, and that of a checkpoint the last part of its id.
    """
    benchmark = run.config.get("benchmark")
    top = {"seed": run.config.get("seed"), "variation": run.config.get("variation")}
    top["benchmark"] = benchmark.get("name") if isinstance(benchmark, Mapping) else None
    found = {key: str(value) for key, value in top.items() if value is not None}
    leaves = {f"wrapper.{path}": value for path, value in run.hyperparameters.items()}
    for path, value in leaves.items():
        parent, _, key = path.rpartition(".")
        if leaves.get(parent + _TARGET) == CHECKPOINT:
            if key not in ("id", "source", "base", "_target_"):
                found[path] = _text(value)
            found[parent] = PurePath(str(leaves[f"{parent}.id"])).name
        elif key == "_target_":
            found[parent] = _snake(str(value))
        else:
            found[path] = _text(value)
    return found


def _differences(group: Mapping[str, "Run"]) -> dict[str, str]:
    """Return ``key=value`` texts by run id; of components that differ, their own settings are left out."""
    by_run = {run_id: settings(run) for run_id, run in group.items()}
    paths = dict.fromkeys(path for own in by_run.values() for path in own)
    differing = [path for path in paths if len({own.get(path) for own in by_run.values()}) > 1]
    hidden = {
        path
        for path in differing
        for other in differing
        if path.startswith(f"{other}.") and all(other in own for own in by_run.values() if path in own)
    }
    outer = [path for path in differing if path not in hidden]
    names = {path: _short(path, outer) for path in outer}
    texts = {
        run_id: " ".join(f"{names[path]}={_shown(group[run_id], path, own[path])}" for path in outer if path in own)
        for run_id, own in by_run.items()
    }
    for text in set(texts.values()):
        alike = {run_id: group[run_id] for run_id, other in texts.items() if other == text}
        if 1 < len(alike) < len(group):
            texts |= {run_id: " ".join(filter(None, (text, more))) for run_id, more in _differences(alike).items()}
    return texts


def _short(path: str, paths: Sequence[str]) -> str:
    """Return the shortest end of a path that no other path has, such as ``steps`` or ``detector.checkpoint``."""
    parts = path.split(".")
    ends = [".".join(parts[-size:]) for size in range(1, len(parts) + 1)]
    return next(end for end in ends if sum(f".{other}".endswith(f".{end}") for other in paths) == 1 or end == path)


def _shown(run: "Run", path: str, value: str) -> str:
    """Return a component's name as the command line has it, if the run stored it; other values as they are."""
    choice = (run.config.get(CHOICES) or {}).get(path.rpartition(".")[2])
    is_component = f"{path}{_TARGET}".removeprefix("wrapper.") in run.hyperparameters
    return str(choice) if choice and is_component else value


def _snake(target: str) -> str:
    """Return the last name of a dotted path as choices are written: ``GroundedSam`` is ``grounded_sam``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", target.rpartition(".")[2]).lower()


def _text(value: object) -> str:
    text = "none" if value is None else str(value)
    text = text.lower() if isinstance(value, bool) else " ".join(text.split())
    text = PurePath(text).name if text.startswith("/") else text
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
