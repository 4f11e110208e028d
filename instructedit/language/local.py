"""The language processor on a transformers chat model that runs here."""

import difflib
import string
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import torch

from instructedit.language.base import Reply, converse, quote
from instructedit.language.parse import Parsed
from instructedit.language.prompt import PROMPT_HASH, Message, messages
from instructedit.types import ConfigError, Stage, StageError, Tokens


class LocalLanguage:
    """Greedy answers of a causal language model; they do not depend on what else is in the batch.

    Args:
        model: A transformers causal language model, loaded.
        tokenizer: Its tokenizer, with a chat template that takes a system message.
        identity: Checkpoint, revision and dtype of the model, as they shall stand in cache keys.
        max_new_tokens: Most tokens of a reply. A caption with a description takes some 60; 40, as in the released
            code, cuts "Editing prompt 2".
    """

    def __init__(self, model: Any, tokenizer: Any, identity: Mapping[str, Any], max_new_tokens: int = 200) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._max_new_tokens = max_new_tokens
        self._identity = {
            **identity,
            "backend": "local",
            "prompt": PROMPT_HASH,
            "max_new_tokens": max_new_tokens,
        }

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides the answers."""
        return self._identity

    def parse(self, instructions: Sequence[str], descriptions: Sequence[str | None]) -> list[Parsed | StageError]:
        """Parse a batch; see :class:`instructedit.language.base.LanguageProcessor`.

        Raises:
            ConfigError: The tokenizer has no chat template that takes a system message.
        """
        self._require_chat_template()
        chats: dict[int, list[Message]] = {}
        answers: dict[int, Parsed | StageError] = {}
        for i, (instruction, description) in enumerate(zip(instructions, descriptions, strict=True)):
            problem = self._problem(f"{instruction} {description or ''}")
            if problem:
                answers[i] = StageError(Stage.LANGUAGE, problem)
            else:
                chats[i] = messages(instruction, description)
        answers.update(zip(chats, converse(self.answer, list(chats.values())), strict=True))
        return [answers[i] for i in range(len(instructions))]

    @torch.inference_mode()
    def answer(self, chats: Sequence[Sequence[Message]]) -> list[Reply]:
        """Continue chats by their likeliest words."""
        tokenizer, device = self._tokenizer, self._model.device
        # The template has written all special tokens already.
        prompts = [tokenizer(self._render(chat), add_special_tokens=False)["input_ids"] for chat in chats]
        width = max(len(prompt) for prompt in prompts)
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        # Filled on the left, so that every reply begins at the same place, and masked, so that nothing looks there.
        ids = torch.tensor([[pad] * (width - len(p)) + p for p in prompts], device=device)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)
        out = self._model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=False,
            num_beams=1,
            max_new_tokens=self._max_new_tokens,
            pad_token_id=pad,
        )
        ends = self._ends()
        replies = []
        for prompt, new in zip(prompts, out[:, width:].tolist(), strict=True):
            end = next((k for k, token in enumerate(new) if token in ends), len(new))
            text = tokenizer.decode(new[:end], skip_special_tokens=True)
            # As servers count: with the token that ends the reply.
            tokens = Tokens(len(prompt), min(end + 1, len(new)))
            replies.append(Reply(text, is_cut=end == self._max_new_tokens, tokens=tokens))
        return replies

    def _require_chat_template(self) -> None:
        try:
            self._render(messages("Change the dog to a cat"))
        except (ValueError, jinja2.TemplateError) as error:
            hint = "take a model that was tuned to follow instructions and takes a system message"
            raise ConfigError(f"language=local: the tokenizer's chat template fails ({error}); {hint}") from error

    def _render(self, chat: Sequence[Message]) -> str:
        return str(self._tokenizer.apply_chat_template(list(chat), tokenize=False, add_generation_prompt=True))

    def _ends(self) -> set[int]:
        ends = self._model.generation_config.eos_token_id
        return set(ends) if isinstance(ends, list) else {ends}

    def _has_unknown(self, text: str) -> bool:
        unknown = self._tokenizer.unk_token_id
        return unknown is not None and unknown in self._tokenizer(text, add_special_tokens=False)["input_ids"]

    def _problem(self, text: str) -> str | None:
        """Why the model cannot read a text, if so: better than an answer about words that it did not see."""
        if not text.strip():
            return "the instruction is empty"
        if not self._has_unknown(text):
            return None
        unknown = [word for word in dict.fromkeys(text.split()) if self._has_unknown(word)]
        words = [word.strip(string.punctuation) or word for word in unknown]
        known = [word for word in self._tokenizer.get_vocab() if word.isalpha()]
        near = [n for word in words for n in difflib.get_close_matches(word.lower(), known, n=3)]
        nearest = f"; the nearest words it knows: {', '.join(dict.fromkeys(near))}" if near else ""
        return (
            f"the local language model does not know {', '.join(quote(word) for word in words)}{nearest}; "
            "any word is understood with models=sd15 or language=openai"
        )
