"""Captioner (paper §3.2): BLIP-2 describes the image, so that the language processor knows what "it" is."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from PIL import Image
from transformers import Blip2ForConditionalGeneration, Blip2Processor

from instructedit.cache import StageCache, hash_image
from instructedit.checks import require_whole
from instructedit.models import Checkpoint, Context
from instructedit.types import ConfigError, Stage, StageError

QUESTION = "Is this a photo, a painting, or another kind of art?"
"""The paper's first question (§3.2); the released code words it "a photo, a painting, a drawing, or other kind of
arts"."""


def two_questions(ask: Callable[[str], str], question: str = QUESTION) -> tuple[str, str]:
    """The paper's protocol: the answer to the first question, put before "of", is the second one.

    Args:
        ask: Answers one question about one image.
        question: The first one.

    Returns:
        What kind of picture it is (the paper's rho), and the description: "photo", "photo of a dog and a cat".

    Raises:
        StageError: An answer was empty.
    """
    kind = _line(ask(question)).rstrip(".")
    if not kind:
        raise StageError(Stage.CAPTIONER, f"no answer to {question!r}")
    start = f"{kind} of"
    # Models that read the question apart from their answer may say its words again.
    rest = _line(ask(start)).removeprefix(start).strip()
    if not rest:
        raise StageError(Stage.CAPTIONER, f"nothing follows {start!r}")
    return kind, f"{start} {rest}"


def _line(text: str) -> str:
    return " ".join(text.split())


@torch.inference_mode()
def answer(
    model: Blip2ForConditionalGeneration,
    processor: Blip2Processor,
    image: Image.Image,
    question: str,
    max_new_tokens: int = 20,
) -> str:
    """BLIP-2's likeliest answer, as in the released code: greedy, the question without "Question: ... Answer:".

    Args:
        model: On a decoder alone (OPT) or on an encoder and a decoder (Flan-T5).
        processor: Its processor, which knows the number of query tokens.
        image: RGB.
        question: What is asked, or what is to be completed.
        max_new_tokens: Most tokens of the answer; the released code takes transformers' 20.
    """
    inputs = processor(images=image, text=question, return_tensors="pt").to(model.device, model.dtype)
    out = model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=max_new_tokens)
    # A decoder alone says the question before its answer.
    new = out if model.language_model.config.is_encoder_decoder else out[:, inputs["input_ids"].shape[1] :]
    return str(processor.decode(new[0], skip_special_tokens=True)).strip()


class Captioner(Protocol):
    """Says what images show."""

    def describe(self, images: Sequence[Image.Image]) -> list[str | StageError]:
        """A description of each image, in order. Never raises for the sake of one."""
        ...


class Blip2Captioner:
    """Descriptions by BLIP-2; both answers are kept, so a sweep asks once an image.

    Args:
        context: Models, cache and device.
        model: Checkpoint of Blip2ForConditionalGeneration with its processor.
        question: The first question.
        max_new_tokens: Most tokens of each answer.
    """

    def __init__(self, context: Context, model: Checkpoint, question: str = QUESTION, max_new_tokens: int = 20) -> None:
        require_whole("captioner.max_new_tokens", max_new_tokens, 1)
        self.context, self.checkpoint = context, model
        self.question, self.max_new_tokens = question, max_new_tokens

    def describe(self, images: Sequence[Image.Image]) -> list[str | StageError]:
        """A description of each image.

        One image at a time: padding questions to one length would let neighbours in a batch change an answer.
        """
        return [self._describe(image) for image in images]

    def _describe(self, image: Image.Image) -> str | StageError:
        made_by: Mapping[str, Any] = {"question": self.question, "max_new_tokens": self.max_new_tokens}
        key = StageCache.key(Stage.CAPTIONER, 1, image=hash_image(image), model=self.checkpoint.fingerprint, **made_by)
        kept = self.context.cache.get_json(Stage.CAPTIONER, key)
        if kept is None:
            model, processor = self._loaded()
            try:
                kind, description = two_questions(
                    lambda question: answer(model, processor, image, question, self.max_new_tokens), self.question
                )
            except StageError as error:
                return error
            kept = {"kind": kind, "description": description}
            self.context.cache.put_json(Stage.CAPTIONER, key, kept)
        return str(kept["description"])

    def _loaded(self) -> tuple[Any, Any]:
        processor = self.context.pool.processor(Blip2Processor, self.checkpoint)
        model = self.context.pool.model(Blip2ForConditionalGeneration, self.checkpoint, self.context.device)
        # Checkpoints saved before transformers 4.46 lack both; without them no token stands for the image.
        if model.config.image_token_index is None:
            raise ConfigError(f"captioner: {self.checkpoint.id} names no image token; a newer revision of it does")
        if processor.num_query_tokens is None:
            processor.num_query_tokens = model.config.num_query_tokens
        return model, processor
