"""Image editor (paper §3.4): DDIM inversion under the input caption, then mask-guided DDIM sampling (Eq. 4)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from instructedit import diffusion
from instructedit.cache import StageCache, code_of, hash_image
from instructedit.checks import require_one_of, require_whole
from instructedit.images import mask_image
from instructedit.latent_diffusion import LatentDiffusion, to_images
from instructedit.models import Checkpoint, Context
from instructedit.parameters import check_ratio
from instructedit.types import Captions, ConfigError, EditRequest, Stage, StageError

BLENDS = ("paper", "official")
INVERSION_PROMPTS = ("input", "empty")
_PIXELS = "pixels"
Mask = TypeVar("Mask", np.ndarray, Tensor)


@dataclass(frozen=True)
class Edited:
    """An edited image and its NFE."""

    image: Image.Image
    """RGB, of the request's size."""
    evaluations: dict[str, int]
    """Number of function evaluations (NFE) by stage; a guided step counts two, a cached inversion zero."""
    cached: dict[str, int] = field(default_factory=dict)
    """NFE by stage that the cache saved."""


class Editor(Protocol):
    """Edits images inside masks."""

    takes_ratio: bool = False
    takes_restart: bool = False
    """Whether :meth:`edit` uses the requests' ``ratio`` and ``restart``."""

    def edit(
        self,
        requests: Sequence[EditRequest],
        captions: Sequence[Captions],
        masks: Sequence[Bool[np.ndarray, "_ _"]],
    ) -> list[Edited | StageError]:
        """Edit each request's image inside its mask, towards its edited caption.

        Returns:
            One result per request, in order. A request that cannot be edited, for example because its mask is empty,
            gets a :class:`StageError` and does not affect the others.
        """
        ...


class MaskGuidedEditor:
    """Mask-guided DDIM editing, shared by InstructEdit and DiffEdit.

    The image is inverted, by default under the input caption and without guidance. Sampling starts at encoding ratio r
    with classifier-free guidance under the edited caption, and keeps the inverted latents outside the mask (Eq. 4).

    Args:
        context: Models, cache and device.
        diffusion: Checkpoint of a Stable Diffusion folder (vae, unet, text_encoder, tokenizer, scheduler).
        ratio: Encoding ratio r in (0, 1]: the share of the T steps that is inverted and sampled again.
        steps: T.
        guidance_scale: Scale of classifier-free guidance.
        blend: ``paper`` keeps the inverted latent of the level just reached outside the mask, so sampling ends on x_0
            there, and no pixel outside the mask changes (see :func:`pixel_weight`); the mask is reduced to the latent
            grid by area (see :func:`latent_mask`). ``official`` follows the released code: it keeps the inverted latent
            of the next noisier level, decodes the result without compositing, and reduces the mask by nearest neighbour
            (see :func:`nearest_latent_mask`). One difference remains: the released code resizes the picture to 512 x
            512 by bicubic resampling, whereas this class keeps the aspect ratio under both blends, with the longest
            side at the UNet's training size, by Lanczos resampling (see :meth:`LatentDiffusion.size`). Square pictures
            of that size are resampled by neither.
        dilate: Pixels by which the mask is dilated (or eroded, if negative) before the edit: the paper's remedy for
            edits that change a shape (appendix E.2). The released code does not dilate.
        inversion_prompt: ``input`` inverts under the input caption, ``empty`` under the empty caption.
        inversion_guidance_scale: Guidance scale of the inversion; 1 disables guidance.

    Raises:
        ConfigError: A parameter has a value that is not accepted.
    """

    takes_ratio = True
    takes_restart = True

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
        """Edit each image inside its mask; images of one working size go through the network together.

        Requests of different ratios form one batch, too: a request joins at the noise level at which it starts.

        A request with a restart starts from the inverted restart image; the latents outside the mask are those of the
        inverted image (Eq. 4). It is not cached.
        """
        inside = [self._latent_mask(r.image, m) for r, m in zip(requests, masks, strict=True)]
        empty = StageError(
            Stage.EDITOR, f"the mask is empty on the latent grid (dilate={self.dilate}, blend={self.blend})"
        )
        return edit_by_size(self.backbone, self._edit, requests, captions, inside, empty)

    def _start(self, request: EditRequest) -> int:
        return int(self.steps * (request.ratio or self.ratio))

    def _latent_mask(self, image: Image.Image, mask: Bool[np.ndarray, "h w"]) -> Float[Tensor, "1 rows columns"]:
        mask, unit = grow(mask, self.dilate), self.backbone.vae_scale_factor
        width, height = self.backbone.size(image)
        if self.blend == "official":
            return nearest_latent_mask(mask, (width, height), unit)
        return latent_mask(mask, (height // unit, width // unit))

    @torch.no_grad()
    def _edit(
        self, requests: list[EditRequest], captions: list[Captions], masks: list[Float[Tensor, "1 h w"]]
    ) -> list[Edited]:
        found, keys = dict[int, Edited](), [r.restart and (r.restart.noise, r.restart.steps) for r in requests]
        for key in dict.fromkeys(keys):
            group = [i for i, other in enumerate(keys) if other == key]
            edit = self._edit_once if key is None else self._edit_again
            edited = edit([requests[i] for i in group], [captions[i] for i in group], [masks[i] for i in group])
            found |= zip(group, edited, strict=True)
        return [found[i] for i in range(len(requests))]

    def _edit_once(
        self, requests: list[EditRequest], captions: list[Captions], masks: list[Float[Tensor, "1 h w"]]
    ) -> list[Edited]:
        backbone = self.backbone
        prompts = [c.input if self.inversion_prompt == "input" else "" for c in captions]
        keys = [
            StageCache.key(
                Stage.EDIT, code_of(MaskGuidedEditor, LatentDiffusion, diffusion), image=hash_image(r.image),
                input=prompt, edited=c.edited, mask=hash_image(mask_image(mask[0].bool().numpy())), steps=self.steps,
                start=self._start(r), blend=self.blend, guidance_scale=float(self.guidance_scale),
                inversion_guidance_scale=float(self.inversion_guidance_scale), model=backbone.checkpoint.fingerprint,
            )
            for r, prompt, c, mask in zip(requests, prompts, captions, masks, strict=True)
        ]  # fmt: skip

        def compute(indices: list[int]) -> list[Edited]:
            # Sampling needs the requests that start at the noisiest level first.
            order = sorted(indices, key=lambda i: -self._start(requests[i]))
            edited = self._sample(
                [requests[i] for i in order],
                [prompts[i] for i in order],
                [captions[i].edited for i in order],
                [masks[i] for i in order],
            )
            by_index = dict(zip(order, edited, strict=True))
            return [by_index[i] for i in indices]

        return finished_edits(backbone.context.cache, keys, compute)

    def _sample(
        self,
        requests: list[EditRequest],
        prompts: list[str],
        edited_captions: list[str],
        masks: list[Float[Tensor, "1 h w"]],
    ) -> list[Edited]:
        backbone, images = self.backbone, [r.image for r in requests]
        trajectory, inversions = backbone.invert(images, prompts, self.steps, self.inversion_guidance_scale)
        schedule = diffusion.make_schedule(backbone.scheduler, self.steps)
        inside = torch.stack(masks).to(trajectory)
        starts = [self._start(r) for r in requests]
        predict = cache(lambda count: backbone.guided(edited_captions[:count], self.guidance_scale))
        latents = masked_sample(predict, trajectory, inside, schedule, starts, self.blend)
        edited = self._decoded(latents, trajectory[0], inside, images)
        scale = 1 if self.guidance_scale == 1 else 2
        return [
            Edited(e, {Stage.INVERSION: n, Stage.EDIT: scale * start}, {Stage.INVERSION: saved})
            for e, start, (n, saved) in zip(edited, starts, inversions, strict=True)
        ]

    def _edit_again(
        self, requests: list[EditRequest], captions: list[Captions], masks: list[Float[Tensor, "1 h w"]]
    ) -> list[Edited]:
        backbone, images = self.backbone, [r.image for r in requests]
        restarts = [r.restart for r in requests if r.restart is not None]
        steps = restarts[0].steps
        schedule = diffusion.make_schedule(backbone.scheduler, steps, restarts[0].noise)
        prompts = [c.input if self.inversion_prompt == "input" else "" for c in captions]
        # Image and restart image are inverted in one batch.
        invert = backbone.guided(prompts * 2, self.inversion_guidance_scale)
        both = diffusion.invert(invert, backbone.encode(images + [r.image for r in restarts]), schedule)
        trajectory, again = both.chunk(2, dim=1)
        inside = torch.stack(masks).to(trajectory)
        predict = backbone.guided([c.edited for c in captions], self.guidance_scale)
        start = [steps] * len(requests)
        latents = masked_sample(lambda _: predict, trajectory, inside, schedule, start, self.blend, again[-1])
        scale, inversion = 1 if self.guidance_scale == 1 else 2, 1 if self.inversion_guidance_scale == 1 else 2
        nfe: dict[str, int] = {Stage.INVERSION: 2 * inversion * steps, Stage.EDIT: scale * steps}
        return [Edited(image, dict(nfe)) for image in self._decoded(latents, trajectory[0], inside, images)]

    def _decoded(
        self,
        latents: Float[Tensor, "b c h w"],
        unedited: Float[Tensor, "b c h w"],
        inside: Float[Tensor, "b 1 h w"],
        images: Sequence[Image.Image],
    ) -> list[Image.Image]:
        pixels = self.backbone.decode(latents)
        if self.blend == "paper":
            weight = pixel_weight(inside, pixels.shape[-2:])
            pixels = weight * pixels + (1 - weight) * self.backbone.decode(unedited)
        return to_images(pixels, [i.size for i in images])


def finished_edits(
    cache: StageCache, keys: Sequence[str], compute: Callable[[list[int]], list[Edited]]
) -> list[Edited]:
    """Return finished edits from the cache, and compute those that are missing.

    An edit is cached with its NFE, so that the NFE which the cache saved can be counted.

    Args:
        cache: The cache.
        keys: One address per edit, of everything that determines it.
        compute: Gets the indices of the missing edits and returns them in order.

    Returns:
        One edit per key; a cached edit has an NFE of zero.
    """
    computed: dict[int, Edited] = {}

    def entries(indices: list[int]) -> list[dict[str, Tensor]]:
        computed.update(zip(indices, compute(indices), strict=True))
        return [_packed(computed[i]) for i in indices]

    found, _ = cache.once(Stage.EDIT, keys, entries)
    return [computed.get(i) or _unpacked(entry) for i, entry in enumerate(found)]


def _packed(edited: Edited) -> dict[str, Tensor]:
    """Return an edit as tensors: its pixels, and the NFE of each stage without a cache."""
    stages = dict.fromkeys([*edited.evaluations, *edited.cached])
    nfe = {s: edited.evaluations.get(s, 0) + edited.cached.get(s, 0) for s in stages}
    return {_PIXELS: torch.from_numpy(np.array(edited.image))} | {s: torch.tensor(n) for s, n in nfe.items()}


def _unpacked(entry: Mapping[str, Tensor]) -> Edited:
    nfe = {stage: int(count) for stage, count in sorted(entry.items()) if stage != _PIXELS}
    return Edited(Image.fromarray(entry[_PIXELS].numpy()), dict.fromkeys(nfe, 0), nfe)


def edit_by_size(
    backbone: LatentDiffusion,
    edit: Callable[[list[EditRequest], list[Captions], list[Mask]], list[Edited]],
    requests: Sequence[EditRequest],
    captions: Sequence[Captions],
    masks: Sequence[Mask],
    empty: StageError,
) -> list[Edited | StageError]:
    """Edit the requests whose masks are not empty, with one batch per working size.

    Args:
        backbone: Groups the images by working size.
        edit: Edits requests of one working size.
        requests: The requests.
        captions: One pair per request.
        masks: One per request, in pixels or on the latent grid; nonzero inside.
        empty: The result for a request whose mask is empty.

    Returns:
        One result per request, in order.
    """
    answers: list[Edited | StageError] = [empty] * len(requests)
    alive = [i for i, mask in enumerate(masks) if mask.any()]
    for group in backbone.groups([requests[i].image for i in alive]):
        batch = [alive[k] for k in group]
        edited = edit([requests[i] for i in batch], [captions[i] for i in batch], [masks[i] for i in batch])
        for i, answer in zip(batch, edited, strict=True):
            answers[i] = answer
    return answers


def masked_sample(
    predict: Callable[[int], diffusion.NoisePredictor],
    trajectory: Float[Tensor, "levels b c h w"],
    mask: Float[Tensor, "b 1 h w"],
    schedule: diffusion.Schedule,
    starts: Sequence[int],
    blend: str,
    first: Float[Tensor, "b c h w"] | None = None,
) -> Float[Tensor, "b c h w"]:
    """Sample inside the mask and keep the inverted latents outside it (Eq. 4).

    Args:
        predict: Returns the guided noise predictor under the edited captions of the first so many samples.
        trajectory: Inverted latents of levels 0 to T.
        mask: 1 inside, 0 outside.
        schedule: The DDIM schedule.
        starts: Noise level at which each sample starts, in descending order.
        blend: See :class:`MaskGuidedEditor`.
        first: Latents from which sampling starts; by default those of the trajectory.
    """
    y = torch.stack([trajectory[start, index] for index, start in enumerate(starts)]) if first is None else first
    for level in range(starts[0], 0, -1):
        count = sum(start >= level for start in starts)
        x = y[:count]
        noise = predict(count)(x, schedule.timesteps[level - 1])
        x = diffusion.move(x, noise, schedule.alphas[level], schedule.alphas[level - 1])
        outside = trajectory[level - 1 if blend == "paper" else level, :count]
        y = torch.cat([mask[:count] * x + (1 - mask[:count]) * outside, y[count:]])
    return y


def latent_mask(mask: Bool[np.ndarray, "h w"], size: Sequence[int]) -> Float[Tensor, "1 rows columns"]:
    """Reduce a mask to the latent grid: a latent is inside if at least half of its area is.

    If the mask covers half of no latent, the latents with the largest covered area are inside, so that the mask of a
    small object does not become empty.
    """
    area = functional.adaptive_avg_pool2d(
        torch.from_numpy(np.ascontiguousarray(mask)).float()[None, None], (size[0], size[1])
    )[0]
    return ((area >= min(0.5, math.nextafter(float(area.max()), 0))) & (area > 0)).float()


def nearest_latent_mask(
    mask: Bool[np.ndarray, "h w"], size: tuple[int, int], vae_scale_factor: int
) -> Float[Tensor, "1 H W"]:
    """Reduce a mask to the latent grid as the released code does: by nearest neighbour, twice.

    The mask is resized to the working size, then to the latent grid by ``torch.nn.functional.interpolate``, which reads
    the first pixel of each latent only.

    Args:
        mask: True inside.
        size: Width and height in pixels of the picture that is encoded.
        vae_scale_factor: Pixels per latent along each side.

    Returns:
        1 for a latent inside the mask, 0 for one outside.
    """
    width, height = size
    resized = np.array(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    grid = height // vae_scale_factor, width // vae_scale_factor
    return functional.interpolate(torch.from_numpy(resized)[None, None].float(), size=grid, mode="nearest")[0]


def pixel_weight(mask: Float[Tensor, "b 1 h w"], size: Sequence[int]) -> Float[Tensor, "b 1 H W"]:
    """Return each pixel's weight of the edit: 0 outside the latent mask, rising to 1 half a latent inside its boundary.

    Equal latents do not decode to equal pixels, because the decoder's group normalisation depends on the whole picture,
    so an edit shifts colours everywhere. Like the paper (§3.4), this maps the outside "back to the original pixels".
    """
    height, width = size
    full = functional.interpolate(mask.float(), size=(height, width), mode="nearest")
    ramp = max(1.0, height / mask.shape[-2] / 2)
    depth = [ndimage.distance_transform_edt(np.pad(m, 1, mode="edge"))[1:-1, 1:-1] for m in full[:, 0].cpu().numpy()]
    inside = torch.from_numpy(np.stack(depth)).to(full)[:, None]
    # A mask of the whole picture has no boundary, so its distance transform is not finite.
    return (inside / ramp).clamp(0, 1) if bool((full == 0).any()) else full


def grow(mask: Bool[np.ndarray, "h w"], pixels: int) -> Bool[np.ndarray, "h w"]:
    """Dilate a mask by a Euclidean distance in pixels, or erode it if ``pixels`` is negative."""
    if pixels == 0:
        return mask
    if pixels > 0:
        return np.asarray(ndimage.distance_transform_edt(~mask) <= pixels) if mask.any() else mask
    return np.asarray(ndimage.distance_transform_edt(mask) > -pixels)
