"""Picturebook's InstructPix2Pix (Brooks et al. 2023): the UNet's input is the latents and those of the input image.

It is initialised with the text-to-image UNet, with new channels at zero, and trained on matched pairs that the world
draws. Unlike in the paper, the text encoder is trained too, because picturebook's was trained on captions only.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from diffusers import EulerAncestralDiscreteScheduler, UNet2DConditionModel
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from baselines import instruct_pix2pix as follower
from data.picturebook.edits import Edit, possible
from data.picturebook.judge import instruct_pix2pix_scores
from data.picturebook.phrases import templates
from data.picturebook.training.cards import write_card
from data.picturebook.training.denoising import Denoising, widened
from data.picturebook.training.loop import TrainConfig
from data.picturebook.training.scenes import SPLITS, drawings, pictures, scene
from data.picturebook.training.tokenizers import clip_tokenizer, instruction_words
from data.picturebook.world import Scene
from instructedit.diffusion import encode_text
from instructedit.images import panel
from instructedit.types import EditRequest, EditResult

TEXT_WINDOW = 32
"""Maximum number of tokens; the longest instruction has 27."""
KINDS = {"change": 0.5, "recolour": 0.15, "add": 0.15, "remove": 0.12, "mix": 0.08}
"""Frequencies of the kinds of edits."""
DROPPED = 0.05
"""Share of samples without instruction, share without image, and share without both (the paper's §3.2.1)."""


@cache
def edit(split: str, index: int) -> Edit | None:
    """Return the edit of scene ``index`` of a split; None if no sensible edit exists."""
    rng = np.random.default_rng([SPLITS[split], index, 8])
    kinds = rng.choice(list(KINDS), len(KINDS), replace=False, p=list(KINDS.values()))
    edits: Iterator[Edit] = (e for kind in kinds for e in possible(rng, scene(split, index), str(kind)))
    return next(edits, None)


def _edited(split: str, index: int) -> Scene:
    scene_edit = edit(split, index)
    return scene_edit.edited if scene_edit else scene(split, index)


def instruction(asked: Edit, rng: np.random.Generator) -> str:
    """Return an instruction for the edit in a random paraphrase."""
    paraphrases = templates(asked.wish.kind)
    return asked.wish.words(paraphrases[int(rng.integers(len(paraphrases)))], rng)


def instruction_encoder(known: CLIPTextModel, vocabulary: CLIPTokenizer, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Return a text encoder for ``tokenizer``, initialised with the layers and the common words of ``known``."""
    encoder = CLIPTextModel(
        type(known.config).from_dict(
            known.config.to_dict()
            | {
                "vocab_size": len(tokenizer),
                "max_position_embeddings": TEXT_WINDOW,
                "bos_token_id": tokenizer.bos_token_id,
                "eos_token_id": tokenizer.eos_token_id,
                "pad_token_id": tokenizer.pad_token_id,
            }
        )
    )
    fresh, old = encoder.state_dict(), known.state_dict()
    words, places = (next(k for k in old if k.endswith(f"{n}_embedding.weight")) for n in ("token", "position"))
    new_ids, old_ids = tokenizer.get_vocab(), vocabulary.get_vocab()
    for word in new_ids.keys() & old_ids.keys():
        fresh[words][new_ids[word]] = old[words][old_ids[word]]
    fresh[places][: len(old[places])] = old[places]
    encoder.load_state_dict(old | {words: fresh[words], places: fresh[places]})
    return encoder


class InstructPix2Pix(Denoising):
    """Noise prediction on the edited picture's latents, given the input picture's latents and the instruction."""

    name = "instruct_pix2pix"

    def __init__(
        self, config: TrainConfig, work: Path, models: Path, options: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        super().__init__(config, work, models, options)
        torch.manual_seed(config.seed)
        self.tokenizer = clip_tokenizer(instruction_words(), TEXT_WINDOW)
        vocabulary = CLIPTokenizer.from_pretrained(models / "diffusion" / "tokenizer")
        known = self.shipped(CLIPTextModel, "text_encoder")
        self.text_encoder = instruction_encoder(known, vocabulary, self.tokenizer).to(self.device)
        self.unet = widened(self.shipped(UNet2DConditionModel, "unet"), 2 * self.channels).to(self.device)
        self.before = self.split_latents("train", config.scenes)
        self.after = self._after("train", config.scenes)
        self.asked = [i for i in range(config.scenes) if edit("train", i)]

    def modules(self) -> dict[str, nn.Module]:
        return {"unet": self.unet, "text_encoder": self.text_encoder}

    def _after(self, split: str, count: int) -> np.ndarray:
        name = f"{split}_edited"
        return self.latents_of(name, drawings(name, count, self.work.parent, partial(_edited, split)))

    def _denoise(
        self,
        before: np.ndarray,
        after: np.ndarray,
        texts: list[str],
        generator: torch.Generator,
        drawn: Sequence[Scene] | None = None,
    ) -> Tensor:
        noisy, noise, t = self.noised(torch.from_numpy(np.array(after)), generator)
        # The input image's latents are unscaled, as in the released model.
        image = torch.from_numpy(before).to(self.device) / self.vae.config["scaling_factor"]
        states = encode_text(self.tokenizer, self.text_encoder, texts)
        predicted = self.unet(torch.cat([noisy, image], dim=1), t, encoder_hidden_states=states).sample
        return self.weighted(predicted, noise, t, drawn)

    def loss(self, step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng([self.config.seed, 8, step])
        picks = rng.choice(self.asked, self.config.batch_size)
        before, texts = np.array(self.before[picks]), list[str]()
        for row, index in enumerate(picks):
            scene_edit, roll = edit("train", int(index)), rng.random()
            assert scene_edit is not None
            # Of these three shares, the first two lose the instruction, the last two the image.
            texts.append("" if roll < 2 * DROPPED else instruction(scene_edit, rng))
            if DROPPED <= roll < 3 * DROPPED:
                before[row] = 0
        drawn = [_edited("train", int(i)) for i in picks]
        return self._denoise(before, self.after[picks], texts, generator, drawn).mean(), {}

    def evaluate(self) -> dict[str, float]:
        rng = np.random.default_rng(0)
        count = self.config.held_out
        edits = {i: e for i in range(count) if (e := edit("held_out", i))}
        texts = [instruction(e, rng) for e in edits.values()]
        before, after = self.split_latents("held_out", count)[list(edits)], self._after("held_out", count)[list(edits)]
        givens = {
            "weighted_loss": (before, texts),
            "weighted_loss_without_instruction": (before, [""] * len(texts)),
            "weighted_loss_without_image": (np.zeros_like(before), texts),
        }
        losses = {
            name: self._denoise(image, after, words, torch.Generator().manual_seed(0)).mean().item()
            for name, (image, words) in givens.items()
        }
        with self.as_saved() as (context, checkpoint):
            return losses | instruct_pix2pix_scores(context, checkpoint, self.config.judged)

    def sheet(self) -> Image.Image:
        rng = np.random.default_rng(0)
        images = pictures("held_out", self.config.held_out, self.work.parent)
        edits = {i: e for i in range(self.config.held_out) if (e := edit("held_out", i))}
        requests = [
            EditRequest(str(i), Image.fromarray(images[i]), instruction(e, rng)) for i, e in list(edits.items())[:12]
        ]
        with self.as_saved() as (context, checkpoint):
            answers = follower.InstructPix2Pix(context, checkpoint, steps=30).edit(requests)
        edited = [a.image if isinstance(a, EditResult) else r.image for a, r in zip(answers, requests, strict=True)]
        pairs = [(image, text) for r, e in zip(requests, edited, strict=True) for image, text in
                 ((r.image, r.instruction), (e, ""))]  # fmt: skip
        return panel([image for image, _ in pairs], [text for _, text in pairs], side=128)

    def save(self, scores: dict[str, Any]) -> None:
        folder = self.models / "instruct_pix2pix"
        self.save_parts(folder, torch.float16)
        text = (
            f"UNet2DConditionModel with {2 * self.channels} input channels and its CLIPTextModel, from the text-to-"
            "image model's weights (new channels at zero), on paired edits that the world draws; instructions, images "
            "and both are dropped in 5 % of the samples each. Unlike in the paper, the text encoder learns too. The "
            "autoencoder is the text-to-image model's."
        )
        write_card(folder / "unet", "Picturebook InstructPix2Pix", text, scores)

    def save_parts(self, folder: Path, dtype: torch.dtype) -> None:
        """Write all parts except the autoencoder, which is the text-to-image model's."""
        for name, module in (("unet", self.unet), ("text_encoder", self.text_encoder)):
            module.to(dtype).save_pretrained(folder / name, max_shard_size="15MB")
            module.float()
        self.tokenizer.save_pretrained(folder / "tokenizer")
        # The official sampler with its default timestep spacing.
        EulerAncestralDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
        ).save_pretrained(folder / "scheduler")
