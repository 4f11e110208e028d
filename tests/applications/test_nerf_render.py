"""Volume rendering agrees with scenes whose integral is known: a homogeneous slab, and an opaque sphere."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from instructedit.applications.nerf.render import box_distances, render_rays, render_view, sample_weights
from tests.applications.worlds import camera

DOWN = torch.tensor([[0.0, 0.0, -1.0]])


class Analytic:
    """A field given by formulas: density inside a region, one colour, and a grey background."""

    def __init__(self, step: float, density: float, radius: float | None = None) -> None:
        self.box = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
        self.step, self.value, self.radius = step, density, radius

    def density(self, points: Tensor) -> Tensor:
        if self.radius is None:
            return torch.full((len(points),), self.value)
        return torch.where(points.norm(dim=-1) < self.radius, self.value, 0.0)

    def colours(self, points: Tensor, directions: Tensor) -> Tensor:
        return torch.tensor([1.0, 0.5, 0.0]).expand(len(points), 3)

    def background(self, directions: Tensor) -> Tensor:
        return torch.full((len(directions), 3), 0.25)


@pytest.mark.parametrize("density", [0.3, 1.0, 4.0])
def test_a_homogeneous_slab_absorbs_exponentially(density: float) -> None:
    origins = torch.tensor([[0.2, -0.3, 5.0]])
    seen = render_rays(Analytic(0.01, density), origins, DOWN)
    # Through 2 units of density s, the transmittance is exp(-2 s).
    left = math.exp(-2 * density)
    expected = [(1 - left) * c + left * 0.25 for c in (1.0, 0.5, 0.0)]
    # Samples of weights below 1e-4 are left out.
    assert seen.colours[0].tolist() == pytest.approx(expected, abs=5e-3)
    assert float(seen.opacity) == pytest.approx(1 - left, abs=5e-3)
    # The expected depth of what is absorbed: 4 + 1 / s - 2 left / (1 - left).
    assert float(seen.depth) == pytest.approx(4 + 1 / density - 2 * left / (1 - left), abs=5e-3)


@pytest.mark.parametrize("offset", [0.0, 0.3, 0.55])
def test_an_opaque_sphere_is_seen_at_its_surface(offset: float) -> None:
    radius, step = 0.6, 0.005
    seen = render_rays(Analytic(step, 1e4, radius), torch.tensor([[offset, 0.0, 5.0]]), DOWN)
    assert float(seen.opacity) == pytest.approx(1, abs=1e-3)
    assert float(seen.depth) == pytest.approx(5 - math.sqrt(radius**2 - offset**2), abs=step)
    assert seen.colours[0].tolist() == pytest.approx([1.0, 0.5, 0.0], abs=1e-3)


def test_a_spheres_outline_has_its_projected_size() -> None:
    view = camera((0.0, -4.0, 0.0), side=65, focal=80.0)
    seen = render_view(Analytic(0.02, 1e4, 0.5), view)
    is_sphere = seen.depth > 0
    # The tangent cone of a sphere of radius r at distance d: focal * r / sqrt(d^2 - r^2).
    outline = 80 * 0.5 / math.sqrt(4**2 - 0.5**2)
    assert math.sqrt(is_sphere.sum() / math.pi) == pytest.approx(outline, abs=0.4)
    assert seen.depth[32, 32] == pytest.approx(3.5, abs=0.03)
    assert np.array_equal(seen.pixels[0, 0], [64, 64, 64])


def test_rays_that_miss_the_box_or_look_away_see_the_background() -> None:
    origins = torch.tensor([[5.0, 5.0, 5.0], [0.0, 0.0, 5.0]])
    directions = torch.tensor([[0.0, 0.0, -1.0], [0.0, 0.0, 1.0]])
    seen = render_rays(Analytic(0.1, 10.0), origins, directions)
    assert seen.colours.tolist() == [[0.25] * 3] * 2
    assert seen.opacity.tolist() == seen.depth.tolist() == [0.0, 0.0]


def test_a_ray_enters_and_leaves_the_box_where_geometry_says() -> None:
    box = torch.tensor([[-1.0, -2.0, -3.0], [1.0, 2.0, 3.0]])
    origins = torch.tensor([[0.0, 0.0, 9.0], [0.0, 0.0, 0.0], [-5.0, 0.0, 0.0]])
    directions = torch.tensor([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    near, far = box_distances(box, origins, directions)
    assert near.tolist() == pytest.approx([6, 0, 4])
    assert far.tolist() == pytest.approx([12, 2, 6])


def test_weights_and_the_light_left_over_sum_to_one() -> None:
    densities = 8 * torch.rand(5, 40, generator=torch.Generator().manual_seed(0))
    lengths = torch.full_like(densities, 0.05)
    left = torch.exp(-(densities * lengths).sum(-1))
    torch.testing.assert_close(sample_weights(densities, lengths).sum(-1) + left, torch.ones(5))


def test_jittered_samples_give_the_same_mean() -> None:
    origins, field = torch.tensor([[0.1, 0.1, 5.0]]).expand(64, 3), Analytic(0.05, 1.0)
    jittered = render_rays(field, origins, DOWN.expand(64, 3), torch.Generator().manual_seed(0))
    exact = render_rays(field, origins[:1], DOWN)
    assert float(jittered.opacity.mean()) == pytest.approx(float(exact.opacity), abs=0.02)
    assert len(set(jittered.depth.tolist())) > 32
