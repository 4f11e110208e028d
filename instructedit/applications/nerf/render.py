"""Volume rendering (Mildenhall et al., ECCV 2020, Eq. 3) in plain torch."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from instructedit.applications.nerf.cameras import Camera

VISIBLE = 1e-4
"""Weight above which a sample's colour is computed, as DVGO's ``fast_color_thres``."""
_RAYS = 4096
"""Rays that are rendered at once where no gradient is needed."""


class RadianceField(Protocol):
    """A scene as density and colour inside a box, and a colour for each direction outside of it."""

    box: Float[Tensor, "2 3"]
    """Lower and upper corner in world coordinates."""

    @property
    def step(self) -> float:
        """Distance between samples on a ray, in world units."""
        ...

    def density(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        """Return the density per world unit, from 0 on."""
        ...

    def colours(self, points: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """Return RGB in [0, 1] as seen along directions."""
        ...

    def background(self, directions: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """Return RGB in [0, 1] of what is outside the box."""
        ...


@dataclass(frozen=True)
class Rendered:
    """What rays see."""

    colours: Float[Tensor, "n 3"]
    depth: Float[Tensor, "n"]
    """Expected distance from the ray's origin, in world units, of what is inside the box; 0 where nothing is."""
    opacity: Float[Tensor, "n"]
    """Share of the ray's light that comes from inside the box."""


def sample_weights(densities: Float[Tensor, "n s"], lengths: Float[Tensor, "n s"]) -> Float[Tensor, "n s"]:
    """Return the weight of each sample's colour: its opacity times the transmittance in front of it."""
    absorbed = densities * lengths
    before = torch.cumsum(absorbed, dim=-1) - absorbed
    return torch.exp(-before) * -torch.expm1(-absorbed)


def box_distances(
    box: Float[Tensor, "2 3"], origins: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"]
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"]]:
    """Return the distances at which rays enter and leave a box; equal ones if they miss it or it is behind them."""
    safe = torch.where(directions.abs() < 1e-9, torch.full_like(directions, 1e-9), directions)
    first, second = (box[0] - origins) / safe, (box[1] - origins) / safe
    near = torch.minimum(first, second).amax(-1).clamp(min=0)
    return near, torch.maximum(torch.maximum(first, second).amin(-1), near)


def render_rays(
    field: RadianceField,
    origins: Float[Tensor, "n 3"],
    directions: Float[Tensor, "n 3"],
    generator: torch.Generator | None = None,
) -> Rendered:
    """Render rays.

    Args:
        field: The scene.
        origins: In world coordinates.
        directions: Unit vectors.
        generator: Moves the samples of each ray by up to a step, for training; None samples the middles.
    """
    near, far = box_distances(field.box, origins, directions)
    count = max(1, int(torch.ceil((far - near).max() / field.step)))
    shift = torch.full((len(origins), 1), 0.5)
    if generator is not None:
        shift = torch.rand(shift.shape, generator=generator)
    along = near[:, None] + (torch.arange(count) + shift).to(near) * field.step
    is_inside = along < far[:, None]
    # Computed only where rays are in the box, and colours only where they can be seen.
    rays, slots = is_inside.nonzero(as_tuple=True)
    points = origins[rays] + along[rays, slots, None] * directions[rays]
    densities = along.new_zeros(along.shape).index_put((rays, slots), field.density(points))
    weights = sample_weights(densities, torch.full_like(along, field.step))
    own = weights[rays, slots]
    seen: Bool[Tensor, " m"] = own > VISIBLE
    rays, points, own = rays[seen], points[seen], own[seen]
    contributions = own[:, None] * field.colours(points, directions[rays])
    inside = along.new_zeros(len(origins), 3).index_add(0, rays, contributions)
    opacity = along.new_zeros(len(origins)).index_add(0, rays, own)
    depth = (weights * along).sum(-1) / weights.sum(-1).clamp(min=1e-6)
    colours = inside + (1 - opacity)[:, None] * field.background(directions)
    return Rendered(colours, depth * (opacity > VISIBLE), opacity)


@dataclass(frozen=True)
class View:
    """A rendered picture."""

    pixels: UInt8[np.ndarray, "h w 3"]
    depth: Float[np.ndarray, "h w"]
    """Distance along the optical axis, as nerfstudio's depth files; 0 where the box is empty."""


@torch.inference_mode()
def render_view(field: RadianceField, camera: Camera) -> View:
    """Render what a camera sees."""
    device = field.box.device
    directions = torch.from_numpy(camera.directions).to(device).view(-1, 3)
    origin = torch.from_numpy(camera.origin).to(device)
    parts = [render_rays(field, origin.expand_as(d), d) for d in directions.split(_RAYS)]
    size = camera.height, camera.width
    colours = torch.cat([part.colours for part in parts]).view(*size, 3)
    depth = torch.cat([part.depth for part in parts]).view(size).cpu().numpy() * (camera.directions @ camera.axis)
    return View((colours.clamp(0, 1) * 255).round().byte().cpu().numpy(), depth.astype(np.float32))
