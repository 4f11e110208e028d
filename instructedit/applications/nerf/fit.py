"""Train a field on pictures with poses; a fit can be stopped after any step, stored, and continued."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from instructedit.applications.nerf.cameras import Camera
from instructedit.applications.nerf.field import GridField, GridSettings, loaded, scheduled
from instructedit.applications.nerf.render import render_rays
from instructedit.applications.strips import adam_state, load_adam

_EPSILON = 1e-15
"""Adam's, as nerfstudio's and DVGO's."""


class Rays:
    """The rays of all pixels of some pictures of one size.

    Args:
        cameras: One per picture.
        device: Where they are kept.
    """

    def __init__(self, cameras: Sequence[Camera], device: torch.device) -> None:
        self.directions = torch.from_numpy(np.stack([c.directions for c in cameras])).to(device)
        self.origins = torch.from_numpy(np.stack([c.origin for c in cameras])).to(device)

    def at(self, views: Tensor, rows: Tensor, columns: Tensor) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"]]:
        """Return origins and directions of pixels."""
        return self.origins[views], self.directions[views, rows, columns]

    def random(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Return views, rows and columns of ``count`` pixels, uniform over the pixels of all pictures."""
        views, height, width = self.directions.shape[:3]
        at = torch.randint(views * height * width, (count,), generator=generator).to(self.directions.device)
        return at // (height * width), at // width % height, at % width


class Optimiser:
    """Adam over a field's grids and its network.

    Args:
        field: The field.
        rates: Learning rates of the grids and of the network.
    """

    def __init__(self, field: GridField, rates: tuple[float, float]) -> None:
        network = list(field.network.parameters())
        grids = [field.raw_density, field.feature_grid, field.environment]
        self.rates = rates
        self.adam = torch.optim.Adam([{"params": grids}, {"params": network}], eps=_EPSILON, fused=True)

    def step(self, loss: Tensor, factor: float = 1.0) -> None:
        """Take a step with rates multiplied by ``factor``."""
        for group, rate in zip(self.adam.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()


class Fit:
    """The training of a field on unedited pictures: random rays, mean squared error.

    Args:
        pictures: RGB, all of one size.
        cameras: One per picture.
        box: Lower and upper corner of the scene.
        settings: The settings.
        device: Where it is computed.
    """

    def __init__(
        self, pictures: UInt8[np.ndarray, "n h w 3"], cameras: Sequence[Camera], box: Float[np.ndarray, "2 3"],
        settings: GridSettings, device: torch.device,
    ) -> None:  # fmt: skip
        self.settings, self.device, self.step = settings, device, 0
        self.pictures = torch.from_numpy(pictures).to(device)
        self.rays = Rays(cameras, device)
        self.rates = settings.learning_rate, settings.network_rate
        self.field = GridField(box, settings, scheduled(0, settings.double_at), device)
        self.optimiser = Optimiser(self.field, self.rates)

    def run(self, tick: Callable[[float], None] = lambda loss: None) -> None:
        """Do the steps that are left; ``tick`` is called after each with its loss."""
        while self.step < self.settings.steps:
            while self.field.doublings < scheduled(self.step, self.settings.double_at):
                self.field = self.field.doubled()
                self.optimiser = Optimiser(self.field, self.rates)
            loss = self._loss()
            self.optimiser.step(loss, self.settings.decay ** (self.step / self.settings.steps))
            self.step += 1
            tick(float(loss.detach()))

    def _loss(self) -> Tensor:
        # One generator for each step, so that a continued fit draws the rays that an uninterrupted one would.
        generator = step_generator(self.settings.seed, self.step)
        pixels = self.rays.random(self.settings.rays, generator)
        rendered = render_rays(self.field, *self.rays.at(*pixels), generator)
        return ((rendered.colours - self.pictures[pixels] / 255) ** 2).mean()

    def state(self) -> dict[str, Tensor]:
        """Return everything that a continuation needs, as tensors."""
        return packed(self.field) | adam_state(self.optimiser.adam) | {"step": torch.tensor(self.step)}

    def load(self, state: dict[str, Tensor]) -> None:
        """Continue from a state."""
        self.field = loaded(state, self.settings, self.device)
        self.optimiser = Optimiser(self.field, self.rates)
        load_adam(self.optimiser.adam, state)
        self.step = int(state["step"])


def step_generator(seed: int, step: int) -> torch.Generator:
    """Return the generator of one step."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1)[0]))


def packed(field: GridField) -> dict[str, Tensor]:
    """Return a field as tensors, see :func:`instructedit.applications.nerf.field.loaded`."""
    state = {f"field.{name}": values for name, values in field.state_dict().items()}
    return state | {"doublings": torch.tensor(field.doublings)}
