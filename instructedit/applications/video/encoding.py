"""Encodings of coordinates in [0, 1]: dense multi-resolution grids, and hash grids (Müller et al., SIGGRAPH 2022).

All have the interface of :class:`Encoding`, so a field does not know which one it has. On a CPU, dense grids are twenty
times as fast as hash grids in plain torch; on a GPU, tiny-cuda-nn's hash grids are used where the package is installed.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from itertools import product
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

_PRIMES = (1, 2_654_435_761, 805_459_861)


class Encoding(nn.Module):
    """Turns coordinates into features of several levels, from coarse to fine."""

    levels: int
    features: int
    """Number of features of a level."""

    def forward(self, coordinates: Float[Tensor, "n d"]) -> Float[Tensor, "n levels features"]:
        """Return the features at coordinates in [0, 1]; beyond, the edge is continued."""
        raise NotImplementedError


class DenseGrid(Encoding):
    """One dense grid of features for each level, interpolated linearly between its nodes.

    Args:
        sizes: Number of nodes of each level, from coarse to fine, by axis in the order of the coordinates, such as
            ``[(4, 4), (8, 8)]``. The first and the last node are at 0 and 1.
        features: Number of features of a level.
    """

    def __init__(self, sizes: Sequence[tuple[int, ...]], features: int) -> None:
        super().__init__()
        self.levels, self.features = len(sizes), features
        # Tensors have their last axis first in the coordinates.
        self.grids = nn.ParameterList(nn.Parameter(torch.zeros(1, features, *size[::-1])) for size in sizes)

    def forward(self, coordinates: Float[Tensor, "n d"]) -> Float[Tensor, "n levels features"]:
        """See :class:`Encoding`."""
        count, axes = coordinates.shape
        at = (2 * coordinates - 1).view(1, *(1,) * (axes - 1), count, axes)
        taken = [F.grid_sample(g, at, padding_mode="border", align_corners=True).view(-1, count) for g in self.grids]
        return torch.stack(taken).permute(2, 0, 1)


class HashGrid(Encoding):
    """A hash grid in plain torch.

    Args:
        axes: Number of coordinates, 2 or 3.
        levels: Number of levels.
        features: Number of features of a level.
        table: Logarithm to the base 2 of the number of entries of each level's table.
        base: Number of cells along an axis of the coarsest level.
        scale: Factor between the resolutions of neighbouring levels.
        generator: Draws the first entries, uniform in ±1e-4.
    """

    def __init__(
        self, axes: int, levels: int, features: int, table: int, base: int, scale: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.axes, self.levels, self.features, self.size = axes, levels, features, 2**table
        self.resolutions = [int(base * scale**level) for level in range(levels)]
        entries = torch.rand(levels, self.size, features, generator=generator)
        self.tables = nn.Parameter((2 * entries - 1) * 1e-4)

    def forward(self, coordinates: Float[Tensor, "n d"]) -> Float[Tensor, "n levels features"]:
        """See :class:`Encoding`."""
        found = []
        for level, resolution in enumerate(self.resolutions):
            scaled = coordinates.clamp(0, 1) * resolution
            low = scaled.detach().floor().clamp(max=resolution - 1)
            share = scaled - low
            total: Any = 0
            for corner in product((0, 1), repeat=self.axes):
                step = torch.tensor(corner, device=coordinates.device)
                weight = torch.where(step == 1, share, 1 - share).prod(-1, keepdim=True)
                total = total + weight * self.tables[level][self._index(low.long() + step, resolution)]
            found.append(total)
        return torch.stack(found, dim=1)

    def _index(self, node: Tensor, resolution: int) -> Tensor:
        """Return the entry of each node: its own where all nodes of the level fit into the table, else a hash."""
        if (resolution + 1) ** self.axes <= self.size:
            strides = torch.tensor([(resolution + 1) ** axis for axis in range(self.axes)], device=node.device)
            return (node * strides).sum(-1)
        hashed = torch.zeros_like(node[:, 0])
        for axis in range(self.axes):
            hashed = hashed ^ (node[:, axis] * _PRIMES[axis])
        return hashed % self.size


class TinyCudaHashGrid(Encoding):
    """tiny-cuda-nn's hash grid, with the parameters of :class:`HashGrid`; it needs a CUDA device."""

    def __init__(self, axes: int, levels: int, features: int, table: int, base: int, scale: float, seed: int) -> None:
        super().__init__()
        import tinycudann

        self.levels, self.features = levels, features
        settings = {
            "otype": "HashGrid", "n_levels": levels, "n_features_per_level": features, "log2_hashmap_size": table,
            "base_resolution": base, "per_level_scale": scale,
        }  # fmt: skip
        self.grid = tinycudann.Encoding(axes, settings, seed=seed, dtype=torch.float32)

    def forward(self, coordinates: Float[Tensor, "n d"]) -> Float[Tensor, "n levels features"]:
        """See :class:`Encoding`."""
        encoded: Tensor = self.grid(coordinates.clamp(0, 1))
        return encoded.view(len(coordinates), self.levels, self.features)


def hash_grid(axes: int, table: int, scale: float, seed: int, device: torch.device) -> Encoding:
    """Return a hash grid of 16 levels with two features, by tiny-cuda-nn on a GPU where it is installed."""
    if device.type == "cuda" and find_spec("tinycudann"):
        return TinyCudaHashGrid(axes, 16, 2, table, 16, scale, seed)
    return HashGrid(axes, 16, 2, table, 16, scale, torch.Generator().manual_seed(seed))


def halved(size: Sequence[int], levels: int, kept: Sequence[bool]) -> list[tuple[int, ...]]:
    """Return the sizes of a dense grid's levels, from coarse to fine; each level halves the next one's axes.

    Args:
        size: Of the finest level.
        levels: Number of levels.
        kept: Axes that all levels have at full size, such as time.
    """
    return [
        tuple(side if keep else max(2, -(-side // 2**level)) for side, keep in zip(size, kept, strict=True))
        for level in reversed(range(levels))
    ]


def annealed(features: Float[Tensor, "n levels f"], progress: float) -> Float[Tensor, "n levels f"]:
    """Return features with the finer levels faded in as ``progress`` goes from 0 to 1 (Park et al., Nerfies, Eq. 8).

    The coarsest level always has its full weight.
    """
    levels = features.shape[1]
    shares = [min(max(progress * (levels - 1) - level + 1, 0.0), 1.0) for level in range(levels)]
    weights = torch.tensor([(1 - torch.cos(torch.tensor(torch.pi * share))) / 2 for share in shares])
    return features * weights.to(features)[None, :, None]
