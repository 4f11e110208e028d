"""InstructEdit: language processor, segmenter, editor, one after the other (paper Fig. 2)."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from instructedit.editor import MaskGuidedEditor
from instructedit.language import LanguageProcessor
from instructedit.models import Context
from instructedit.segmenter import GroundedSam
from instructedit.types import Decisions, EditRequest, EditResult, Failure, StageError


@dataclass
class _Progress:
    """One request on its way through the stages."""

    request: EditRequest
    decisions: Decisions = field(default_factory=Decisions)
    mask: np.ndarray | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    error: StageError | None = None

    def failure(self) -> Failure:
        assert self.error is not None
        return Failure(
            self.request.id, self.error.stage, type(self.error).__name__, str(self.error), decisions=self.decisions
        )


class InstructEdit:
    """The paper's method.

    Args:
        context: Models, cache and device, handed to each component.
        language: Makes the language processor from the context.
        segmenter: Makes the segmenter.
        editor: Makes the editor.
    """

    def __init__(
        self,
        context: Context,
        language: Callable[..., LanguageProcessor],
        segmenter: Callable[..., GroundedSam],
        editor: Callable[..., MaskGuidedEditor],
    ) -> None:
        self.language = language(context=context)
        self.segmenter = segmenter(context=context)
        self.editor = editor(context=context)

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | Failure]:
        """Edit a batch; a request that fails at one stage leaves the others alone."""
        progress = [_Progress(request) for request in requests]
        self._stage(progress, "language", self._parse)
        self._stage(progress, "segmenter", self._segment)
        results: dict[str, EditResult] = {}
        self._stage(progress, "editor", lambda alive: self._edit(alive, results))
        return [p.failure() if p.error else replace(results[p.request.id], seconds=p.seconds) for p in progress]

    @staticmethod
    def _stage(progress: list[_Progress], name: str, run: Callable[[list[_Progress]], None]) -> None:
        """Run a stage on the requests still alive and share its time between them."""
        alive = [p for p in progress if p.error is None]
        if not alive:
            return
        began = time.perf_counter()
        run(alive)
        for p in alive:
            p.seconds[name] = (time.perf_counter() - began) / len(alive)

    def _parse(self, alive: list[_Progress]) -> None:
        parsed = self.language.parse([p.request.instruction for p in alive], [None] * len(alive))
        for p, answer in zip(alive, parsed, strict=True):
            if isinstance(answer, StageError):
                p.error = answer
            else:
                p.decisions = Decisions(
                    reply=answer.reply, segmentation_prompt=answer.segmentation_prompt, captions=answer.captions
                )

    def _segment(self, alive: list[_Progress]) -> None:
        prompts = [str(p.decisions.segmentation_prompt) for p in alive]
        found = self.segmenter.segment([p.request.image for p in alive], prompts)
        for p, segmentation in zip(alive, found, strict=True):
            if isinstance(segmentation, StageError):
                p.error = segmentation
            else:
                p.mask = segmentation.mask
                p.decisions = replace(p.decisions, boxes=segmentation.boxes)

    def _edit(self, alive: list[_Progress], results: dict[str, EditResult]) -> None:
        captions: list[Any] = [p.decisions.captions for p in alive]
        masks: list[Any] = [p.mask for p in alive]
        edited = self.editor.edit([p.request.image for p in alive], captions, masks)
        for p, image, cost in zip(alive, edited.images, edited.evaluations, strict=True):
            results[p.request.id] = EditResult(p.request.id, image, p.mask, p.decisions, evaluations=cost)
