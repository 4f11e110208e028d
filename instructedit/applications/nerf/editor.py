"""Edit a scene with any method: train a field, update its dataset with edited views, render the edited field."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool

from instructedit.applications.nerf.cameras import Camera
from instructedit.applications.nerf.field import GridField, GridSettings, loaded
from instructedit.applications.nerf.fit import Fit, packed
from instructedit.applications.nerf.render import render_view
from instructedit.applications.nerf.scenes import Scene
from instructedit.applications.nerf.update import Update, UpdateSettings
from instructedit.applications.strips import Frames, hash_clip, psnr, summed
from instructedit.cache import StageCache
from instructedit.models import Checkpoint, Context
from instructedit.perceptual import load_network
from instructedit.types import EditRequest, EditResult, Failure, Method

VERSION = 1
"""Increase it if the code gives another field for the same scene and settings."""
STAGE, PROGRESS, UPDATE_PROGRESS = "nerf_field", "nerf_field_progress", "nerf_update_progress"
_SAVE_SECONDS = 20.0
"""A fit or an update is stored at least this often, so that a killed one goes on from there."""
Tick = Callable[[str, int, int, float], None]
"""Is told what is done (``fit``, ``update`` or ``render``), the steps done, all steps, and the latest loss."""


@dataclass(frozen=True)
class Fitted:
    """An unedited field with how well it reconstructs its scene."""

    field: GridField
    renders: Frames
    """Every view as the field has it."""
    psnr: tuple[float, ...]
    """Of each view in dB."""
    is_new: bool
    """Whether it was trained now; else it was in the cache."""


@dataclass(frozen=True)
class EditedScene:
    """An edited scene."""

    pictures: Frames
    """The edited dataset: training views as edited, held-out views as the edited field renders them."""
    renders: Frames
    """Every view as the edited field has it."""
    masks: Bool[np.ndarray, "n h w"]
    """Where each training view was edited; False for held-out views."""
    unedited: tuple[int, ...]
    """Training views that no edit has changed."""
    failures: tuple[str, ...]
    """Why, one line for each view whose latest edit failed."""
    edit: EditResult
    """The first edit of a view, with the costs of all since the process began."""
    field: GridField
    fitted: Fitted


def silent(what: str, done: int, total: int, loss: float) -> None:
    """Tell nobody."""


class SceneEditor:
    """Edits scenes with a method.

    Args:
        context: The stage cache and the device.
        method: The method; it gets pictures and knows nothing of scenes.
        radiance: Settings of the field.
        update: Settings of the dataset update.
        lpips: Checkpoint of LPIPS' AlexNet, for the update's loss.
        calibration: See :func:`instructedit.perceptual.load_network`.
    """

    def __init__(
        self, context: Context, method: Method, radiance: GridSettings, update: UpdateSettings, lpips: Checkpoint,
        calibration: str,
    ) -> None:  # fmt: skip
        self.context, self.method, self.radiance, self.update = context, method, radiance, update
        self.perceptual = None
        if update.lpips_weight:
            network = load_network(lpips.folder / "model.safetensors", calibration)
            self.perceptual = network.to(context.device)

    def edit(
        self, scene: Scene, request: EditRequest, tick: Tick = silent, address: str | None = None
    ) -> EditedScene | Failure:
        """Edit a scene.

        Args:
            scene: The scene.
            request: The instruction, captions, seed and id; its image is replaced by the views.
            tick: Is told the progress.
            address: A hash of everything that determines the edit, under which an update's progress is stored; None
                stores none.

        Returns:
            The edited scene; a failure if no view could be edited.
        """
        fitted = self.fit(scene, tick)
        start = time.perf_counter()
        update = self._updated(scene, fitted, request, tick, address)
        if not update.costs.edits and update.costs.failures:
            return next(iter(update.costs.failures.values()))
        renders = self._rendered(update.field, scene.cameras, tick)
        train = list(scene.train)
        pictures, masks = renders.copy(), np.zeros(renders.shape[:3], bool)
        pictures[train], masks[train] = update.pictures.cpu().numpy(), update.masks
        edit = summed(list(update.costs.done)) if update.costs.done else _nothing(request, scene)
        spent = time.perf_counter() - start - sum(edit.seconds.values())
        edit = replace(edit, seconds={**edit.seconds, "nerf": max(0.0, spent)})
        failures = tuple(f"view {train[i]}: {f.stage}: {f.message}" for i, f in sorted(update.costs.failures.items()))
        unedited = tuple(train[i] for i in update.unedited)
        return EditedScene(pictures, renders, masks, unedited, failures, edit, update.field, fitted)

    def fit(self, scene: Scene, tick: Tick = silent) -> Fitted:
        """Return the scene's unedited field: from the cache, or trained, or trained on from where a killed one was."""
        cache, settings, device = self.context.cache, self.radiance, self.context.device
        train = list(scene.train)
        cameras = [scene.cameras[i] for i in train]
        parts: dict[str, Any] = {
            "settings": settings.identity(), "pictures": hash_clip(scene.pictures[train]), "box": scene.box.tolist(),
            "cameras": [[c.fl_x, c.fl_y, c.cx, c.cy, *c.distortion, *c.pose.flatten().tolist()] for c in cameras],
        }  # fmt: skip
        key = StageCache.key(STAGE, VERSION, **parts)
        # One process trains; others wait, and find the field.
        with cache.lock(STAGE, [key]):
            if (state := cache.get(STAGE, key)) is not None:
                return self._measured(loaded(state, settings, device), scene, tick, is_new=False)
            fit = Fit(scene.pictures[train], cameras, scene.box, settings, device)
            if (state := cache.get(PROGRESS, key)) is not None:
                fit.load(state)
            fit.run(self._saving("fit", fit, settings.steps, PROGRESS, key, tick))
            cache.put(STAGE, key, packed(fit.field))
            cache.drop(PROGRESS, key)
        return self._measured(fit.field, scene, tick, is_new=True)

    def _updated(self, scene: Scene, fitted: Fitted, request: EditRequest, tick: Tick, address: str | None) -> Update:
        train, cache = list(scene.train), self.context.cache
        cameras = [scene.cameras[i] for i in train]
        update = Update(fitted.field, scene.pictures[train], cameras, self.update, self.perceptual)
        key = None if address is None else StageCache.key(UPDATE_PROGRESS, VERSION, address=address)
        if key is not None and (state := cache.get(UPDATE_PROGRESS, key)) is not None:
            update.load(state)
        update.run(self.method, request, self._saving("update", update, self.update.steps, UPDATE_PROGRESS, key, tick))
        if key is not None:
            cache.drop(UPDATE_PROGRESS, key)
        return update

    def _saving(
        self, what: str, work: Fit | Update, steps: int, stage: str, key: str | None, tick: Tick
    ) -> Callable[[float], None]:
        """Return what a step calls: it tells the progress, and stores it from time to time."""
        saved = time.monotonic()

        def step(loss: float) -> None:
            nonlocal saved
            tick(what, work.step, steps, loss)
            if key is not None and time.monotonic() - saved > _SAVE_SECONDS and work.step < steps:
                self.context.cache.put(stage, key, work.state())
                saved = time.monotonic()

        return step

    def _measured(self, field: GridField, scene: Scene, tick: Tick, is_new: bool) -> Fitted:
        renders = self._rendered(field, scene.cameras, tick)
        values = tuple(psnr(render, own) for render, own in zip(renders, scene.pictures, strict=True))
        return Fitted(field, renders, values, is_new)

    @staticmethod
    def _rendered(field: GridField, cameras: Sequence[Camera], tick: Tick) -> Frames:
        found = []
        for index, camera in enumerate(cameras):
            found.append(render_view(field, camera).pixels)
            tick("render", index + 1, len(cameras), 0.0)
        return np.stack(found)


def _nothing(request: EditRequest, scene: Scene) -> EditResult:
    """Return the result of an update without an edit, such as one of zero steps."""
    return EditResult(request.id, request.image, np.zeros(scene.pictures.shape[1:3], bool))
