"""A canonical image and a deformation field over (x, y, t), fitted to a clip as in CoDeF (Ouyang et al., CVPR 2024)."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from instructedit.applications.strips import Frames, adam_state, load_adam
from instructedit.applications.video.encoding import DenseGrid, Encoding, annealed, halved, hash_grid
from instructedit.applications.video.flow import chained, key_frame, neighbours, positions, sample
from instructedit.checks import is_number, require, require_one_of, require_whole
from instructedit.parameters import check_flag

ENCODINGS = ("dense", "hash")
LARGEST_MARGIN = 0.5
"""Largest margin of the canonical image, as a share of the clip's longer side."""
SEEN = 0.99
"""Share of the clip's pixels that has a place on the canonical image; the flow of the others is not trusted."""
MULTIPLE = 4
"""The margin is a multiple of this, so that a clip with sides that are multiples of 8 keeps them so."""
_COARSEST = 4
"""Nodes along the shorter side of the coarsest dense grid, at least."""
_ROWS = 1 << 18
"""Pixels that are computed at once where no gradient is needed."""


@dataclass(frozen=True)
class FieldSettings:
    """The settings of a fit, from ``conf/field``.

    Raises:
        ConfigError: A value is out of range; the message names its key.
    """

    encoding: str
    """``dense`` or ``hash``, see :mod:`instructedit.applications.video.encoding`."""
    table: int
    """Logarithm to the base 2 of the entries of a hash grid's level; dense grids have none."""
    steps: int
    pixels: int
    """Pixels of a step, in windows of :attr:`window` x :attr:`window`."""
    window: int
    learning_rate: float
    deformation_rate: float
    """Learning rate of the deformation."""
    halve_at: tuple[int, ...]
    """Steps at which both rates are halved."""
    gradient_weight: float
    """Weight of the L1 difference of the image gradients, beside the mean squared error."""
    smoothness: float
    """Weight of the deformation's roughness: the mean absolute difference of neighbouring offsets, in pixels."""
    coarse_until: float
    """Share of the steps after which all levels of the deformation have their full weight."""
    flow: bool
    """Whether the deformation starts from chained DIS flow; it then learns what the flow lacks. CoDeF starts from 0."""
    seed: int

    def __post_init__(self) -> None:
        require_one_of("field.encoding", self.encoding, ENCODINGS)
        require_whole("field.table", self.table, 1, 24)
        require_whole("field.steps", self.steps, 0)
        require_whole("field.window", self.window, 4)
        require_whole("field.pixels", self.pixels, self.window**2)
        for key in ("learning_rate", "deformation_rate", "gradient_weight", "smoothness"):
            value = getattr(self, key)
            require(is_number(value) and value >= 0, f"field.{key}", value, "numbers from 0 on")
        is_share = is_number(self.coarse_until) and 0 <= self.coarse_until <= 1
        require(is_share, "field.coarse_until", self.coarse_until, "numbers from 0 to 1")
        check_flag(self.flow, "field.flow")
        for step in self.halve_at:
            require_whole("field.halve_at", step, 0)
        require_whole("field.seed", self.seed, 0)

    def identity(self) -> dict[str, Any]:
        """Return all settings as plain values."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return values | {"halve_at": list(self.halve_at)}


class Head(nn.Module):
    """An MLP on the features of all levels."""

    def __init__(self, inputs: int, outputs: int, hidden: int, layers: int, generator: torch.Generator) -> None:
        super().__init__()
        widths = [inputs, *[hidden] * layers, outputs]
        linear = [nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False)]
        self.layers = nn.ModuleList(linear)
        for layer in linear:
            bound = math.sqrt(1 / layer.in_features)
            for values in layer.parameters():
                with torch.no_grad():
                    values.copy_((2 * torch.rand(values.shape, generator=generator) - 1) * bound)

    def forward(self, features: Float[Tensor, "n f"]) -> Float[Tensor, "n o"]:
        """Return the outputs."""
        for layer in self.layers[:-1]:
            features = torch.relu(layer(features))
        outputs: Tensor = self.layers[-1](features)
        return outputs


class Field(nn.Module):
    """A clip as a canonical image and a deformation.

    Positions on the canonical image are pixels of the clip's reference frame: (0, 0) is its upper left pixel, and the
    margin lies outside of it.

    Args:
        frames: Number of frames.
        height: Of the clip, in pixels.
        width: Of the clip.
        margin: Pixels by which the canonical image is larger on each side.
        key: Index of the reference frame.
        settings: The settings.
        device: Where the field is computed.
    """

    flow: Tensor

    def __init__(
        self, frames: int, height: int, width: int, margin: int, key: int, settings: FieldSettings, device: torch.device
    ) -> None:
        super().__init__()
        self.frames, self.height, self.width, self.margin, self.key = frames, height, width, margin, key
        size = (width + 2 * margin, height + 2 * margin)
        generator = torch.Generator().manual_seed(settings.seed)
        self.canonical: Encoding
        self.deformation: Encoding
        self.canonical_head: Head | None = None
        self.deformation_head: Head | None = None
        if settings.encoding == "dense":
            levels = max(1, int(math.log2(min(size) / _COARSEST)) + 1)
            self.canonical = DenseGrid(halved(size, levels, (False, False)), 3)
            coarser = (-(-width // 2), -(-height // 2), frames)
            self.deformation = DenseGrid(halved(coarser, max(1, levels - 1), (False, False, True)), 2)
        else:
            # CoDeF's encodings and heads; the deformation's output is divided by 5 and is in half widths of the clip.
            self.canonical = hash_grid(2, settings.table, 1.3819, settings.seed, device)
            self.deformation = hash_grid(3, settings.table, 1.3819, settings.seed + 1, device)
            self.canonical_head = Head(32, 3, 64, 2, generator)
            self.deformation_head = Head(32, 2, 64, 8, generator)
        self.register_buffer("flow", torch.zeros(frames, height, width, 2))
        self.to(device)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the canonical image in pixels."""
        return self.width + 2 * self.margin, self.height + 2 * self.margin

    def start(self, flow: Float[np.ndarray, "t h w 2"], canonical: UInt8[np.ndarray, "H W 3"]) -> None:
        """Begin with a flow to the reference frame, and (with dense grids) with a canonical image."""
        self.flow.copy_(torch.from_numpy(flow))
        if isinstance(self.canonical, DenseGrid):
            with torch.no_grad():
                image = torch.from_numpy(canonical).to(self.flow.device).permute(2, 0, 1)[None] / 255
                self.canonical.grids[-1].copy_(image)

    def colours(self, at: Float[Tensor, "n 2"]) -> Float[Tensor, "n 3"]:
        """Return the canonical image's RGB, in [0, 1] up to errors of the fit, at positions in pixels."""
        largest = torch.tensor(self.size, device=at.device) - 1
        features = self.canonical((at + self.margin) / largest)
        if self.canonical_head is None:
            return features.sum(1)
        return torch.sigmoid(self.canonical_head(features.flatten(1)))

    def offsets(self, pixels: Tensor, progress: float = 1.0) -> tuple[Float[Tensor, "n 2"], Float[Tensor, "n 2"]]:
        """Return the deformation's offset at pixels of the clip, and the part of it that was learned.

        Args:
            pixels: Whole numbers (x, y, t), one row for each pixel.
            progress: From 0 (coarsest level only) to 1 (all levels).
        """
        largest = torch.tensor([self.width - 1, self.height - 1, max(1, self.frames - 1)], device=pixels.device)
        features = annealed(self.deformation(pixels / largest), progress)
        if self.deformation_head is None:
            learned = features.sum(1)
        else:
            learned = self.deformation_head(features.flatten(1)) / 5 * (self.width / 2)
        x, y, t = pixels.unbind(-1)
        return self.flow[t, y, x] + learned, learned

    @torch.inference_mode()
    def map(self, frame: int) -> Float[np.ndarray, "h w 2"]:
        """Return where on the canonical image's canvas each pixel of a frame lies: (0, 0) is the canvas's corner."""
        found = []
        for pixels in self._grid(frame).split(_ROWS):
            offsets, _ = self.offsets(pixels)
            found.append(pixels[:, :2] + offsets + self.margin)
        return torch.cat(found).view(self.height, self.width, 2).float().cpu().numpy()

    @torch.inference_mode()
    def image(self) -> UInt8[np.ndarray, "H W 3"]:
        """Return the canonical image with its margin."""
        width, height = self.size
        at = torch.from_numpy(positions(height, width)).to(self.flow.device).view(-1, 2) - self.margin
        colours = torch.cat([self.colours(part) for part in at.split(_ROWS)]).view(height, width, 3)
        return (colours.clamp(0, 1) * 255).round().byte().cpu().numpy()

    @torch.inference_mode()
    def reconstruction(self, frame: int) -> UInt8[np.ndarray, "h w 3"]:
        """Return a frame as the field has it."""
        found = []
        for pixels in self._grid(frame).split(_ROWS):
            offsets, _ = self.offsets(pixels)
            found.append(self.colours(pixels[:, :2] + offsets))
        colours = torch.cat(found).view(self.height, self.width, 3)
        return (colours.clamp(0, 1) * 255).round().byte().cpu().numpy()

    def _grid(self, frame: int) -> Tensor:
        ys, xs = torch.meshgrid(torch.arange(self.height), torch.arange(self.width), indexing="ij")
        ts = torch.full_like(xs, frame)
        return torch.stack([xs, ys, ts], dim=-1).view(-1, 3).to(self.flow.device)


def prepared(frames: Frames, settings: FieldSettings, device: torch.device) -> Field:
    """Return a field before its first step: reference frame, margin, flow and first canonical image are chosen."""
    count, height, width = frames.shape[:3]
    forward, backward = neighbours(frames)
    key = key_frame(frames)
    flow = chained(forward, backward, key, frames)
    at = positions(height, width) + flow
    beyond = np.maximum(-at, at - (width - 1, height - 1)).max(-1)
    reach = max(0.0, float(np.quantile(beyond, SEEN)))
    margin = MULTIPLE * math.ceil(min(reach, LARGEST_MARGIN * max(height, width)) / MULTIPLE)
    field = Field(count, height, width, margin, key, settings, device)
    start = flow if settings.flow else np.zeros_like(flow)
    field.start(start, _canvas(frames, start, key, margin))
    return field


def _canvas(frames: Frames, flow: Float[np.ndarray, "t h w 2"], key: int, margin: int) -> UInt8[np.ndarray, "H W 3"]:
    """Return the reference frame, with the margin filled from the frames nearest in time that see it."""
    height, width = frames.shape[1:3]
    canvas = np.pad(frames[key], ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    filled = np.pad(np.ones((height, width), bool), margin)
    for t in sorted(range(len(frames)), key=lambda t: abs(t - key)):
        at = np.round(positions(height, width) + flow[t]).astype(int) + margin
        x, y = at[..., 0], at[..., 1]
        is_inside = (x >= 0) & (x < filled.shape[1]) & (y >= 0) & (y < filled.shape[0])
        x, y, colours = x[is_inside], y[is_inside], frames[t][is_inside]
        is_new = ~filled[y, x]
        canvas[y[is_new], x[is_new]] = colours[is_new]
        filled[y[is_new], x[is_new]] = True
    return canvas


class Fit:
    """A fit that can be stopped after any step, stored, and continued with the same result.

    Args:
        field: From :func:`prepared`.
        frames: The clip.
        settings: The settings.
    """

    def __init__(self, field: Field, frames: Frames, settings: FieldSettings) -> None:
        self.field, self.settings, self.step = field, settings, 0
        self.device = field.flow.device
        self.frames = torch.from_numpy(np.array(frames)).to(self.device)
        groups = {True: [], False: []}  # type: dict[bool, list[nn.Parameter]]
        for name, values in field.named_parameters():
            groups[name.startswith("deformation")].append(values)
        self.rates = (settings.learning_rate, settings.deformation_rate)
        self.optimizer = torch.optim.Adam(
            [{"params": groups[False]}, {"params": groups[True]}], lr=settings.learning_rate, eps=1e-15
        )

    def run(self, tick: Callable[[float], None] = lambda loss: None) -> None:
        """Do the steps that are left; ``tick`` is called after each with its loss."""
        while self.step < self.settings.steps:
            halvings = sum(self.step >= at for at in self.settings.halve_at)
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * 0.5**halvings
            loss = self._loss()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.step += 1
            tick(float(loss.detach()))

    def _loss(self) -> Tensor:
        settings, count = self.settings, max(1, self.settings.pixels // self.settings.window**2)
        # One generator for each step, so that a continued fit draws the windows that an uninterrupted one would.
        rng = np.random.default_rng([settings.seed, self.step])
        tall, wide = (min(settings.window, side) for side in (self.field.height, self.field.width))
        ts = rng.integers(self.field.frames, size=count)
        tops = rng.integers(self.field.height - tall + 1, size=count)
        lefts = rng.integers(self.field.width - wide + 1, size=count)
        rows, columns = np.mgrid[0:tall, 0:wide]
        pixels = np.stack(
            np.broadcast_arrays(
                lefts[:, None, None] + columns, tops[:, None, None] + rows, ts[:, None, None] + 0 * rows
            ),
            axis=-1,
        )
        at = torch.from_numpy(pixels.reshape(-1, 3)).to(self.device)
        coarse = settings.coarse_until * settings.steps
        offsets, learned = self.field.offsets(at, min(1.0, (self.step + 1) / coarse) if coarse else 1.0)
        colours = self.field.colours(at[:, :2] + offsets).view(count, tall, wide, 3)
        target = self.frames[at[:, 2], at[:, 1], at[:, 0]].view(count, tall, wide, 3) / 255
        learned = learned.view(count, tall, wide, 2)
        loss = ((colours - target) ** 2).mean()
        for axis in (1, 2):
            loss = loss + settings.gradient_weight * (colours.diff(dim=axis) - target.diff(dim=axis)).abs().mean() / 2
            loss = loss + settings.smoothness * learned.diff(dim=axis).abs().mean() / 2
        return loss

    def state(self) -> dict[str, Tensor]:
        """Return everything that a continuation needs, as tensors."""
        found = {f"field.{name}": values for name, values in self.field.state_dict().items()}
        return found | adam_state(self.optimizer) | {"step": torch.tensor(self.step)}

    def load(self, state: dict[str, Tensor]) -> None:
        """Continue from a state."""
        load_field(self.field, state)
        load_adam(self.optimizer, state)
        self.step = int(state["step"])


def load_field(field: Field, state: dict[str, Tensor]) -> None:
    """Give a field the parameters of a stored state."""
    field.load_state_dict({k.removeprefix("field."): v for k, v in state.items() if k.startswith("field.")})


__all__ = ["Field", "FieldSettings", "Fit", "load_field", "prepared", "sample"]
