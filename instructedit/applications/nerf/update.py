"""Iterative Dataset Update (Instruct-NeRF2NeRF, Haque et al., ICCV 2023): edit training views while the field trains.

Every few steps, a training view is rendered, edited, and put in the place of its picture. The edit is conditioned on
the original view ("the image conditioning is always the original view"), so that errors do not accumulate, and starts
from the current render, so that views agree more and more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import lpips
import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from instructedit.applications.nerf.cameras import Camera
from instructedit.applications.nerf.field import GridField, loaded
from instructedit.applications.nerf.fit import Optimiser, Rays, packed, step_generator
from instructedit.applications.nerf.render import render_rays, render_view
from instructedit.applications.strips import adam_state, load_adam, region
from instructedit.checks import is_number, require, require_whole
from instructedit.editor import grow
from instructedit.parameters import check_flag
from instructedit.perceptual import MINIMUM_SIDE
from instructedit.types import EditRequest, EditResult, Failure, Method, Restart


@dataclass(frozen=True)
class UpdateSettings:
    """The settings of a dataset update, from ``conf/update``.

    Raises:
        ConfigError: A value is out of range; the message names its key.
    """

    steps: int
    edit_every: int
    """Steps between updates."""
    edit_count: int
    """Views of an update."""
    diffusion_steps: int
    noise: tuple[float, float]
    """Least and largest noise level from which an edit starts, as a share of the training timesteps."""
    restart: bool
    """Whether an edit starts from the current render. If not, or if the method knows no restarts, each view is edited
    once."""
    dilate: int
    """Pixels by which a mask grows before the edited pixels replace the original ones; the editor's own number."""
    patch: int
    """Side of the square patches of rays, in pixels."""
    patches: int
    """Patches of a step, for L1 and LPIPS."""
    rays: int
    """Further rays of a step, drawn from all views, for L1 alone: patches show the step only a few places."""
    l1_weight: float
    lpips_weight: float
    learning_rate: float
    """Of the grids."""
    network_rate: float
    decay: float
    """Factor by which the rates have fallen at the last step."""
    seed: int

    def __post_init__(self) -> None:
        for key, low in (("steps", 0), ("edit_every", 1), ("edit_count", 1), ("diffusion_steps", 1), ("patch", 2),
                         ("patches", 1), ("rays", 0), ("seed", 0)):  # fmt: skip
            require_whole(f"update.{key}", getattr(self, key), low)
        is_range = len(self.noise) == 2 and all(is_number(v) and 0 < v <= 1 for v in self.noise)
        accepted = "two numbers above 0 and up to 1, the smaller first"
        require(is_range and self.noise[0] <= self.noise[1], "update.noise", list(self.noise), accepted)
        check_flag(self.restart, "update.restart")
        require_whole("update.dilate", self.dilate, -10_000, 10_000)
        for key in ("l1_weight", "lpips_weight", "learning_rate", "network_rate"):
            value = getattr(self, key)
            require(is_number(value) and value >= 0, f"update.{key}", value, "numbers from 0 on")
        require(
            is_number(self.decay) and 0 < self.decay <= 1, "update.decay", self.decay, "numbers above 0 and up to 1"
        )
        is_large = self.patch >= MINIMUM_SIDE or self.lpips_weight == 0
        require(is_large, "update.patch", self.patch, f"sides from {MINIMUM_SIDE} on, or update.lpips_weight=0")

    def identity(self) -> dict[str, Any]:
        """Return all settings as plain values."""
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"noise": list(self.noise)}


@dataclass
class Costs:
    """What the edits of an update took, and what the latest one of each view decided."""

    edits: dict[int, EditResult] = field(default_factory=dict)
    """The latest edit of each view."""
    failures: dict[int, Failure] = field(default_factory=dict)
    """Views whose latest edit failed."""
    done: list[EditResult] = field(default_factory=list)
    """All edits of this process, for their seconds and NFE."""


class Update:
    """A dataset update; it can be stopped after any step, stored, and continued.

    Args:
        trained: The unedited field.
        pictures: The original training views, RGB.
        cameras: One per picture.
        settings: The settings.
        perceptual: LPIPS' network; None if its weight is 0.
    """

    def __init__(
        self, trained: GridField, pictures: UInt8[np.ndarray, "n h w 3"], cameras: Sequence[Camera],
        settings: UpdateSettings, perceptual: lpips.LPIPS | None,
    ) -> None:  # fmt: skip
        self.settings, self.radiance, self.device = settings, trained.settings, trained.box.device
        self.field, self.cameras, self.perceptual, self.step = _copy(trained), cameras, perceptual, 0
        self.optimiser = self._optimiser()
        self.originals = pictures
        self.pictures = torch.from_numpy(pictures.copy()).to(self.device)
        self.masks = np.zeros(pictures.shape[:3], bool)
        self.tried = np.zeros(len(pictures), bool)
        self.rays = Rays(cameras, self.device)
        # In a random order, which stays the same for all rounds.
        self.order = np.random.default_rng([settings.seed, len(pictures)]).permutation(len(pictures))
        self.costs = Costs()

    def _optimiser(self) -> Optimiser:
        return Optimiser(self.field, (self.settings.learning_rate, self.settings.network_rate))

    @property
    def unedited(self) -> list[int]:
        """Training views that no edit has changed, because all failed or had an empty mask."""
        return [i for i, mask in enumerate(self.masks) if not mask.any()]

    def run(self, method: Method, request: EditRequest, tick: Callable[[float], None] = lambda loss: None) -> None:
        """Do the steps that are left.

        Args:
            method: Edits the views.
            request: The instruction, captions, seed and id; its image is replaced by each view's.
            tick: Is called after each step with its loss.
        """
        settings = self.settings
        while self.step < settings.steps:
            if self.step % settings.edit_every == 0:
                self._edit(method, request, self.step // settings.edit_every)
            loss = self._loss()
            self.optimiser.step(loss, settings.decay ** (self.step / settings.steps))
            self.step += 1
            tick(float(loss.detach()))

    def _edit(self, method: Method, request: EditRequest, number: int) -> None:
        """Edit the next views of the order."""
        settings = self.settings
        restart = settings.restart and bool(getattr(method, "takes_restart", False))
        first = number * settings.edit_count
        views = [int(self.order[(first + i) % len(self.order)]) for i in range(settings.edit_count)]
        if not restart:
            views = [view for view in views if not self.tried[view]]
        low, high = settings.noise
        level = float(np.random.default_rng([settings.seed, number, 1]).uniform(low, high))
        requests = []
        for view in dict.fromkeys(views):
            own = replace(request, id=f"{request.id}-{view:04d}", image=Image.fromarray(self.originals[view]))
            if restart:
                render = Image.fromarray(render_view(self.field, self.cameras[view]).pixels)
                own = replace(own, restart=Restart(render, level, settings.diffusion_steps, number))
            requests.append(own)
        self.tried[views] = True
        for view, outcome in zip(dict.fromkeys(views), method.edit(requests) if requests else (), strict=True):
            if isinstance(outcome, Failure):
                self.costs.failures[view] = outcome
                continue
            self.costs.failures.pop(view, None)
            self.costs.edits[view] = outcome
            self.costs.done.append(outcome)
            mask = region(outcome)
            replaced = grow(mask, self.settings.dilate)[..., None]
            edited = np.where(replaced, np.asarray(outcome.image), self.originals[view])
            self.pictures[view] = torch.from_numpy(edited).to(self.device)
            self.masks[view] = mask

    def _loss(self) -> Tensor:
        settings = self.settings
        generator = step_generator(settings.seed, self.step)
        count, height, width = self.pictures.shape[:3]
        side = min(settings.patch, height, width)
        views = torch.randint(count, (settings.patches,), generator=generator)
        tops = torch.randint(height - side + 1, (settings.patches,), generator=generator)
        lefts = torch.randint(width - side + 1, (settings.patches,), generator=generator)
        offset = torch.arange(side)
        rows = (tops[:, None, None] + offset[:, None]).expand(-1, side, side).flatten().to(self.device)
        columns = (lefts[:, None, None] + offset).expand(-1, side, side).flatten().to(self.device)
        owners = views.repeat_interleave(side * side).to(self.device)
        drawn = self.rays.random(settings.rays, generator)
        pixels = tuple(torch.cat(v) for v in zip((owners, rows, columns), drawn, strict=True))
        colours = render_rays(self.field, *self.rays.at(*pixels), generator).colours
        target = self.pictures[pixels] / 255
        loss = settings.l1_weight * (colours - target).abs().mean()
        if self.perceptual is not None and settings.lpips_weight:
            patched = (v[: len(owners)].view(-1, side, side, 3) for v in (colours, target))
            first, second = (v.permute(0, 3, 1, 2) * 2 - 1 for v in patched)
            loss = loss + settings.lpips_weight * self.perceptual(first.clamp(-1, 1), second).mean()
        return loss

    def state(self) -> dict[str, Tensor]:
        """Return everything that a continuation needs, as tensors."""
        own = {"step": torch.tensor(self.step), "pictures": self.pictures, "masks": torch.from_numpy(self.masks)}
        own["tried"] = torch.from_numpy(self.tried)
        return packed(self.field) | adam_state(self.optimiser.adam) | own

    def load(self, state: dict[str, Tensor]) -> None:
        """Continue from a state."""
        self.field = loaded(state, self.radiance, self.device)
        self.optimiser = self._optimiser()
        load_adam(self.optimiser.adam, state)
        self.step = int(state["step"])
        self.pictures = state["pictures"].to(self.device)
        self.masks, self.tried = state["masks"].numpy().copy(), state["tried"].numpy().copy()


def _copy(trained: GridField) -> GridField:
    return loaded(packed(trained), trained.settings, trained.box.device)
