"""Image editor (paper §3.4): mask-guided DDIM, Eq. 4, after inversion under the input caption."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from instructedit import diffusion
from instructedit.checks import is_number, require, require_one_of, require_whole
from instructedit.latent_diffusion import LatentDiffusion, to_images
from instructedit.models import Checkpoint, Context
from instructedit.types import Captions, ConfigError, EditRequest, Stage, StageError

BLENDS = ("paper", "official")
INVERSION_PROMPTS = ("input", "empty")
Mask = TypeVar("Mask", np.ndarray, Tensor)


@dataclass(frozen=True)
class Edited:
    """An edited image and what it cost."""

    image: Image.Image
    """RGB, of the request's size."""
    evaluations: dict[str, int]
    """Number of function evaluations (NFE) by stage; guidance counts twice, a cached inversion not at all."""


class Editor(Protocol):
    """What edits inside a mask."""

    takes_ratio: bool = False
    """Whether :meth:`edit` follows the requests' ``ratio``."""

    def edit(
        self,
        requests: Sequence[EditRequest],
        captions: Sequence[Captions],
        masks: Sequence[Bool[np.ndarray, "_ _"]],
    ) -> list[Edited | StageError]:
        """Edit each request's image inside its mask, towards its edited caption.

        Returns:
            One answer for each request, in order. A request that cannot be edited, such as one with an empty mask, is
            answered with an error and leaves the others alone.
        """
        ...


class MaskGuidedEditor:
    """Mask-guided DDIM editing, shared by InstructEdit and DiffEdit.

    Inverts (unless told otherwise under the input caption and without guidance), starts at encoding ratio r, predicts
    with guidance under the edited caption, and keeps the inverted latents outside the mask (Eq. 4).

    Args:
        context: Models, cache and device.
        diffusion: Checkpoint of a Stable Diffusion folder (vae, unet, text_encoder, tokenizer, scheduler).
        ratio: Encoding ratio r in (0, 1]: the share of the T steps that is inverted and sampled again.
        steps: T.
        guidance_scale: Of classifier-free guidance.
        blend: ``paper`` keeps the inverted latent of the level just reached and so ends on x_0 outside the mask, and
            lets no pixel outside it change (see :func:`pixel_weight`); the mask reaches the latent grid by area (see
            :func:`latent_mask`). ``official`` follows the released code: it keeps the latent a level noisier, decodes
            the result as it is, and reduces the mask by nearest neighbour (see :func:`nearest_latent_mask`). One
            difference remains: the released code squeezes the picture to 512 x 512 by bicubic resampling, and this
            class keeps the picture's aspect under both blends, the longest side at the UNet's training size, by
            Lanczos resampling (see :meth:`LatentDiffusion.size`). Square pictures of that size are resampled by
            neither.
        dilate: Pixels by which the mask grows (or shrinks, when negative) before the edit: the paper's remedy for edits
            that change a shape (appendix E.2). The released code does not.
        inversion_prompt: ``input`` inverts under the input caption, ``empty`` under none.
        inversion_guidance_scale: Of classifier-free guidance while inverting; 1 is none.
    """

    takes_ratio = True

    def __init__(
        self,
        context: Context,
        diffusion: Checkpoint,
        ratio: float,
        steps: int = 50,
        guidance_scale: float = 7.5,
        blend: str = "paper",
        dilate: int = 0,
        inversion_prompt: str = "input",
        inversion_guidance_scale: float = 1.0,
    ) -> None:
        check_ratio(ratio)
        require_one_of("blend", blend, BLENDS)
        require_one_of("inversion_prompt", inversion_prompt, INVERSION_PROMPTS)
        require_whole("steps", steps, 1, 1000)
        if int(steps * ratio) < 1:
            raise ConfigError(f"ratio={ratio} of steps={steps} leaves nothing to do; raise one of them")
        self.ratio, self.steps, self.guidance_scale, self.blend = ratio, steps, guidance_scale, blend
        self.dilate = dilate
        self.inversion_prompt, self.inversion_guidance_scale = inversion_prompt, inversion_guidance_scale
        self.backbone = LatentDiffusion(context, diffusion)

    def edit(
        self,
        requests: Sequence[EditRequest],
        captions: Sequence[Captions],
        masks: Sequence[Bool[np.ndarray, "_ _"]],
    ) -> list[Edited | StageError]:
        """Edit each image inside its mask; images of one working size go through the network together."""
        inside = [self._latent_mask(r.image, m) for r, m in zip(requests, masks, strict=True)]
        empty = StageError(
            Stage.EDITOR, f"the mask is empty on the latent grid (dilate={self.dilate}, blend={self.blend})"
        )
        answers: list[Edited | StageError] = [empty] * len(requests)
        for ratio in dict.fromkeys(r.ratio for r in requests):
            group = [i for i, r in enumerate(requests) if r.ratio == ratio]
            edited = edit_by_size(
                self.backbone,
                partial(self._edit, start=int(self.steps * (ratio or self.ratio))),
                [requests[i] for i in group],
                [captions[i] for i in group],
                [inside[i] for i in group],
                empty,
            )
            for i, answer in zip(group, edited, strict=True):
                answers[i] = answer
        return answers

    def _latent_mask(self, image: Image.Image, mask: Bool[np.ndarray, "h w"]) -> Float[Tensor, "1 rows columns"]:
        mask, unit = grow(mask, self.dilate), self.backbone.vae_scale_factor
        width, height = self.backbone.size(image)
        if self.blend == "official":
            return nearest_latent_mask(mask, (width, height), unit)
        return latent_mask(mask, (height // unit, width // unit))

    @torch.no_grad()
    def _edit(
        self, requests: list[EditRequest], captions: list[Captions], masks: list[Float[Tensor, "1 h w"]], start: int
    ) -> list[Edited]:
        backbone, images = self.backbone, [r.image for r in requests]
        prompts = [c.input if self.inversion_prompt == "input" else "" for c in captions]
        trajectory, inversions = backbone.invert(images, prompts, self.steps, self.inversion_guidance_scale)
        schedule = diffusion.make_schedule(backbone.scheduler, self.steps)
        inside = torch.stack(masks).to(trajectory)
        predict = backbone.guided([c.edited for c in captions], self.guidance_scale)
        latents = masked_sample(predict, trajectory, inside, schedule, start, self.blend)
        pixels = backbone.decode(latents)
        if self.blend == "paper":
            kept = backbone.decode(trajectory[0])
            weight = pixel_weight(inside, pixels.shape[-2:])
            pixels = weight * pixels + (1 - weight) * kept
        cost = start if self.guidance_scale == 1 else 2 * start
        edited = to_images(pixels, [i.size for i in images])
        return [Edited(e, {Stage.INVERSION: n, Stage.EDIT: cost}) for e, n in zip(edited, inversions, strict=True)]


def check_ratio(ratio: object, key: str = "ratio") -> None:
    """Refuse what is no encoding ratio.

    Raises:
        ConfigError: names ``key`` and what is accepted.
    """
    hint = "; wrapper=auto_ratio chooses one for each sample" if ratio == "auto" else ""
    require(is_number(ratio) and 0 < ratio <= 1, key, ratio, f"numbers above 0 and up to 1, such as 0.7{hint}")


def edit_by_size(
    backbone: LatentDiffusion,
    edit: Callable[[list[EditRequest], list[Captions], list[Mask]], list[Edited]],
    requests: Sequence[EditRequest],
    captions: Sequence[Captions],
    masks: Sequence[Mask],
    empty: StageError,
) -> list[Edited | StageError]:
    """Edit the requests that have a mask, those of one working size in one batch.

    Args:
        backbone: Knows the working sizes.
        edit: Edits requests of one working size.
        requests: Those of a batch, with their ``captions`` and ``masks``.
        captions: One pair for each request.
        masks: One for each request, in pixels or on the latent grid; not zero where the edit belongs.
        empty: The answer to a request whose mask is empty.
    """
    answers: list[Edited | StageError] = [empty] * len(requests)
    alive = [i for i, mask in enumerate(masks) if mask.any()]
    for group in backbone.groups([requests[i].image for i in alive]):
        picked = [alive[k] for k in group]
        edited = edit([requests[i] for i in picked], [captions[i] for i in picked], [masks[i] for i in picked])
        for i, answer in zip(picked, edited, strict=True):
            answers[i] = answer
    return answers


def masked_sample(
    predict: diffusion.NoisePredictor,
    trajectory: Float[Tensor, "levels b c h w"],
    mask: Float[Tensor, "b 1 h w"],
    schedule: diffusion.Schedule,
    start: int,
    blend: str,
) -> Float[Tensor, "b c h w"]:
    """Eq. 4: sample from level ``start`` inside the mask, follow the inverted latents outside it.

    Args:
        predict: Guided noise prediction under the edited caption.
        trajectory: Inverted latents of levels 0 to T.
        mask: 1 where the edit belongs.
        schedule: The path of T steps.
        start: The level r at which to start.
        blend: See :class:`MaskGuidedEditor`.
    """
    y = trajectory[start]
    for level in range(start, 0, -1):
        noise = predict(y, schedule.timesteps[level - 1])
        y = diffusion.move(y, noise, schedule.alphas[level], schedule.alphas[level - 1])
        kept = trajectory[level - 1] if blend == "paper" else trajectory[level]
        y = mask * y + (1 - mask) * kept
    return y


def latent_mask(mask: Bool[np.ndarray, "h w"], size: Sequence[int]) -> Float[Tensor, "1 rows columns"]:
    """The mask on the latent grid: a latent belongs to it if half its area or more does.

    A mask too small to fill half of any latent keeps the one that it fills most: an edit that was asked for is not
    dropped in silence.
    """
    area = functional.adaptive_avg_pool2d(
        torch.from_numpy(np.ascontiguousarray(mask)).float()[None, None], (size[0], size[1])
    )[0]
    return ((area >= min(0.5, math.nextafter(float(area.max()), 0))) & (area > 0)).float()


def nearest_latent_mask(
    mask: Bool[np.ndarray, "h w"], size: tuple[int, int], vae_scale_factor: int
) -> Float[Tensor, "1 H W"]:
    """The mask on the latent grid as the released code reduces it: by nearest neighbour, twice.

    The mask is resized to the working size, then to the latent grid as ``torch.nn.functional.interpolate`` does, which
    reads the first pixel of each latent: a mask that covers most of a latent without that pixel leaves it out.

    Args:
        mask: True where the edit belongs.
        size: Of the picture that is encoded, width and height in pixels.
        vae_scale_factor: Pixels per latent along each side.

    Returns:
        0 or 1 for each latent.
    """
    width, height = size
    resized = np.array(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    grid = height // vae_scale_factor, width // vae_scale_factor
    return functional.interpolate(torch.from_numpy(resized)[None, None].float(), size=grid, mode="nearest")[0]


def pixel_weight(mask: Float[Tensor, "b 1 h w"], size: Sequence[int]) -> Float[Tensor, "b 1 H W"]:
    """How much of the edit each pixel takes: none outside the latent mask, all of it half a latent inside its rim.

    Equal latents do not decode to equal pixels: the decoder's group normalisation sees the whole picture, so an edit
    shifts colours everywhere. The paper maps the outside "back to the original pixels" (§3.4), and so does this.
    """
    height, width = size
    full = functional.interpolate(mask.float(), size=(height, width), mode="nearest")
    ramp = max(1.0, height / mask.shape[-2] / 2)
    depth = [ndimage.distance_transform_edt(np.pad(m, 1, mode="edge"))[1:-1, 1:-1] for m in full[:, 0].cpu().numpy()]
    inside = torch.from_numpy(np.stack(depth)).to(full)[:, None]
    # A mask without a rim (all of the picture) has no finite distance to one.
    return (inside / ramp).clamp(0, 1) if bool((full == 0).any()) else full


def grow(mask: Bool[np.ndarray, "h w"], pixels: int) -> Bool[np.ndarray, "h w"]:
    """Dilate (or, for negative ``pixels``, erode) a mask by a Euclidean distance in pixels."""
    if pixels == 0:
        return mask
    if pixels > 0:
        return np.asarray(ndimage.distance_transform_edt(~mask) <= pixels) if mask.any() else mask
    return np.asarray(ndimage.distance_transform_edt(mask) > -pixels)
