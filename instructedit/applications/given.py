"""Edits with results given by hand in place of a component's: only the components after it run."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image

from instructedit.images import mask_image
from instructedit.language import Parsed
from instructedit.method import InstructEdit
from instructedit.segmenter.base import Segmentation
from instructedit.types import Captions, Method, StageError
from instructedit.wrappers.full_size import FullSize


@dataclass(frozen=True)
class Prompts:
    """The language processor's three outputs, given by hand."""

    segmentation_prompt: str
    captions: Captions


class GivenPrompts:
    """A language processor that returns the given prompts."""

    def __init__(self, prompts: Prompts) -> None:
        self.prompts = prompts

    @property
    def identity(self) -> Mapping[str, Any]:
        """See :class:`LanguageProcessor`."""
        captions = self.prompts.captions
        return {"given": [self.prompts.segmentation_prompt, captions.input, captions.edited]}

    def parse(self, instructions: Sequence[str], descriptions: Sequence[str | None]) -> list[Parsed | StageError]:
        """Return the given prompts for each instruction."""
        parsed = Parsed(self.prompts.segmentation_prompt, self.prompts.captions, "given by hand")
        return [parsed for _ in instructions]


class GivenMask:
    """A segmenter that returns the given mask, at the size of each picture, and no boxes."""

    def __init__(self, mask: Bool[np.ndarray, "h w"]) -> None:
        self.mask = mask

    def segment(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[Segmentation | StageError]:
        """Return the mask for each picture."""
        grey = mask_image(self.mask)
        resized = (grey.resize(image.size, Image.Resampling.BOX) for image in images)
        return [Segmentation(np.asarray(mask) >= 128, ()) for mask in resized]


def with_given(method: Method, prompts: Prompts | None, mask: Bool[np.ndarray, "h w"] | None = None) -> Method:
    """Return a method that takes prompts and mask as given; other components are shared with the method.

    Args:
        method: InstructEdit, in :class:`FullSize` or not. Other methods have no such components and are returned as
            they are.
        prompts: Replace captioner and language processor; None replaces neither.
        mask: Replaces the segmenter; None does not.
    """
    changed = copy(method)
    if isinstance(changed, FullSize):
        changed.method = with_given(changed.method, prompts, mask)
    elif isinstance(changed, InstructEdit):
        if prompts is not None:
            changed.captioner, changed.language = None, GivenPrompts(prompts)
        if mask is not None:
            changed.segmenter = GivenMask(mask)  # type: ignore[assignment]
    return changed
