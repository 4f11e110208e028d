"""Scenes as samples of the harness: a strip is a picture with a scene's views below each other."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from instructedit.applications.nerf.editor import SceneEditor
from instructedit.applications.nerf.field import GridSettings
from instructedit.applications.nerf.scenes import TRANSFORMS, read_strip
from instructedit.applications.nerf.update import UpdateSettings
from instructedit.applications.strips import rolled
from instructedit.files import located
from instructedit.models import Checkpoint, Context
from instructedit.types import (
    ConfigError,
    EditRequest,
    EditResult,
    Failure,
    Method,
    Stage,
    StageError,
    non_identity_keys,
)


@non_identity_keys("scenes")  # the benchmark's revision covers the poses
class SceneStrip(Method):
    """Runs a method on scenes whose views are a strip. The result is a strip of the edited field's renders.

    Args:
        context: Models, cache and device.
        method: Builds the method, which edits single pictures.
        scenes: Folder of the poses, ``<sample's id>/transforms.json``.
        radiance: Settings of the field.
        update: Settings of the dataset update.
        lpips: Checkpoint of LPIPS' AlexNet, for the update's loss.
        calibration: Of LPIPS.

    Raises:
        ConfigError: A value is out of range, or the benchmark has no scenes.
    """

    def __init__(
        self, context: Context, method: Callable[..., Method], scenes: str | None, radiance: GridSettings,
        update: UpdateSettings, lpips: Checkpoint, calibration: str,
    ) -> None:  # fmt: skip
        if scenes is None:
            raise ConfigError(
                "wrapper=nerf: the benchmark has no scenes (scenes is null); benchmark=picturebook_3d has some"
            )
        inner = method(context=context)
        self.editor = SceneEditor(context, inner, radiance, update, lpips, calibration)
        self.scenes = located(scenes)
        self.needs_captions = bool(getattr(inner, "needs_captions", False))

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | Failure]:
        """Edit scenes one after the other."""
        return [self._edit(request) for request in requests]

    def _edit(self, request: EditRequest) -> EditResult | Failure:
        try:
            scene = read_strip(self.scenes / request.id / TRANSFORMS, request.image)
        except (ValueError, ConfigError) as error:
            raise StageError(Stage.INPUT, f"{request.id}: {error}") from None
        outcome = self.editor.edit(scene, request)
        if isinstance(outcome, Failure):
            return replace(outcome, id=request.id)
        held_out = tuple(min(outcome.fitted.psnr[i], 100.0) for i in scene.held_out or scene.train)
        # A method without masks has none of a scene either.
        mask = None if outcome.edit.mask is None else np.concatenate(list(outcome.masks))
        return replace(
            outcome.edit, id=request.id, image=rolled(outcome.renders), mask=mask,
            decisions=replace(outcome.edit.decisions, reconstruction=held_out),
        )  # fmt: skip
