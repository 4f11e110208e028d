"""A radiance field of voxel grids: density, and features that a small network turns into colour (DVGO's fine stage).

Density is interpolated before it is activated ("post-activation"; Sun et al., CVPR 2022), so that a voxel can hold a
sharp boundary. What lies outside the box is a picture over directions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from instructedit.checks import is_number, require, require_whole


@dataclass(frozen=True)
class GridSettings:
    """The settings of a field and of its training, from ``conf/radiance``.

    Raises:
        ConfigError: A value is out of range; the message names its key.
    """

    voxels: int
    """Number of voxels of the finest grids; their sides are equal, so the box's shape gives the resolution."""
    double_at: tuple[int, ...]
    """Steps at which the number of voxels doubles up to ``voxels``."""
    features: int
    """Channels of the feature grid."""
    hidden: int
    """Width of the colour network's hidden layer."""
    directions: int
    """Frequencies of the viewing direction that the colour network sees; 0: the colour is the same from everywhere."""
    environment: int
    """Rows of the picture over directions (twice as many columns), for what is outside the box."""
    samples_per_voxel: float
    """Samples on a ray for each voxel's side."""
    start_opacity: float
    """Opacity of a voxel's side before training."""
    steps: int
    rays: int
    """Rays of a step."""
    learning_rate: float
    """Of the grids."""
    network_rate: float
    """Of the colour network."""
    decay: float
    """Factor by which the rates have fallen at the last step."""
    seed: int

    def __post_init__(self) -> None:
        for key, low in (("voxels", 64), ("features", 1), ("hidden", 1), ("directions", 0), ("environment", 1),
                         ("steps", 0), ("rays", 1), ("seed", 0)):  # fmt: skip
            require_whole(f"radiance.{key}", getattr(self, key), low)
        for key in ("samples_per_voxel", "learning_rate", "network_rate"):
            value = getattr(self, key)
            require(is_number(value) and value > 0, f"radiance.{key}", value, "numbers above 0")
        for key in ("start_opacity", "decay"):
            value = getattr(self, key)
            is_share = is_number(value) and 0 < value <= 1 and (key == "decay" or value < 1)
            require(is_share, f"radiance.{key}", value, "numbers between 0 and 1")
        for step in self.double_at:
            require_whole("radiance.double_at", step, 0)

    def identity(self) -> dict[str, Any]:
        """Return all settings as plain values."""
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"double_at": list(self.double_at)}


class GridField(nn.Module):
    """A scene in voxel grids; see :class:`instructedit.applications.nerf.render.RadianceField`.

    Args:
        box: Lower and upper corner in world coordinates.
        settings: The settings.
        doublings: How often the number of voxels has doubled so far.
        device: Where the field is computed.
    """

    box: Tensor

    def __init__(
        self, box: Float[np.ndarray, "2 3"], settings: GridSettings, doublings: int, device: torch.device
    ) -> None:
        super().__init__()
        self.settings, self.doublings = settings, doublings
        self.register_buffer("box", torch.from_numpy(np.asarray(box, np.float32)))
        generator = torch.Generator().manual_seed(settings.seed)
        size = self.size
        self.raw_density = nn.Parameter(torch.zeros(1, 1, *size))
        self.feature_grid = nn.Parameter(0.1 * torch.randn(1, settings.features, *size, generator=generator))
        self.environment = nn.Parameter(torch.zeros(1, 3, settings.environment, 2 * settings.environment))
        inputs = settings.features + (3 + 6 * settings.directions if settings.directions else 0)
        layers = [nn.Linear(inputs, settings.hidden), nn.Linear(settings.hidden, 3)]
        self.network = nn.Sequential(layers[0], nn.ReLU(), layers[1])
        with torch.no_grad():
            for layer in layers:
                bound = math.sqrt(1 / layer.in_features)
                layer.weight.copy_((2 * torch.rand(layer.weight.shape, generator=generator) - 1) * bound)
                layer.bias.zero_()
        # softplus(raw + shift) per voxel's side gives the opacity of the start.
        self.shift = math.log(1 / (1 - settings.start_opacity) - 1)
        self.to(device)

    @property
    def voxel(self) -> float:
        """The side of a voxel in world units."""
        left = len(self.settings.double_at) - self.doublings
        volume = float((self.box[1] - self.box[0]).prod())
        return (volume / self.settings.voxels * 2**left) ** (1 / 3)

    @property
    def size(self) -> tuple[int, int, int]:
        """Nodes of the grids along z, y and x."""
        x, y, z = (max(2, round(float(side) / self.voxel) + 1) for side in self.box[1] - self.box[0])
        return z, y, x

    @property
    def step(self) -> float:
        """See :class:`RadianceField`."""
        return self.voxel / self.settings.samples_per_voxel

    def density(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        """See :class:`RadianceField`."""
        raw = self._interpolated(self.raw_density, points)[:, 0]
        return functional.softplus(raw + self.shift) / self.voxel

    def colours(self, points: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """See :class:`RadianceField`."""
        inputs = [self._interpolated(self.feature_grid, points)]
        if self.settings.directions:
            waves = [2**k * directions for k in range(self.settings.directions)]
            inputs += [directions, *(torch.sin(w) for w in waves), *(torch.cos(w) for w in waves)]
        colours: Tensor = torch.sigmoid(self.network(torch.cat(inputs, dim=-1)))
        return colours

    def background(self, directions: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """See :class:`RadianceField`; the middle of the picture over directions is +y, at the horizon."""
        x, y, z = directions.unbind(-1)
        at = torch.stack([torch.atan2(x, y) / math.pi, -2 / math.pi * torch.asin(z.clamp(-1, 1))], dim=-1)
        found = functional.grid_sample(
            self.environment, at[None, None], mode="bilinear", padding_mode="border", align_corners=True
        )
        return torch.sigmoid(found[0, :, 0].T)

    def _interpolated(self, grid: Tensor, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n c"]:
        at = (points - self.box[0]) / (self.box[1] - self.box[0]) * 2 - 1
        found = functional.grid_sample(
            grid, at[None, None, None], mode="bilinear", padding_mode="border", align_corners=True
        )
        return found[0, :, 0, 0].T

    @torch.no_grad()
    def doubled(self) -> "GridField":
        """Return the field with twice as many voxels."""
        finer = GridField(self.box.cpu().numpy(), self.settings, self.doublings + 1, self.box.device)
        state = self.state_dict()
        for name in ("raw_density", "feature_grid"):
            state[name] = functional.interpolate(state[name], finer.size, mode="trilinear", align_corners=True)
        finer.load_state_dict(state)
        return finer


def loaded(state: dict[str, Tensor], settings: GridSettings, device: torch.device) -> GridField:
    """Return the field of a stored state."""
    own = {k.removeprefix("field."): v for k, v in state.items() if k.startswith("field.")}
    field = GridField(own["box"].numpy(), settings, int(state["doublings"]), device)
    field.load_state_dict(own)
    return field


def scheduled(step: int, double_at: Sequence[int]) -> int:
    """Return how often the number of voxels has doubled before a step."""
    return sum(step >= at for at in double_at)
