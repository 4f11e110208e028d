"""Train picturebook's models. After an interruption, the same command resumes from the last checkpoint.

python -m scripts.train component=autoencoder    # one component
python -m scripts.train chain                    # all components of the chain, in order
python -m scripts.train status                   # progress of each component
"""

import sys
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from data.picturebook.training.loop import Component, Progress, TrainConfig, train
from instructedit.types import ConfigError
from scripts.app import CONF, OK, launch


def task(config: DictConfig) -> int:
    """Train one component, and print the held-out scores and the path of the sheet of samples."""
    if OmegaConf.select(config, "component") is None:
        raise ConfigError(f"component=<name> is needed: accepted are {', '.join(_names())}; or `chain`, or `status`")
    _train(config, OmegaConf.to_container(config.component, resolve=True))
    return OK


def chain(config: DictConfig) -> int:
    """Train the unfinished components of ``chain``, in order."""
    work = Path(config.work)
    work.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(work / "chain.lock", timeout=0):
            for name in _chain(config):
                if Progress.read(work / name).finished:
                    print(f"{name}: finished", flush=True)
                else:
                    _train(config, OmegaConf.to_container(OmegaConf.load(CONF / "component" / f"{name}.yaml")))
    except Timeout:
        raise ConfigError(f"another chain trains in {work}; work=<folder> names another one") from None
    return OK


def status(config: DictConfig) -> int:
    """Print steps, hours, remaining hours and last scores of each component of the chain."""
    table = Table("model", "steps", "hours", "left", "last scores on held-out scenes", box=None)
    for name in _chain(config):
        progress = Progress.read(Path(config.work) / name)
        scores = "  ".join(f"{key} {value:.3g}" for key, value in progress.scores.items())
        if scores and not progress.finished:
            scores += f"  (step {progress.scored_at:,})"
        left = "finished" if progress.finished else _hours(progress.seconds_left)
        steps = f"{progress.step:,} / {progress.steps:,}" if progress.step else "not begun"
        table.add_row(name, steps, _hours(progress.seconds if progress.step else None), left, scores)
    Console().print(table)
    return OK


def _hours(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds / 3600:.1f}"


def _names() -> list[str]:
    return sorted(p.stem for p in (CONF / "component").glob("*.yaml"))


def _chain(config: DictConfig) -> list[str]:
    if unknown := sorted({*config.chain} - {*_names()}):
        raise ConfigError(f"chain={', '.join(unknown)}: accepted are {', '.join(_names())}")
    return [str(name) for name in config.chain]


def _train(config: DictConfig, component: Any) -> None:
    kind: type[Component] = get_class(component.pop("_target_"))
    device = config.device if config.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    settings = TrainConfig(
        **component.pop("train") | OmegaConf.to_container(config.train),
        device=device,
        seed=config.seed,
        threads=config.threads,
        scenes=config.scenes,
        held_out=config.held_out,
        judged=config.judged,
        resume=config.resume,
        from_shipped=config.from_shipped,
        stop_after=float("inf") if config.stop_after is None else float(config.stop_after),
    )
    work = Path(config.work) / kind.name
    scores = train(kind(settings, work, Path(config.into), **component))
    for name, value in scores.items():
        print(f"{name}: {value:.4g}")
    print(f"samples: {work / 'sheet.png'}", flush=True)


if __name__ == "__main__":
    tasks = {"chain": chain, "status": status}
    selected = tasks[sys.argv.pop(1)] if sys.argv[1:2] and sys.argv[1] in tasks else task
    sys.exit(launch(selected, "train"))
