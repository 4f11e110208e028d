"""One training loop for every component: warm-up and decay, EMA, checkpoints, a progress bar.

A component says what it learns (:class:`Component`); the loop knows nothing of models. Stopped at any moment, it goes
on from its last checkpoint.
"""

import os
import signal
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm


@dataclass(frozen=True)
class TrainConfig:
    """What ``scripts.train`` takes, beside the component's name."""

    steps: int
    """Optimiser steps of a whole training."""
    batch_size: int
    learning_rate: float
    max_minutes: float = float("inf")
    """Stop here even when ``steps`` are not done; the learning rate decays along whichever ends first."""
    warmup: int = 100
    ema_decay: float = 0.999
    weight_decay: float = 0.01
    checkpoint_minutes: float = 4.0
    threads: int = 2
    device: str = "cpu"
    seed: int = 0
    scenes: int = 16_000
    """Pictures drawn for training; each is seen many times."""
    held_out: int = 400
    resume: bool = True
    from_shipped: bool = False
    """Begin with the weights that are shipped, where a component can (grounding_dino)."""


class Component(ABC):
    """A model (or a few that train together) with its loss, its judge and its folder."""

    name: str

    def __init__(self, config: TrainConfig, work: Path, models: Path) -> None:
        self.config, self.work, self.models = config, work, models
        self.device = torch.device(config.device)

    @abstractmethod
    def modules(self) -> dict[str, nn.Module]:
        """The trainable modules by name."""

    @abstractmethod
    def loss(self, step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """The loss of one batch and what to show beside it. ``generator`` is this step's own."""

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Scores on held-out scenes, by name."""

    @abstractmethod
    def sheet(self) -> Image.Image:
        """A picture that shows what was learnt."""

    @abstractmethod
    def save(self, scores: dict[str, Any]) -> None:
        """Write the trained model and its card below ``self.models``."""


def train(component: Component) -> dict[str, float]:
    """Train, then evaluate, draw the sheet and save; returns the held-out scores.

    Raises:
        KeyboardInterrupt: SIGTERM or SIGINT came; the checkpoint is written, nothing is evaluated.
    """
    config, work = component.config, component.work
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    modules = component.modules()
    parameters = [p for m in modules.values() for p in m.parameters() if p.requires_grad]
    averages = [p.detach().clone() for p in parameters]
    optimiser = torch.optim.AdamW(
        parameters, config.learning_rate, betas=(0.9, 0.99), weight_decay=config.weight_decay, fused=True
    )
    state = _resume(work / "checkpoint.pt", modules, averages, optimiser) if config.resume else None
    step, spent = state or (0, 0.0)
    # A termination request or Ctrl-C becomes a checkpoint, as a cluster that preempts expects.
    stopped: list[int] = []
    stops = (signal.SIGTERM, signal.SIGINT)
    previous = [signal.signal(s, lambda number, frame: stopped.append(number)) for s in stops]
    began = saved = time.monotonic()
    size = sum(p.numel() for p in parameters) / 1e6
    bar = tqdm(
        total=config.steps, initial=step, desc=f"{component.name} ({size:.2f} M)", mininterval=10, maxinterval=30
    )
    for module in modules.values():
        module.train()
    while not stopped:
        elapsed = spent + time.monotonic() - began
        progress = max(step / config.steps, elapsed / 60 / config.max_minutes)
        if progress >= 1:
            break
        rate = config.learning_rate * min(1.0, (step + 1) / config.warmup) * (1 - 0.97 * progress)
        for group in optimiser.param_groups:
            group["lr"] = rate
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        loss, shown = component.loss(step, generator)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        step += 1
        decay = min(config.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(averages, list[Tensor](parameters), 1 - decay)
        bar.update()
        bar.set_postfix({"loss": f"{loss.item():.4f}"} | {k: f"{v:.3f}" for k, v in shown.items()}, refresh=False)
        if time.monotonic() - saved > 60 * config.checkpoint_minutes:
            _checkpoint(work / "checkpoint.pt", modules, averages, optimiser, step, spent + time.monotonic() - began)
            saved = time.monotonic()
    bar.close()
    for number, handler in zip(stops, previous, strict=True):
        signal.signal(number, handler)
    minutes = (spent + time.monotonic() - began) / 60
    _checkpoint(work / "checkpoint.pt", modules, averages, optimiser, step, minutes * 60)
    if stopped:
        raise KeyboardInterrupt
    with torch.no_grad():
        for parameter, average in zip(parameters, averages, strict=True):
            parameter.copy_(average)
        for module in modules.values():
            module.eval()
        scores = component.evaluate()
        component.sheet().save(work / "sheet.png")
        card = {"steps": step, "minutes": round(minutes, 1), "batch_size": config.batch_size, "seed": config.seed}
        component.save(card | {"held_out": scores})
    return scores


def _checkpoint(
    path: Path,
    modules: dict[str, nn.Module],
    averages: list[Tensor],
    optimiser: torch.optim.Optimizer,
    step: int,
    seconds: float,
) -> None:
    state = {
        "modules": {name: module.state_dict() for name, module in modules.items()},
        "averages": averages,
        "optimiser": optimiser.state_dict(),
        "step": step,
        "seconds": seconds,
    }
    aside = path.with_suffix(".part")
    torch.save(state, aside)
    os.replace(aside, path)


def _resume(
    path: Path, modules: dict[str, nn.Module], averages: list[Tensor], optimiser: torch.optim.Optimizer
) -> tuple[int, float] | None:
    if not path.exists():
        return None
    state = torch.load(path, weights_only=True)
    for name, module in modules.items():
        module.load_state_dict(state["modules"][name])
    with torch.no_grad():
        for average, kept in zip(averages, state["averages"], strict=True):
            average.copy_(kept)
    optimiser.load_state_dict(state["optimiser"])
    return state["step"], state["seconds"]
