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
    """Describe one image by the paper's two questions: the second is the answer to the first, followed by "of".

    Args:
        ask: Answers a question about the image.
        question: The first question.

    Returns:
        The kind of picture (the paper's rho), such as "photo", and the description, such as "photo of a dog and a cat".

    Raises:
        StageError: An answer was empty.
    """
    kind = _line(ask(question)).rstrip(".")
    if not kind:
        raise StageError(Stage.CAPTIONER, f"no answer to {question!r}")
    start = f"{kind} of"
    # Encoder-decoder models may repeat the question in the answer.
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
    """Return BLIP-2's answer by greedy decoding, without the "Question: ... Answer:" template, as the released code.

    Args:
        model: BLIP-2 with a decoder-only (OPT) or an encoder-decoder language model (Flan-T5).
        processor: The model's processor, with the number of query tokens set.
        image: RGB.
        question: A question, or the beginning of a sentence to complete.
        max_new_tokens: Maximum number of tokens of the answer; the released code uses transformers' default, 20.
    """
    inputs = processor(images=image, text=question, return_tensors="pt").to(model.device, model.dtype)
    out = model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=max_new_tokens)
    # The output of a decoder-only model begins with the question.
    new = out if model.language_model.config.is_encoder_decoder else out[:, inputs["input_ids"].shape[1] :]
    return str(processor.decode(new[0], skip_special_tokens=True)).strip()


class Captioner(Protocol):
    """Describes images."""

    def describe(self, images: Sequence[Image.Image]) -> list[str | StageError]:
        """Return a description of each image, in order, or a :class:`StageError` for an image that fails."""
        ...


class Blip2Captioner:
    """Descriptions by BLIP-2. Both answers are cached, so a sweep asks once per image.

    Args:
        context: Models, cache and device.
        model: Checkpoint of Blip2ForConditionalGeneration with its processor.
        question: The first question.
        max_new_tokens: Maximum number of tokens of each answer.
    """

    def __init__(self, context: Context, model: Checkpoint, question: str = QUESTION, max_new_tokens: int = 20) -> None:
        require_whole("captioner.max_new_tokens", max_new_tokens, 1)
        self.context, self.checkpoint = context, model
        self.question, self.max_new_tokens = question, max_new_tokens

    def describe(self, images: Sequence[Image.Image]) -> list[str | StageError]:
        """Return a description of each image.

        Images are processed one at a time: padding the questions to one length would make an answer depend on the
        other samples of the batch.
        """
        return [self._describe(image) for image in images]

    def _describe(self, image: Image.Image) -> str | StageError:
        parameters: Mapping[str, Any] = {"question": self.question, "max_new_tokens": self.max_new_tokens}
        key = StageCache.key(
            Stage.CAPTIONER, 1, image=hash_image(image), model=self.checkpoint.fingerprint, **parameters
        )
        try:
            answers = self.context.cache.once_json(Stage.CAPTIONER, key, lambda: self._ask(image))
        except StageError as error:
            return error
        return str(answers["description"])

    def _ask(self, image: Image.Image) -> dict[str, str]:
        model, processor = self._loaded()
        kind, description = two_questions(
            lambda question: answer(model, processor, image, question, self.max_new_tokens), self.question
        )
        return {"kind": kind, "description": description}

    def _loaded(self) -> tuple[Any, Any]:
        processor = self.context.pool.processor(Blip2Processor, self.checkpoint)
        model = self.context.pool.model(Blip2ForConditionalGeneration, self.checkpoint, self.context.device)
        # Checkpoints saved before transformers 4.46 lack both fields, and without them the prompt has no image token.
        if model.config.image_token_index is None:
            raise ConfigError(f"captioner: {self.checkpoint.id} names no image token; a newer revision of it does")
        if processor.num_query_tokens is None:
            processor.num_query_tokens = model.config.num_query_tokens
        return model, processor
