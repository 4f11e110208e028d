"""Train one of picturebook's models; stopped at any moment, it goes on from its last checkpoint.

python -m scripts.train component=autoencoder
"""

import sys
from pathlib import Path

import torch
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from data.picturebook.training.loop import Component, TrainConfig, train
from instructedit.types import ConfigError
from scripts.app import OK, launch


def task(config: DictConfig) -> int:
    """Train, print the held-out scores, and say where the sheet of samples lies."""
    if OmegaConf.is_missing(config, "component"):
        names = ", ".join(sorted(p.stem for p in Path("conf/component").glob("*.yaml")))
        raise ConfigError(f"component=<name> is needed: accepted are {names}")
    device = config.device if config.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    made = TrainConfig(
        **OmegaConf.to_container(config.component.train),  # type: ignore[arg-type]
        device=device,
        seed=config.seed,
        threads=config.threads,
        scenes=config.scenes,
        held_out=config.held_out,
        resume=config.resume,
        from_shipped=config.from_shipped,
        stop_after=float("inf") if config.stop_after is None else float(config.stop_after),
    )
    kind: type[Component] = get_class(config.component._target_)
    work = Path(config.work) / kind.name
    scores = train(kind(made, work, Path(config.into)))
    for name, value in scores.items():
        print(f"{name}: {value:.4g}")
    print(f"samples: {work / 'sheet.png'}")
    return OK


if __name__ == "__main__":
    sys.exit(launch(task, "train"))
