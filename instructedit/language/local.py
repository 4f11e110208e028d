"""The language processor on a transformers chat model that runs here."""

import difflib
import string
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import torch
from torch import Tensor

from instructedit.language.base import Reply, converse, quote
from instructedit.language.parse import Parsed
from instructedit.language.prompt import PROMPT_HASH, Message, messages
from instructedit.types import ConfigError, Stage, StageError, Tokens

LEAST_PROBABILITY = "least_probability"
"""Key of a checkpoint's ``config.json``: a reply with a less probable token is refused. It belongs to the
checkpoint, as its probabilities do; without it, every reply counts."""


class LocalLanguage:
    """Greedy answers of a causal language model; they do not depend on what else is in the batch.

    If the checkpoint has :data:`LEAST_PROBABILITY`, an answer of which the model is not sure is a failure: a wrong
    segmentation prompt would cost more than a refusal.

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
        for i, answer in zip(chats, converse(self.answer, list(chats.values())), strict=True):
            spelled = [word for word in _words(instructions[i]) if self._is_spelled(word)]
            if isinstance(answer, StageError) and spelled:
                answer = StageError(answer.stage, f"{answer}; {self._unknown(spelled)}", answer.tokens)
            answers[i] = answer
        return [answers[i] for i in range(len(instructions))]

    def answer(self, chats: Sequence[Sequence[Message]]) -> list[Reply | StageError]:
        """Continue chats by their likeliest words; an error for a reply of which the model is not sure."""
        least = float(getattr(self._model.config, LEAST_PROBABILITY, 0.0))
        if not least:
            return [reply for reply, _ in self._replies(chats, is_scored=False)]
        return [
            reply if lowest >= least else StageError(Stage.LANGUAGE, _unsure(reply.text, lowest, least), reply.tokens)
            for reply, lowest in self.scored(chats)
        ]

    def scored(self, chats: Sequence[Sequence[Message]]) -> list[tuple[Reply, float]]:
        """Return the reply to each chat with the probability of its least probable token, in [0, 1]."""
        return self._replies(chats, is_scored=True)

    @torch.inference_mode()
    def _replies(self, chats: Sequence[Sequence[Message]], is_scored: bool) -> list[tuple[Reply, float]]:
        prompts = self._prompts(chats)
        ids, mask = (prompts[key].to(self._model.device) for key in ("input_ids", "attention_mask"))
        out = self._model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=False,
            num_beams=1,
            max_new_tokens=self._max_new_tokens,
            pad_token_id=self._tokenizer.pad_token_id,
            return_dict_in_generate=True,
            output_logits=is_scored,
        )
        ends, chosen = self._ends(), out.sequences[:, ids.shape[1] :]
        replies = []
        for row, (length, new) in enumerate(zip(mask.sum(dim=1).tolist(), chosen.tolist(), strict=True)):
            end = next((k for k, token in enumerate(new) if token in ends), len(new))
            text = self._tokenizer.decode(new[:end], skip_special_tokens=True)
            # As servers count: with the token that ends the reply.
            tokens = Tokens(length, min(end + 1, len(new)))
            lowest = 1.0
            if is_scored:
                each = zip(out.logits, new[: end + 1], strict=False)
                lowest = min(float(logits[row].float().softmax(-1)[token]) for logits, token in each)
            replies.append((Reply(text, is_cut=end == self._max_new_tokens, tokens=tokens), lowest))
        return replies

    def _require_chat_template(self) -> None:
        try:
            self._prompts([messages("Change the dog to a cat")])
        except (ValueError, jinja2.TemplateError) as error:
            hint = "take a model that was tuned to follow instructions and takes a system message"
            raise ConfigError(f"language=local: the tokenizer's chat template fails ({error}); {hint}") from error

    def _prompts(self, chats: Sequence[Sequence[Message]]) -> Mapping[str, Tensor]:
        """Token ids and the mask of a batch, padded on the left, so that all replies begin at the same place."""
        tokenizer = self._tokenizer
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token  # masked, so any token will do
        batch: Mapping[str, Tensor] = tokenizer.apply_chat_template(
            [list(chat) for chat in chats], add_generation_prompt=True, padding=True, return_dict=True,
            return_tensors="pt", tokenizer_kwargs={"padding_side": "left"},
        )  # fmt: skip
        return batch

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
        return self._unknown([word for word in _words(text) if self._has_unknown(word)])

    def _is_spelled(self, word: str) -> bool:
        """Whether the tokenizer has the letters of a word only, not the word or parts of it."""
        return len(word) > 2 and len(self._tokenizer.tokenize(word)) >= len(word)

    def _unknown(self, words: Sequence[str]) -> str:
        known = [word for word in self._tokenizer.get_vocab() if word.isalpha()]
        near = [n for word in words for n in difflib.get_close_matches(word.lower(), known, n=3)]
        nearest = f"; the nearest words it knows: {', '.join(dict.fromkeys(near))}" if near else ""
        return (
            f"the local language model does not know {', '.join(quote(word) for word in words)}{nearest}; "
            "any word is understood with models=sd15 or language=openai"
        )


def _words(text: str) -> list[str]:
    return [word.strip(string.punctuation) or word for word in dict.fromkeys(text.split())]


def _unsure(text: str, lowest: float, least: float) -> str:
    return (
        f"the language model is not sure: a word of its reply {quote(text)} has the probability {lowest:.2f}, and "
        f"{least:.2f} is its least"
    )
