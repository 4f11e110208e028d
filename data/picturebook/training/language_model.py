"""Picturebook's language model: a small Llama that answers instructions in the paper's template (appendix D.1)."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from data.picturebook.phrases import Answer, sample_wish, templates
from data.picturebook.training.cards import write_card
from data.picturebook.training.loop import Component, TrainConfig
from data.picturebook.training.tokenizers import language_tokenizer
from instructedit.images import panel

# The model is fine-tuned on this one task, so its chat template leaves the system message (the in-context examples
# that a general model needs) out of the prompt.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}<|user|> {{ message['content'] }} {% endif %}"
    "{% if message['role'] == 'assistant' %}<|assistant|> {{ message['content'] }} <|end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def sample_exchange(rng: np.random.Generator, *, held_out: bool = False) -> tuple[str, Answer]:
    """An instruction and its right answer."""
    wish = sample_wish(rng)
    template = str(rng.choice(templates(wish.kind, held_out)))
    return wish.words(template, rng), wish.answer()


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
                hidden_size=128,
                intermediate_size=320,
                num_hidden_layers=4,
                num_attention_heads=4,
                max_position_embeddings=128,
                tie_word_embeddings=True,
                pad_token_id=self.tokenizer.pad_token_id,
                bos_token_id=None,
                eos_token_id=self.tokenizer.eos_token_id,
            )
        ).to(self.device)

    def modules(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def _prompts(self, instructions: list[str]) -> list[str]:
        return [
            str(
                self.tokenizer.apply_chat_template(
                    [{"role": "user", "content": i}], tokenize=False, add_generation_prompt=True
                )
            )
            for i in instructions
        ]

    def loss(self, step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng([self.config.seed, 11, step])
        instructions, answers = zip(*(sample_exchange(rng) for _ in range(self.config.batch_size)), strict=True)
        prompts = self._prompts(list(instructions))
        texts = [f"{p} {a.text()} {self.tokenizer.eos_token}" for p, a in zip(prompts, answers, strict=True)]
        batch = self.tokenizer(texts, padding=True, return_tensors="pt")
        # Only the answer is learnt, not the instruction.
        answer = self.tokenizer.convert_tokens_to_ids("<|assistant|>")
        started = (batch.input_ids == answer).cumsum(1) > 0
        labels = batch.input_ids.masked_fill(~started | (batch.input_ids == answer), -100)
        batch, labels = batch.to(self.device), labels.to(self.device)
        out = self.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=labels)
        return out.loss, {}

    def _answers(self, instructions: list[str]) -> list[str]:
        batch = self.tokenizer(self._prompts(instructions), padding=True, return_tensors="pt").to(self.device)
        ids = self.model.generate(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, max_new_tokens=64, do_sample=False
        )
        return self.tokenizer.batch_decode(ids[:, batch.input_ids.shape[1] :], skip_special_tokens=True)

    def _exact(self, held_out: bool, count: int = 400) -> float:
        rng = np.random.default_rng([12, held_out])
        instructions, answers = zip(*(sample_exchange(rng, held_out=held_out) for _ in range(count)), strict=True)
        wanted = [self.tokenizer.decode(self.tokenizer(a.text()).input_ids) for a in answers]
        given = self._answers(list(instructions))
        self.wrong = [(i, w, g) for i, w, g in zip(instructions, wanted, given, strict=True) if w.strip() != g.strip()]
        return 1 - len(self.wrong) / count

    def evaluate(self) -> dict[str, float]:
        seen = self._exact(held_out=False)
        return {"exact_phrasing_seen": seen, "exact_phrasing_held_out": self._exact(held_out=True)}

    def sheet(self) -> Image.Image:
        rng = np.random.default_rng(13)
        instructions = [sample_exchange(rng, held_out=True)[0] for _ in range(6)]
        lines = [f"{i}\n-> {a}" for i, a in zip(instructions, self._answers(instructions), strict=True)]
        lines += [f"WRONG {i}\n-> {g}" for i, _, g in self.wrong[:4]]
        return panel([Image.new("RGB", (8, 8), "white")] * len(lines), lines)

    def save(self, scores: dict[str, Any]) -> None:
        folder = self.models / "language_model"
        self.model.generation_config = GenerationConfig(
            eos_token_id=self.tokenizer.eos_token_id, pad_token_id=self.tokenizer.pad_token_id, max_new_tokens=64
        )
        self.model.half().save_pretrained(folder)
        self.model.float()
        self.tokenizer.save_pretrained(folder)
        text = "A Llama of four layers, one token a word: an instruction becomes the paper's three outputs."
        write_card(folder, "Picturebook language model", text, scores)
