"""Picturebook's captioner: a small BLIP-2, trained on the kind of picture and on its description."""

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
"""Input side and patch side of the image encoder in pixels; the input is 3/4 of a picture's size, to save compute."""
QUERIES = 12
_STYLE_QUESTIONS = 0.1
"""Share of training samples that ask for the kind of picture; the others complete "photo of"."""
_NAMING_WEIGHT = 3.0


class Blip2(Component):
    """BLIP-2, trained on the paper's two questions: the kind of picture, and the completion of "photo of"."""

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
        # transformers initialises all query tokens with zeros, and equal queries would stay equal.
        nn.init.normal_(self.model.query_tokens, std=0.5)
        self.naming = nn.Linear(96, len(NAMES)).to(self.device)
        self.images = {
            s: pictures(s, n, work.parent) for s, n in (("train", config.scenes), ("held_out", config.held_out))
        }

    def modules(self) -> dict[str, nn.Module]:
        # The real model's image encoder is pretrained; this one is trained jointly, with an auxiliary loss that names
        # what each patch shows. The auxiliary head is not saved.
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
        """Return scene, ground-truth description and predicted description of the first held-out pictures."""
        results = []
        for index in range(count):
            drawn, image = scene("held_out", index), Image.fromarray(self.images["held_out"][index])
            try:
                _, predicted = two_questions(partial(answer, self.model, self.processor, image))
            except StageError as error:
                predicted = str(error)
            results.append((drawn, describe(drawn), predicted))
        return results

    def evaluate(self) -> dict[str, float]:
        """Return held-out accuracies of the description and the kind of picture, and recall and precision of nouns."""
        results = self._described(self.config.held_out)
        scores = {
            "description_exact": float(np.mean([t == p for _, t, p in results])),
            "style_right": float(np.mean([p.startswith(d.style) for d, _, p in results])),
        }
        for name, words in (("things", NOUNS), ("parts", WEARABLES)):
            pairs = [(_named(predicted, words), _named(truth, words)) for _, truth, predicted in results]
            hits = sum(len(predicted & truth) for predicted, truth in pairs)
            scores[f"{name}_recall"] = hits / sum(len(truth) for _, truth in pairs)
            scores[f"{name}_precision"] = hits / max(1, sum(len(predicted) for predicted, _ in pairs))
        return scores

    def sheet(self) -> Image.Image:
        results = self._described(14)
        images = [Image.fromarray(a) for a in self.images["held_out"][:14]]
        return panel(images, [f"{p}\n({t})" if p != t else p for _, t, p in results], side=160)

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
    """Return a prompt of the captioner and the correct answer."""
    if asks_for_style:
        return QUESTION, drawn.style
    start = f"{drawn.style} of"
    return start, describe(drawn).removeprefix(start).strip()


def _named(text: str, nouns: Sequence[str]) -> set[str]:
    """Return the nouns that a text contains, in singular or plural."""
    return {noun for noun in nouns if {noun, plural(noun)} & set(re.findall(r"\w+", text))}
