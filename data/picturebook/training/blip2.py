"""Picturebook's captioner: a small BLIP-2 that says what kind of picture it sees, and what the picture shows."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    BlipImageProcessor,
    GenerationConfig,
    OPTConfig,
)

from data.picturebook.phrases import describe, plural
from data.picturebook.training.cards import write_card
from data.picturebook.training.loop import Component, TrainConfig
from data.picturebook.training.naming import NAMES, naming_loss
from data.picturebook.training.scenes import pictures, scene
from data.picturebook.training.tokenizers import caption_words, word_tokenizer
from data.picturebook.world import NOUNS, WEARABLES, Scene
from instructedit.captioner import QUESTION, answer, two_questions
from instructedit.images import panel
from instructedit.types import StageError

SIDE, PATCH = 96, 8
"""Of what the image encoder sees, in pixels: three quarters of a picture's side, which more than halves the work."""
QUERIES = 12
_STYLE_QUESTIONS = 0.1
"""Share of the training in which the kind of picture is asked for; the rest goes on from "photo of"."""
_NAMING_WEIGHT = 3.0


class Blip2(Component):
    """The two questions of the paper: the kind of picture, and the rest of "photo of"."""

    name = "blip2"

    def __init__(self, config: TrainConfig, work: Path, models: Path) -> None:
        super().__init__(config, work, models)
        words = {*caption_words(), ",", "?", *QUESTION.lower().replace(",", " ").replace("?", " ").split()}
        self.tokenizer = word_tokenizer(words, ["<image>", "</s>"], model_max_length=64, padding_side="left",
                                        clean_up_tokenization_spaces=True)  # fmt: skip
        image = self.tokenizer.convert_tokens_to_ids("<image>")
        pixels = BlipImageProcessor(size={"height": SIDE, "width": SIDE}, image_mean=[0.5] * 3, image_std=[0.25] * 3)
        self.processor = Blip2Processor(pixels, self.tokenizer, num_query_tokens=QUERIES)
        vision = Blip2VisionConfig(
            hidden_size=96,
            intermediate_size=288,
            num_hidden_layers=4,
            num_attention_heads=4,
            image_size=SIDE,
            patch_size=PATCH,
            initializer_range=0.02,
        )
        qformer = Blip2QFormerConfig(
            vocab_size=len(self.tokenizer),
            hidden_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=288,
            encoder_hidden_size=96,
            cross_attention_frequency=1,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        text = OPTConfig(
            vocab_size=len(self.tokenizer),
            hidden_size=128,
            word_embed_proj_dim=128,
            ffn_dim=384,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=64,
            dropout=0.0,
            pad_token_id=self.tokenizer.pad_token_id,
            bos_token_id=self.tokenizer.eos_token_id,
            eos_token_id=self.tokenizer.eos_token_id,
        )
        settings = Blip2Config(
            vision_config=vision.to_dict(),
            qformer_config=qformer.to_dict(),
            text_config=text.to_dict(),
            num_query_tokens=QUERIES,
            image_token_index=image,
        )
        self.model = Blip2ForConditionalGeneration(settings).to(self.device)
        # transformers starts them all at zero, where every query would learn the same.
        nn.init.normal_(self.model.query_tokens, std=0.5)
        self.naming = nn.Linear(96, len(NAMES)).to(self.device)
        self.images = {
            s: pictures(s, n, work.parent) for s, n in (("train", config.scenes), ("held_out", config.held_out))
        }

    def modules(self) -> dict[str, nn.Module]:
        # The real model's image encoder knows images before it meets the language model; this one is taught to name
        # what each patch shows while it does. That head is not kept.
        return {"model": self.model, "naming": self.naming}

    def loss(self, step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng([self.config.seed, 61, step])
        indices = rng.integers(self.config.scenes, size=self.config.batch_size).tolist()
        scenes = [scene("train", i) for i in indices]
        prompts, answers = zip(*(_exchange(s, rng.random() < _STYLE_QUESTIONS) for s in scenes), strict=True)
        inputs = self.processor(
            images=[Image.fromarray(self.images["train"][i]) for i in indices],
            text=[f"{p} {a} {self.tokenizer.eos_token}" for p, a in zip(prompts, answers, strict=True)],
            padding=True,
            return_tensors="pt",
        ).to(self.device)
        lengths = torch.tensor([len(self.tokenizer(a).input_ids) + 1 for a in answers], device=self.device)
        width = inputs.input_ids.shape[1]
        is_answer = torch.arange(width, device=self.device) >= width - lengths[:, None]
        labels = inputs.input_ids.masked_fill(~is_answer, -100)
        out = self.model(**inputs, labels=labels)
        naming = naming_loss(self.naming, out.vision_outputs.last_hidden_state[:, 1:], "train", indices)
        return out.loss + _NAMING_WEIGHT * naming, {"words": out.loss.item(), "naming": naming.item()}

    def _described(self, count: int) -> list[tuple[Scene, str, str]]:
        """Scene, true description, and what the captioner says, for the first held-out pictures."""
        found = []
        for index in range(count):
            drawn, image = scene("held_out", index), Image.fromarray(self.images["held_out"][index])
            try:
                _, said = two_questions(partial(answer, self.model, self.processor, image))
            except StageError as error:
                said = str(error)
            found.append((drawn, describe(drawn), said))
        return found

    def evaluate(self) -> dict[str, float]:
        """Held-out descriptions: right to the word, right in the kind of picture, right in the nouns."""
        told = self._described(self.config.held_out)
        scores = {
            "description_exact": float(np.mean([t == s for _, t, s in told])),
            "style_right": float(np.mean([s.startswith(d.style) for d, _, s in told])),
        }
        for name, words in (("things", NOUNS), ("parts", WEARABLES)):
            pairs = [(_named(said, words), _named(true, words)) for _, true, said in told]
            hits = sum(len(said & true) for said, true in pairs)
            scores[f"{name}_recall"] = hits / sum(len(true) for _, true in pairs)
            scores[f"{name}_precision"] = hits / max(1, sum(len(said) for said, _ in pairs))
        return scores

    def sheet(self) -> Image.Image:
        shown = self._described(14)
        images = [Image.fromarray(a) for a in self.images["held_out"][:14]]
        return panel(images, [f"{s}\n({t})" if s != t else s for _, t, s in shown], side=160)

    def save(self, scores: dict[str, Any]) -> None:
        folder = self.models / self.name
        self.model.generation_config = GenerationConfig(
            eos_token_id=self.tokenizer.eos_token_id,
            pad_token_id=self.tokenizer.pad_token_id,
            bos_token_id=self.tokenizer.eos_token_id,
        )
        self.model.half().save_pretrained(folder)
        self.model.float()
        self.processor.save_pretrained(folder)
        text = (
            "Blip2ForConditionalGeneration on a small OPT. Its image encoder was trained along with it, with a second "
            "loss on what each patch shows."
        )
        write_card(folder, "Picturebook BLIP-2", text, scores)


def _exchange(drawn: Scene, asks_for_style: bool) -> tuple[str, str]:
    """What the captioner is asked, and its answer."""
    if asks_for_style:
        return QUESTION, drawn.style
    start = f"{drawn.style} of"
    return start, describe(drawn).removeprefix(start).strip()


def _named(text: str, nouns: Sequence[str]) -> set[str]:
    """Which nouns a text names, one or several of each."""
    return {noun for noun in nouns if {noun, plural(noun)} & set(re.findall(r"\w+", text))}
