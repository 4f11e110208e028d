"""What the demo does with a picture, apart from its page: edits by several methods, and what each decided."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from PIL import Image

from eval.runs.runner import guarded
from instructedit.applications.given import Prompts, with_given
from instructedit.types import Captions, ConfigError, EditRequest, EditResult, Failure, Method

Values = Mapping[str, float | int]
"""Hyperparameters by key of the main configuration, such as ``ratio``."""
Build = Callable[[str, Values], Method]
"""Builds a method by name."""
_ID = "demo"


@dataclass(frozen=True)
class Wish:
    """What a person asks for."""

    image: Image.Image
    instruction: str
    seed: int
    values: Values
    prompts: Prompts | None = None
    """Given by hand; None lets each method's own language processor write them."""
    mask: Bool[np.ndarray, "h w"] | None = None
    """Given by hand, of the image's size."""


def edit(build: Build, method: str, wish: Wish) -> EditResult | Failure:
    """Return a method's edit.

    Raises:
        ConfigError: A hyperparameter is not accepted, or the method needs captions and there are none.
    """
    made = build(method, wish.values)
    captions = None if wish.prompts is None else wish.prompts.captions
    if made.needs_captions and captions is None:
        raise ConfigError(f"{method} needs both captions; edit with InstructEdit first, or type them")
    given = with_given(made, wish.prompts, wish.mask)
    request = EditRequest(_ID, wish.image, wish.instruction, captions, wish.seed)
    (outcome,) = guarded(given, [request])
    return outcome


def prompts_of(segmentation_prompt: str, input_caption: str, edited_caption: str) -> Prompts | None:
    """Return prompts as typed; None if both captions are empty.

    Raises:
        ConfigError: One of the texts is missing.
    """
    texts = [text.strip() for text in (segmentation_prompt, input_caption, edited_caption)]
    if not texts[1] and not texts[2]:
        return None
    if not all(texts):
        raise ConfigError("the segmentation prompt and both captions are needed, or neither of the captions")
    return Prompts(texts[0], Captions(texts[1], texts[2]))


def first_prompts(outcomes: Sequence[EditResult | Failure]) -> Prompts | None:
    """Return the prompts of the first method that has a language processor."""
    for outcome in outcomes:
        prompt, captions = outcome.decisions.segmentation_prompt, outcome.decisions.captions
        if prompt is not None and captions is not None:
            return Prompts(prompt, captions)
    return None
