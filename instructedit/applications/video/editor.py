"""Edit a clip with any method: fit a field, edit the canonical image once, carry the edit to every frame."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from PIL import Image

from instructedit.applications.strips import Frames, hash_clip, psnr, region, summed
from instructedit.applications.video.carry import Carried, along_flow, carry
from instructedit.applications.video.field import Field, FieldSettings, Fit, load_field, prepared
from instructedit.applications.video.flow import dis
from instructedit.cache import StageCache
from instructedit.checks import is_number, require, require_one_of
from instructedit.models import Context
from instructedit.types import EditRequest, EditResult, Failure, Method, StageError

FIELD, PER_FRAME, FLOW = PROPAGATIONS = ("field", "per_frame", "flow")
"""How an edit reaches the frames: carried by the field, every frame edited alone, or the first frame's edit along the
optical flow."""
VERSION = 1
"""Increase it if the code gives another field for the same clip and settings."""
STAGE, PROGRESS = "video_field", "video_field_progress"
_SAVE_SECONDS = 20.0
"""A fit is stored at least this often, so that a killed one goes on from there."""
Tick = Callable[[str, int, int, float], None]
"""Is told what is done (``fit``, ``edit`` or ``carry``), the steps done, all steps, and the latest loss (``fit``)."""


@dataclass(frozen=True)
class Fitted:
    """A field with how well it reconstructs its clip."""

    field: Field
    psnr: tuple[float, ...]
    """Of each frame in dB."""
    is_new: bool
    """Whether it was fitted now; else it was in the cache."""

    def below(self, least: float) -> list[int]:
        """Return the frames whose reconstruction is below ``least`` dB."""
        return [t for t, value in enumerate(self.psnr) if value < least]

    @property
    def mean(self) -> float:
        """Mean PSNR over the frames; a frame that is reconstructed exactly counts as 60 dB."""
        return float(np.mean(np.minimum(self.psnr, 60.0)))


@dataclass(frozen=True)
class EditedClip:
    """An edited clip."""

    frames: Frames
    masks: Bool[np.ndarray, "t h w"]
    """Where each frame has the edit."""
    edit: EditResult
    """The method's result on the canonical image, on the first frame (``flow`` and ``per_frame``)."""
    source: Image.Image
    """What the method edited."""
    fitted: Fitted | None
    """None for the baselines."""


def silent(what: str, done: int, total: int, loss: float) -> None:
    """Tell nobody."""


class ClipEditor:
    """Edits clips with a method.

    Args:
        context: The stage cache and the device.
        method: The method; it gets pictures and knows nothing of clips.
        settings: Of the field.
        propagation: One of :data:`PROPAGATIONS`.
        batch_size: Frames in one batch of the method, for ``per_frame``.

    Raises:
        ConfigError: A value is out of range.
    """

    def __init__(
        self, context: Context, method: Method, settings: FieldSettings, propagation: str = FIELD, batch_size: int = 8
    ) -> None:
        require_one_of("propagation", propagation, PROPAGATIONS)
        self.context, self.method, self.settings = context, method, settings
        self.propagation, self.batch_size = propagation, batch_size

    def edit(self, frames: Frames, request: EditRequest, tick: Tick = silent) -> EditedClip | Failure:
        """Edit a clip.

        Args:
            frames: RGB, all of one size, at least two.
            request: The instruction, captions, seed and id; its image is replaced.
            tick: Is told the progress.

        Raises:
            StageError: The clip has one frame.
        """
        if len(frames) < 2:
            raise StageError("input", f"{request.id}: one frame; a clip has at least two")
        if self.propagation == PER_FRAME:
            return self._each(frames, request, tick)
        if self.propagation == FLOW:
            outcome = self._once(request, frames[0])
            if isinstance(outcome, Failure):
                return outcome
            carried = list(along_flow(frames, np.asarray(outcome.image), region(outcome), dis))
            return _clip(carried, outcome, Image.fromarray(frames[0]), None)
        fitted = self.fit(frames, tick)
        canonical = fitted.field.image()
        outcome = self._once(request, canonical)
        if isinstance(outcome, Failure):
            return outcome
        mask, edited, carried = region(outcome), np.asarray(outcome.image), []
        for t, frame in enumerate(frames):
            carried.append(carry(frame, fitted.field.map(t), canonical, edited, mask))
            tick("carry", t + 1, len(frames), 0.0)
        return _clip(carried, outcome, Image.fromarray(canonical), fitted)

    def fit(self, frames: Frames, tick: Tick = silent) -> Fitted:
        """Return the clip's field: from the cache, or fitted, or fitted on from where a killed process was."""
        cache, settings, device = self.context.cache, self.settings, self.context.device
        parts: dict[str, Any] = {"settings": settings.identity(), "clip": hash_clip(frames)}
        key = StageCache.key(STAGE, VERSION, **parts)
        if (state := cache.get(STAGE, key)) is not None:
            field = _shaped(frames, state, settings, device)
            load_field(field, state)
            return _measured(field, frames, is_new=False)
        state = cache.get(PROGRESS, key)
        field = prepared(frames, settings, device) if state is None else _shaped(frames, state, settings, device)
        fit, saved = Fit(field, frames, settings), time.monotonic()
        if state is not None:
            fit.load(state)

        def stored(stage: str) -> None:
            shape = {"margin": torch.tensor(field.margin), "key": torch.tensor(field.key)}
            cache.put(stage, key, fit.state() | shape)

        def step(loss: float) -> None:
            nonlocal saved
            tick("fit", fit.step, settings.steps, loss)
            if time.monotonic() - saved > _SAVE_SECONDS and fit.step < settings.steps:
                stored(PROGRESS)
                saved = time.monotonic()

        fit.run(step)
        stored(STAGE)
        cache.drop(PROGRESS, key)
        return _measured(field, frames, is_new=True)

    def _once(self, request: EditRequest, image: np.ndarray) -> EditResult | Failure:
        (outcome,) = self.method.edit([replace(request, image=Image.fromarray(image))])
        return outcome

    def _each(self, frames: Frames, request: EditRequest, tick: Tick) -> EditedClip | Failure:
        """Edit every frame alone, as a baseline; a frame that fails keeps its pixels, unless all fail."""
        requests = [replace(request, image=Image.fromarray(frame)) for frame in frames]
        outcomes: list[EditResult | Failure] = []
        for start in range(0, len(requests), self.batch_size):
            # One id for all frames, so that all have the same noise.
            outcomes += self.method.edit(requests[start : start + self.batch_size])
            tick("edit", len(outcomes), len(requests), 0.0)
        edits = [o for o in outcomes if isinstance(o, EditResult)]
        if not edits:
            return next(o for o in outcomes if isinstance(o, Failure))
        carried = []
        for frame, outcome in zip(frames, outcomes, strict=True):
            if isinstance(outcome, Failure):
                carried.append(Carried(frame, np.zeros(frame.shape[:2], bool)))
            else:
                mask = region(outcome)
                carried.append(Carried(np.where(mask[..., None], np.asarray(outcome.image), frame), mask))
        return _clip(carried, summed(edits), Image.fromarray(frames[0]), None)


def check_least_psnr(value: Any) -> None:
    """Check the PSNR below which frames are reported.

    Raises:
        ConfigError: It is no number.
    """
    require(is_number(value), "least_psnr", value, "numbers, in dB, such as 25")


def _shaped(frames: Frames, state: dict[str, torch.Tensor], settings: FieldSettings, device: torch.device) -> Field:
    count, height, width = frames.shape[:3]
    return Field(count, height, width, int(state["margin"]), int(state["key"]), settings, device)


def _measured(field: Field, frames: Frames, is_new: bool) -> Fitted:
    values = tuple(psnr(field.reconstruction(t), frame) for t, frame in enumerate(frames))
    return Fitted(field, values, is_new)


def _clip(carried: Sequence[Carried], edit: EditResult, source: Image.Image, fitted: Fitted | None) -> EditedClip:
    frames, masks = np.stack([c.image for c in carried]), np.stack([c.mask for c in carried])
    return EditedClip(frames, masks, edit, source, fitted)
