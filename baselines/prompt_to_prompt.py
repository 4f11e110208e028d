"""Prompt-to-Prompt (Hertz et al., ICLR 2023): the edit takes over attention maps of the input caption."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from transformers import AutoTokenizer

from baselines.base import CaptionMethod
from instructedit import diffusion
from instructedit.checks import require, require_whole
from instructedit.diffusion import Condition
from instructedit.editor import Edited
from instructedit.latent_diffusion import LatentDiffusion, to_images
from instructedit.models import Checkpoint, Context
from instructedit.types import Captions, Stage


class PromptToPrompt(CaptionMethod):
    """Prompt-to-Prompt on a real picture, a caption-conditioned method.

    The picture is inverted under the input caption (paper §4.2). The edit is sampled from x_T under the edited caption;
    in the first steps, its attention maps are replaced by those of the input caption (Eqs. 3 to 5). As in the authors'
    code, only the text-conditioned half of the guidance is replaced, cross-attention is replaced for the tokens that
    both captions share and for words that are swapped one for one, and self-attention up to a quarter of the latents'
    resolution. The maps of the input caption are those at the inverted latents, so that they belong to the picture
    itself; the authors' code samples a second picture, which null-text inversion keeps near the input. The options
    local blend and re-weighting are left out.

    Args:
        context: Models, cache and device.
        diffusion: Checkpoint of a Stable Diffusion folder.
        cross_replace: Share of the steps in which cross-attention is replaced, from the noisiest; in [0, 1].
        self_replace: Share of the steps in which self-attention is replaced.
        steps: T.
        guidance_scale: Scale of classifier-free guidance.

    Raises:
        ConfigError: A parameter has a value that is not accepted.
    """

    title = "Prompt-to-Prompt"

    def __init__(
        self,
        context: Context,
        diffusion: Checkpoint,
        cross_replace: float = 0.8,
        self_replace: float = 0.4,
        steps: int = 50,
        guidance_scale: float = 7.5,
    ) -> None:
        require_whole("steps", steps, 1, 1000)
        for key, share in (("cross_replace", cross_replace), ("self_replace", self_replace)):
            require(0 <= share <= 1, key, share, "0 to 1")
        self.backbone = LatentDiffusion(context, diffusion)
        self.cross_replace, self.self_replace = cross_replace, self_replace
        self.steps, self.guidance_scale = steps, guidance_scale

    def _parameters(self) -> dict[str, Any]:
        return {
            "cross_replace": float(self.cross_replace), "self_replace": float(self.self_replace), "steps": self.steps,
            "guidance_scale": float(self.guidance_scale),
        }  # fmt: skip

    @torch.no_grad()
    def _sample(self, images: list[Image.Image], captions: list[Captions]) -> list[Edited]:
        backbone = self.backbone
        trajectory, inversions = backbone.invert(images, [c.input for c in captions], self.steps)
        schedule = diffusion.make_schedule(backbone.scheduler, self.steps)
        tokenizer = backbone.context.pool.processor(AutoTokenizer, backbone.checkpoint, "tokenizer")
        rows = [token_map(tokenizer, c) for c in captions]
        replaced = int(self.steps * self.cross_replace), int(self.steps * self.self_replace)
        control = Control(torch.stack(rows).to(trajectory), *replaced, trajectory[0, 0, 0].numel() // 16)
        conditions = [backbone.embed(texts) for texts in zip(*((c.input, c.edited) for c in captions), strict=True)]
        empty = backbone.embed([""] * len(captions))
        x, nfe = trajectory[-1], 0
        with controlled(backbone.unet, control):
            for step, level in enumerate(range(schedule.steps, 0, -1)):
                control.step = step
                latents, texts = [x, x], [empty, conditions[1]]
                if control.is_active:
                    latents, texts = [x, trajectory[level], x], [empty, *conditions]
                noise_pred = diffusion.predict_noise(
                    backbone.unet, backbone.scheduler, torch.cat(latents), schedule.timesteps[level - 1],
                    Condition.cat(texts),
                )  # fmt: skip
                parts = noise_pred.chunk(len(latents))
                guided = parts[0] + self.guidance_scale * (parts[-1] - parts[0])
                x = diffusion.move(x, guided, schedule.alphas[level], schedule.alphas[level - 1])
                nfe += len(latents)
        edited = to_images(backbone.decode(x), [i.size for i in images])
        return [
            Edited(e, {Stage.INVERSION: n, Stage.EDIT: nfe}, {Stage.INVERSION: saved})
            for e, (n, saved) in zip(edited, inversions, strict=True)
        ]


def token_map(tokenizer: Any, captions: Captions) -> Float[Tensor, "source edited"]:
    """Return for each token of the edited caption which token of the input caption it takes its attention from.

    A column has one 1, or zeros for a token that is new: it keeps its own attention. Equal tokens are mapped to each
    other, words that are swapped one for one as well, and padding to the padding at the same place.

    Args:
        tokenizer: Of the first text encoder.
        captions: Of the edit.
    """
    length = tokenizer.model_max_length
    first, second = (tokenizer(c, truncation=True).input_ids for c in (captions.input, captions.edited))
    mapped = torch.zeros(length, length)
    for kind, a1, a2, b1, b2 in difflib.SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
        if kind == "equal" or (kind == "replace" and a2 - a1 == b2 - b1):
            mapped[range(a1, a2), range(b1, b2)] = 1
    padding = range(max(len(first), len(second)), length)
    mapped[padding, padding] = 1
    return mapped


@dataclass
class Control:
    """Which attention maps the edit takes over at the present step."""

    mapping: Float[Tensor, "b source edited"]
    """See :func:`token_map`."""
    cross_steps: int
    """Number of steps in which cross-attention is replaced."""
    self_steps: int
    """Number of steps in which self-attention is replaced."""
    most_pixels: int
    """Self-attention of more pixels is not replaced."""
    step: int = 0
    """The present step, from the noisiest."""

    @property
    def is_active(self) -> bool:
        """Whether maps are replaced at the present step."""
        return self.step < max(self.cross_steps, self.self_steps)

    def edited(
        self, source: Float[Tensor, "b heads n m"], edited: Float[Tensor, "b heads n m"], is_cross: bool
    ) -> Float[Tensor, "b heads n m"]:
        """Return the edit's attention maps, given those of the input caption."""
        if is_cross and self.step < self.cross_steps:
            mapping = self.mapping[:, None].to(source)
            return source @ mapping + edited * (1 - mapping.sum(dim=-2, keepdim=True))
        if not is_cross and self.step < self.self_steps and source.shape[-2] <= self.most_pixels:
            return source
        return edited


class ControlledAttention:
    """An attention processor of diffusers for batches of [unconditional, input caption, edited caption]."""

    def __init__(self, control: Control) -> None:
        self.control = control

    def __call__(
        self,
        attn: Any,
        hidden_states: Float[Tensor, "b n d"],
        encoder_hidden_states: Float[Tensor, "b m e"] | None = None,
        attention_mask: Tensor | None = None,
        **_: Any,
    ) -> Float[Tensor, "b n d"]:
        """Compute attention as diffusers' ``AttnProcessor`` does, with the edit's maps replaced."""
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            attn.head_to_batch_dim(project(states))
            for project, states in ((attn.to_q, hidden_states), (attn.to_k, context), (attn.to_v, context))
        )
        maps = attn.get_attention_scores(query, key, attention_mask)
        if self.control.is_active:
            parts = list(maps.unflatten(0, (3, -1, attn.heads)))
            parts[2] = self.control.edited(parts[1], parts[2], encoder_hidden_states is not None)
            maps = torch.stack(parts).flatten(0, 2)
        out = attn.batch_to_head_dim(torch.bmm(maps, value))
        result: Tensor = attn.to_out[1](attn.to_out[0](out))
        return result


@contextmanager
def controlled(unet: Any, control: Control) -> Iterator[None]:
    """Give all attention layers of a UNet, which other methods share, :class:`ControlledAttention` meanwhile."""
    own = dict(unet.attn_processors)
    unet.set_attn_processor(ControlledAttention(control))
    try:
        yield
    finally:
        unet.set_attn_processor(own)
