"""What baselines share: the editors inside a mask, and the methods that are conditioned on captions."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from instructedit import diffusion
from instructedit.cache import StageCache, code_of, hash_image
from instructedit.editor import Edited, Editor, finished_edits, grow
from instructedit.images import mask_image
from instructedit.latent_diffusion import LatentDiffusion
from instructedit.stages import Progress, run_stages
from instructedit.types import Captions, Decisions, EditRequest, EditResult, Failure, Method, Stage, StageError


class MaskEditor(Editor, ABC):
    """An :class:`Editor` that dilates each mask; a request whose mask is then empty fails alone."""

    dilate: int
    """Pixels by which masks are dilated."""

    def edit(
        self,
        requests: Sequence[EditRequest],
        captions: Sequence[Captions],
        masks: Sequence[Bool[np.ndarray, "_ _"]],
    ) -> list[Edited | StageError]:
        """Edit each request's image inside its mask. See :class:`Editor`."""
        grown = [self._reduced(r.image, grow(m, self.dilate)) for r, m in zip(requests, masks, strict=True)]
        alive = [i for i, mask in enumerate(grown) if mask.any()]
        edited = self._edit([requests[i] for i in alive], [captions[i] for i in alive], [grown[i] for i in alive])
        edits = dict(zip(alive, edited, strict=True))
        empty = StageError(Stage.EDITOR, f"the mask is empty (dilate={self.dilate})")
        return [edits.get(i, empty) for i in range(len(requests))]

    def _reduced(self, image: Image.Image, mask: Bool[np.ndarray, "_ _"]) -> Bool[np.ndarray, "_ _"]:
        """Return a dilated mask as the editor uses it."""
        return mask

    @abstractmethod
    def _edit(
        self, requests: list[EditRequest], captions: list[Captions], masks: list[Bool[np.ndarray, "_ _"]]
    ) -> list[Edited]:
        """Edit inside masks that are not empty."""


class LatentMaskEditor(MaskEditor):
    """A :class:`MaskEditor` on one checkpoint. Images of one working size form a batch, and edits are cached."""

    backbone: LatentDiffusion

    def _edit(
        self, requests: list[EditRequest], captions: list[Captions], masks: list[Bool[np.ndarray, "_ _"]]
    ) -> list[Edited]:
        edits: dict[int, Edited] = {}
        prompts = [self._prompt(c) for c in captions]
        for group in self.backbone.groups([r.image for r in requests]):
            batch = [requests[i] for i in group], [prompts[i] for i in group], [masks[i] for i in group]
            edits |= zip(group, self._edit_group(*batch), strict=True)
        return [edits[i] for i in range(len(requests))]

    def _edit_group(
        self, requests: list[EditRequest], prompts: list[str], masks: list[Bool[np.ndarray, "_ _"]]
    ) -> list[Edited]:
        keys = [
            StageCache.key(
                Stage.EDIT, code_of(type(self), LatentDiffusion, diffusion), image=hash_image(r.image),
                mask=hash_image(mask_image(mask)), sample=r.id, seed=r.seed,
                model=self.backbone.checkpoint.fingerprint, **self._parameters(prompt),
            )
            for r, prompt, mask in zip(requests, prompts, masks, strict=True)
        ]  # fmt: skip
        return finished_edits(
            self.backbone.context.cache,
            keys,
            lambda some: self._sample(
                [requests[i] for i in some], [prompts[i] for i in some], [masks[i] for i in some]
            ),
        )

    def _prompt(self, captions: Captions) -> str:
        """Return the text towards which an image is edited."""
        return captions.edited

    @abstractmethod
    def _parameters(self, prompt: str) -> Mapping[str, Any]:
        """Return what determines an edit beside image, mask, seed and checkpoint, for its cache key."""

    @abstractmethod
    def _sample(
        self, requests: list[EditRequest], prompts: list[str], masks: list[Bool[np.ndarray, "_ _"]]
    ) -> list[Edited]:
        """Edit images of one working size."""


class CaptionMethod(Method, ABC):
    """A method on one checkpoint that is conditioned on both captions and draws no noise. Edits are cached."""

    needs_captions = True
    title: str
    """Name of the method in messages."""
    backbone: LatentDiffusion

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | Failure]:
        """Edit a batch. A request without captions fails."""
        return run_stages(requests, (Stage.EDITOR, self._edit))

    def _edit(self, progress: list[Progress]) -> None:
        alive = with_captions(progress, self.title)
        for group in self._groups([p.request.image for p in alive]):
            self._edit_group([alive[i] for i in group])

    def _edit_group(self, group: list[Progress]) -> None:
        images = [p.request.image for p in group]
        captions = [p.request.captions for p in group if p.request.captions is not None]
        keys = [
            StageCache.key(
                Stage.EDIT, code_of(type(self), LatentDiffusion, diffusion), image=hash_image(image), input=c.input,
                edited=c.edited, model=self.backbone.checkpoint.fingerprint, **self._parameters(),
            )
            for image, c in zip(images, captions, strict=True)
        ]  # fmt: skip
        edits = finished_edits(
            self.backbone.context.cache,
            keys,
            lambda some: self._sample([images[i] for i in some], [captions[i] for i in some]),
        )
        for p, edited in zip(group, edits, strict=True):
            p.image, p.evaluations, p.cached_evaluations = edited.image, edited.evaluations, edited.cached

    def _groups(self, images: list[Image.Image]) -> Iterable[Sequence[int]]:
        """Return the indices of the images that form a batch."""
        return self.backbone.groups(images)

    @abstractmethod
    def _parameters(self) -> Mapping[str, Any]:
        """Return the parameters that determine an edit, for its cache key."""

    @abstractmethod
    def _sample(self, images: list[Image.Image], captions: list[Captions]) -> list[Edited]:
        """Edit images of one working size."""


def with_captions(progress: Sequence[Progress], title: str) -> list[Progress]:
    """Record the captions of the requests, and return those that have captions; the others fail.

    Args:
        progress: The requests.
        title: Name of the method in messages.
    """
    for p in progress:
        p.decisions = Decisions(captions=p.request.captions)
        if p.request.captions is None:
            p.error = StageError(Stage.EDITOR, f"{title} needs captions, and this sample has none")
    return [p for p in progress if p.error is None]


def guided_noise_pred(
    unet: Any,
    unet_input: Float[Tensor, "twice_b _ h w"],
    timestep: Tensor,
    conditions: diffusion.Condition,
    guidance_scale: float,
) -> Float[Tensor, "b c h w"]:
    """Return a UNet's output with classifier-free guidance, for a sampler of diffusers.

    Args:
        unet: The UNet.
        unet_input: The unconditional half of the batch, followed by the conditional one.
        timestep: Of the sampler.
        conditions: Conditions of the empty caption, followed by those of the captions.
        guidance_scale: Scale of classifier-free guidance.
    """
    noise_pred = unet(unet_input, timestep, **conditions.arguments(unet_input)).sample
    noise_pred_uncond, noise_pred_text = noise_pred.chunk(2)
    guided: Tensor = noise_pred_uncond + guidance_scale * (noise_pred_text - noise_pred_uncond)
    return guided
