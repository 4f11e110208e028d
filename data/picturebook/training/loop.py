"""The training loop of all components: warm-up and decay, EMA, checkpoints, a progress bar.

A component defines model, loss and evaluation (:class:`Component`). After any interruption, including SIGKILL, training
resumes from the last checkpoint and ends with the weights of an uninterrupted training.
"""

import json
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training."""

    steps: int
    """Number of optimiser steps."""
    batch_size: int
    learning_rate: float
    decay_start: float = 0.0
    """Share of ``steps`` after which the learning rate decays linearly to 3 %."""
    warmup: int = 100
    """Number of steps in which the learning rate rises linearly."""
    ema_decay: float = 0.999
    weight_decay: float = 0.01
    checkpoint_minutes: float = 4.0
    evaluate_steps: int = 0
    """Steps between evaluations of the EMA weights on held-out scenes; 0 evaluates at the end only."""
    stop_after: float = float("inf")
    """Minutes after which this call writes a checkpoint and stops; the next call resumes."""
    threads: int = 2
    device: str = "cpu"
    seed: int = 0
    scenes: int = 24_000
    """Number of training pictures."""
    held_out: int = 400
    """Number of held-out pictures."""
    judged: int = 60
    """Number of judged held-out edits of each kind, for models that edit."""
    resume: bool = True
    from_shipped: bool = False
    """Whether to initialise with the shipped weights, for components that support it (grounding_dino)."""


class Component(ABC):
    """A model (or several that are trained jointly) with its loss, evaluation and folder."""

    name: str

    def __init__(self, config: TrainConfig, work: Path, models: Path) -> None:
        self.config, self.work, self.models = config, work, models
        self.device = torch.device(config.device)

    @abstractmethod
    def modules(self) -> dict[str, nn.Module]:
        """Return the trainable modules by name."""

    @abstractmethod
    def loss(self, step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of one batch, and values for the progress bar. ``generator`` is seeded for this step."""

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Return scores on held-out scenes, by name."""

    @abstractmethod
    def sheet(self) -> Image.Image:
        """Return a picture of sample results."""

    @abstractmethod
    def save(self, scores: dict[str, Any]) -> None:
        """Write the trained model and its card to a folder in ``self.models``."""


@dataclass(frozen=True)
class Progress:
    """Progress of a training, stored as ``progress.json`` in the folder of its checkpoint."""

    step: int = 0
    steps: int = 0
    seconds: float = 0.0
    """Training time over all calls."""
    scores: dict[str, float] = field(default_factory=dict)
    """The last held-out scores."""
    scored_at: int = 0
    """The step of ``scores``."""
    finished: bool = False
    """Whether the model was evaluated and saved."""

    @property
    def seconds_left(self) -> float | None:
        """Expected time until ``steps``; None before the first step."""
        return self.seconds / self.step * (self.steps - self.step) if self.step else None

    @staticmethod
    def read(work: Path) -> "Progress":
        """Return the progress of the component with the folder ``work``; an empty one before the training."""
        path = work / "progress.json"
        return Progress(**json.loads(path.read_text())) if path.exists() else Progress()

    def write(self, work: Path) -> None:
        """Write ``progress.json`` atomically."""
        aside = work / "progress.part"
        aside.write_text(json.dumps(asdict(self), indent=2))
        aside.replace(work / "progress.json")


def train(component: Component) -> dict[str, float]:
    """Train, then evaluate, draw the sheet and save; returns the held-out scores.

    Raises:
        KeyboardInterrupt: SIGTERM or SIGINT was received, or ``stop_after`` has passed. The checkpoint is written, but
            nothing is evaluated.
    """
    config, work = component.config, component.work
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    modules = nn.ModuleDict(component.modules())
    parameters = [p for p in modules.parameters() if p.requires_grad]
    averaged = AveragedModel(modules, multi_avg_fn=_ema(config.ema_decay))
    optimiser = torch.optim.AdamW(
        parameters, config.learning_rate, betas=(0.9, 0.99), weight_decay=config.weight_decay, fused=True
    )
    checkpoint = work / "checkpoint.pt"
    state = _resume(checkpoint, modules, averaged, optimiser) if config.resume else None
    step, spent = state or (0, 0.0)
    last = Progress.read(work) if state else Progress()
    # On SIGTERM (such as a cluster's preemption) or Ctrl-C, the loop writes a checkpoint and stops.
    stopped: list[int] = []
    stops = (signal.SIGTERM, signal.SIGINT)
    previous = [signal.signal(s, lambda number, frame: stopped.append(number)) for s in stops]
    began = saved = time.monotonic()
    size = sum(p.numel() for p in parameters) / 1e6
    bar = tqdm(
        total=config.steps, initial=step, desc=f"{component.name} ({size:.2f} M)", mininterval=10, maxinterval=30
    )

    def keep(scores: dict[str, float], scored_at: int) -> None:
        seconds = spent + time.monotonic() - began
        _checkpoint(checkpoint, modules, averaged, optimiser, step, seconds)
        Progress(step, config.steps, seconds, scores, scored_at).write(work)

    modules.train()
    while not stopped and step < config.steps:
        if time.monotonic() - began > 60 * config.stop_after:
            stopped.append(0)
            break
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(config, step)
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        loss, extras = component.loss(step, generator)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        step += 1
        averaged.update_parameters(modules)
        bar.update()
        bar.set_postfix({"loss": f"{loss.item():.4f}"} | {k: f"{v:.3f}" for k, v in extras.items()}, refresh=False)
        if config.evaluate_steps and step % config.evaluate_steps == 0 and step < config.steps:
            with _weights_of(averaged, modules), torch.no_grad():
                last = Progress(scores=component.evaluate(), scored_at=step)
                component.sheet().save(work / "sheet.png")
            keep(last.scores, last.scored_at)
            saved = time.monotonic()
        elif time.monotonic() - saved > 60 * config.checkpoint_minutes:
            keep(last.scores, last.scored_at)
            saved = time.monotonic()
    bar.close()
    for number, handler in zip(stops, previous, strict=True):
        signal.signal(number, handler)
    keep(last.scores, last.scored_at)
    if stopped:
        raise KeyboardInterrupt
    seconds = Progress.read(work).seconds
    with _weights_of(averaged, modules), torch.no_grad():
        scores = component.evaluate()
        component.sheet().save(work / "sheet.png")
        component.save(
            {
                "steps": step,
                "minutes": round(seconds / 60, 1),
                "batch_size": config.batch_size,
                "learning_rate": config.learning_rate,
                "scenes": config.scenes,
                "seed": config.seed,
                "held_out": scores,
            }
        )
    Progress(step, config.steps, seconds, scores, step, finished=True).write(work)
    return scores


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, constant until ``decay_start``, then linear decay to 3 %."""
    tail = max(0.0, step / config.steps - config.decay_start) / (1 - config.decay_start)
    return config.learning_rate * min(1.0, (step + 1) / config.warmup) * (1 - 0.97 * tail)


def _ema(decay: float) -> Any:
    """Return an update of an exponential moving average whose decay is smaller in the first steps."""

    @torch.no_grad()
    def update(averages: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        young = (1 + int(count)) / (10 + int(count))
        torch._foreach_lerp_(averages, current, 1 - min(decay, young))

    return update


@contextmanager
def _weights_of(averaged: AveragedModel, modules: nn.ModuleDict) -> Iterator[None]:
    """Put ``modules`` into evaluation mode with the averaged weights, and restore them afterwards."""
    trained = {name: value.clone() for name, value in modules.state_dict().items()}
    modules.load_state_dict(averaged.module.state_dict())
    modules.eval()
    yield
    modules.load_state_dict(trained)
    modules.train()


def _checkpoint(
    path: Path,
    modules: nn.ModuleDict,
    averaged: AveragedModel,
    optimiser: torch.optim.Optimizer,
    step: int,
    seconds: float,
) -> None:
    """Write the checkpoint under a temporary name and rename it, so that the file is never incomplete."""
    state = {
        "modules": modules.state_dict(),
        "averaged": averaged.state_dict(),
        "optimiser": optimiser.state_dict(),
        "step": step,
        "seconds": seconds,
    }
    aside = path.with_suffix(".part")
    torch.save(state, aside)
    os.replace(aside, path)


def _resume(
    path: Path, modules: nn.ModuleDict, averaged: AveragedModel, optimiser: torch.optim.Optimizer
) -> tuple[int, float] | None:
    if not path.exists():
        return None
    state = torch.load(path, map_location="cpu", weights_only=True)
    modules.load_state_dict(state["modules"])
    averaged.load_state_dict(state["averaged"])
    optimiser.load_state_dict(state["optimiser"])
    return state["step"], state["seconds"]
