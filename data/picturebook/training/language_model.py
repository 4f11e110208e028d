"""Picturebook's language model: a small Llama that answers instructions in the paper's template (appendix D.1)."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from data.picturebook.descriptions import sample_exchange
from data.picturebook.lessons import sample_lesson
from data.picturebook.phrasings import graded, shares
from data.picturebook.training.cards import write_card
from data.picturebook.training.loop import Component, TrainConfig
from data.picturebook.training.tokenizers import language_tokenizer
from instructedit.images import panel
from instructedit.language.local import LEAST_PROBABILITY, LocalLanguage
from instructedit.language.prompt import messages

# The model is fine-tuned on this one task, so its chat template leaves the system message (the in-context examples
# that a general model needs) out of the prompt.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}<|user|> {{ message['content'] }} {% endif %}"
    "{% if message['role'] == 'assistant' %}<|assistant|> {{ message['content'] }} <|end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


_CHUNKS = 3
"""A batch is computed in so many parts, sorted by length: less padding saves a third of the time."""
_MAX_NEW_TOKENS = 96
_LEAST_PROBABILITY = 0.5
"""A reply of which a token is less probable than all others together is refused."""


class LanguageModel(Component):
    """Next-token prediction on answers alone."""

    name = "language_model"

    def __init__(self, config: TrainConfig, work: Path, models: Path) -> None:
        super().__init__(config, work, models)
        self.tokenizer = language_tokenizer(CHAT_TEMPLATE, ["<|user|>", "<|assistant|>", "<|end|>"])
        self.tokenizer.padding_side = "left"
        self.model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(self.tokenizer),
                hidden_size=160,
                intermediate_size=416,
                num_hidden_layers=4,
                num_attention_heads=5,
                max_position_embeddings=256,
                tie_word_embeddings=True,
                pad_token_id=self.tokenizer.pad_token_id,
                bos_token_id=None,
                eos_token_id=self.tokenizer.eos_token_id,
            )
        ).to(self.device)

    def modules(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def _prompt(self, instruction: str, description: str | None) -> str:
        chat = messages(instruction, description)
        return str(self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))

    def loss(self, step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng([self.config.seed, 11, step])
        lessons = [sample_lesson(rng) for _ in range(self.config.batch_size)]
        texts = [f"{self._prompt(x.instruction, x.description)} {x.reply} {self.tokenizer.eos_token}" for x in lessons]
        ids = sorted(self.tokenizer(texts)["input_ids"], key=len)
        size = math.ceil(len(ids) / _CHUNKS)
        sums = [self._summed_loss(ids[i : i + size]) for i in range(0, len(ids), size)]
        return torch.stack([loss for loss, _ in sums]).sum() / sum(count for _, count in sums), {}

    def _summed_loss(self, ids: list[list[int]]) -> tuple[Tensor, int]:
        """The summed loss of the answers' tokens, and their number; the instruction is not learnt."""
        batch = self.tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(self.device)
        answer = self.tokenizer.convert_tokens_to_ids("<|assistant|>")
        learnt = ((batch.input_ids == answer).cumsum(1) > 0) & (batch.input_ids != answer)
        logits = self.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        learnt = learnt[:, 1:]
        loss = nn.functional.cross_entropy(logits[:, :-1][learnt], batch.input_ids[:, 1:][learnt], reduction="sum")
        return loss, int(learnt.sum())

    def _answers(self, asked: Sequence[tuple[str, str | None]]) -> list[str]:
        prompts = [self._prompt(*each) for each in asked]
        batch = self.tokenizer(prompts, padding=True, return_tensors="pt").to(self.device)
        ids = self.model.generate(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            max_new_tokens=_MAX_NEW_TOKENS,
            do_sample=False,
        )
        return self.tokenizer.batch_decode(ids[:, batch.input_ids.shape[1] :], skip_special_tokens=True)

    def evaluate(self) -> dict[str, float]:
        """Share of answers that are right to the word, by phrasing and by whether there is a description.

        Beside them the grades on the phrasings written by hand, which decide nothing in the training.
        """
        scores, self.wrong = {}, []
        for phrasing in ("seen", "held_out"):
            rng = np.random.default_rng([12, phrasing == "held_out"])
            exchanges = [sample_exchange(rng, held_out=phrasing == "held_out") for _ in range(800)]
            right = []
            for e, given in zip(
                exchanges, self._answers([(e.instruction, e.description) for e in exchanges]), strict=True
            ):
                wanted = self.tokenizer.decode(self.tokenizer(e.answer.text()).input_ids)
                right.append(wanted.strip() == given.strip())
                if not right[-1]:
                    self.wrong.append(e)
            for name, alone in (("", True), ("_described", False)):
                of = [r for r, e in zip(right, exchanges, strict=True) if (e.description is None) == alone]
                scores[f"exact_phrasing_{phrasing}{name}"] = float(np.mean(of))
        language = LocalLanguage(self.model, self.tokenizer, {}, _MAX_NEW_TOKENS)
        return scores | shares([grade for _, _, grade in graded(language)])

    def sheet(self) -> Image.Image:
        rng = np.random.default_rng(13)
        shown = [sample_exchange(rng, held_out=True) for _ in range(8)] + self.wrong[:6]
        lines = [
            f"{e.instruction}\n({e.description or 'no description'})\n-> {a}"
            for e, a in zip(shown, self._answers([(e.instruction, e.description) for e in shown]), strict=True)
        ]
        return panel([Image.new("RGB", (8, 8), "white")] * len(lines), lines)

    def save(self, scores: dict[str, Any]) -> None:
        folder = self.models / "language_model"
        self.model.generation_config = GenerationConfig(
            eos_token_id=self.tokenizer.eos_token_id,
            pad_token_id=self.tokenizer.pad_token_id,
            max_new_tokens=_MAX_NEW_TOKENS,
        )
        setattr(self.model.config, LEAST_PROBABILITY, _LEAST_PROBABILITY)
        self.model.half().save_pretrained(folder)
        self.model.float()
        self.tokenizer.save_pretrained(folder)
        text = "A Llama of four layers: an instruction becomes the paper's three outputs, or a refusal."
        write_card(folder, "Picturebook language model", text, scores)
