"""InstructEdit: an optional captioner, then language processor, segmenter and editor (paper Fig. 2)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from instructedit.captioner import Captioner
from instructedit.editor import Editor
from instructedit.language import LanguageProcessor
from instructedit.models import Context
from instructedit.segmenter import Segmenter
from instructedit.stages import Progress, run_stages
from instructedit.types import EditRequest, EditResult, Failure, Method, Stage, StageError


class InstructEdit(Method):
    """The paper's method.

    Args:
        context: Models, cache and device, passed to each component.
        language: Builds the language processor from the context.
        segmenter: Builds the segmenter.
        editor: Builds the editor.
        captioner: Builds the captioner; if None, the language processor sees the instruction only.
    """

    def __init__(
        self,
        context: Context,
        language: Callable[..., LanguageProcessor],
        segmenter: Callable[..., Segmenter],
        editor: Callable[..., Editor],
        captioner: Callable[..., Captioner] | None = None,
    ) -> None:
        self.captioner = captioner(context=context) if captioner else None
        self.language = language(context=context)
        self.segmenter = segmenter(context=context)
        self.editor = editor(context=context)
        self.takes_ratio = self.editor.takes_ratio
        self.takes_restart = bool(getattr(self.editor, "takes_restart", False))

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | Failure]:
        """Edit a batch. Failures are isolated per request."""
        stages = [(Stage.LANGUAGE, self._parse), (Stage.SEGMENTER, self._segment), (Stage.EDITOR, self._edit)]
        if self.captioner is not None:
            stages.insert(0, (Stage.CAPTIONER, partial(self._describe, self.captioner)))
        return run_stages(requests, *stages)

    @staticmethod
    def _describe(captioner: Captioner, alive: list[Progress]) -> None:
        for p, description in zip(alive, captioner.describe([p.request.image for p in alive]), strict=True):
            if isinstance(description, StageError):
                p.error = description
            else:
                p.decisions = replace(p.decisions, description=description)

    def _parse(self, alive: list[Progress]) -> None:
        descriptions = [p.decisions.description for p in alive]
        parsed = self.language.parse([p.request.instruction for p in alive], descriptions)
        for p, answer in zip(alive, parsed, strict=True):
            p.tokens = answer.tokens
            if isinstance(answer, StageError):
                p.error = answer
            else:
                p.decisions = replace(
                    p.decisions,
                    reply=answer.reply,
                    segmentation_prompt=answer.segmentation_prompt,
                    captions=answer.captions,
                )

    def _segment(self, alive: list[Progress]) -> None:
        prompts = [str(p.decisions.segmentation_prompt) for p in alive]
        segmentations = self.segmenter.segment([p.request.image for p in alive], prompts)
        for p, segmentation in zip(alive, segmentations, strict=True):
            if isinstance(segmentation, StageError):
                p.error = segmentation
            else:
                p.mask = segmentation.mask
                p.decisions = replace(p.decisions, boxes=segmentation.boxes)

    def _edit(self, alive: list[Progress]) -> None:
        captions: list[Any] = [p.decisions.captions for p in alive]
        masks: list[Any] = [p.mask for p in alive]
        edited = self.editor.edit([p.request for p in alive], captions, masks)
        for p, answer in zip(alive, edited, strict=True):
            if isinstance(answer, StageError):
                p.error = answer
            else:
                p.image, p.evaluations, p.cached_evaluations = answer.image, answer.evaluations, answer.cached
                p.decisions = replace(p.decisions, call=answer.call)
