"""Clips as samples of the harness: a *filmstrip* is a picture with a clip's frames below each other."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from instructedit.applications.strips import rolled, unrolled
from instructedit.applications.video.editor import FIELD, ClipEditor
from instructedit.applications.video.field import FieldSettings
from instructedit.checks import require
from instructedit.models import Context
from instructedit.types import ConfigError, EditRequest, EditResult, Failure, Method, StageError


class Filmstrip(Method):
    """Runs a method on clips that are filmstrips.

    Args:
        context: Models, cache and device.
        method: Builds the method, which edits single pictures.
        frames: Number of frames of each filmstrip.
        propagation: How the edit reaches the frames, see :data:`instructedit.applications.video.editor.PROPAGATIONS`.
        settings: Of the field.

    Raises:
        ConfigError: A value is out of range, or the benchmark has no filmstrips.
    """

    def __init__(
        self,
        context: Context,
        method: Callable[..., Method],
        frames: int | None,
        settings: FieldSettings,
        propagation: str = FIELD,
    ) -> None:
        if frames is None:
            raise ConfigError(
                "wrapper=video: the benchmark has no filmstrips (frames is null); benchmark=picturebook_video has"
            )
        require(isinstance(frames, int) and frames >= 2, "benchmark.frames", frames, "whole numbers from 2 on")
        inner = method(context=context)
        self.editor, self.frames = ClipEditor(context, inner, settings, propagation), frames
        self.needs_captions = bool(getattr(inner, "needs_captions", False))

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | Failure]:
        """Edit clips one after the other; failures are isolated per clip."""
        return [self._edit(request) for request in requests]

    def _edit(self, request: EditRequest) -> EditResult | Failure:
        start = time.perf_counter()
        try:
            clip = unrolled(request.image, self.frames)
        except ValueError as error:
            raise StageError("input", f"{request.id}: {error}") from None
        outcome = self.editor.edit(clip, request)
        if isinstance(outcome, Failure):
            return outcome
        decisions = outcome.edit.decisions
        if outcome.fitted is not None:
            decisions = replace(decisions, reconstruction=tuple(min(v, 100.0) for v in outcome.fitted.psnr))
        seconds = {**outcome.edit.seconds, "video": time.perf_counter() - start - sum(outcome.edit.seconds.values())}
        return replace(
            outcome.edit, id=request.id, image=rolled(outcome.frames), mask=np.concatenate(list(outcome.masks)),
            decisions=decisions, seconds=seconds,
        )  # fmt: skip
