"""A batch on its way through the stages of a method: what fails at one stage leaves the others alone."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from instructedit.types import Decisions, EditRequest, EditResult, Failure, StageError, Tokens


@dataclass
class Progress:
    """One request, and what the stages so far have made of it."""

    request: EditRequest
    decisions: Decisions = field(default_factory=Decisions)
    mask: np.ndarray | None = None
    image: Image.Image | None = None
    """The edit, once it is made."""
    seconds: dict[str, float] = field(default_factory=dict)
    evaluations: dict[str, int] = field(default_factory=dict)
    tokens: Tokens | None = None
    error: StageError | None = None

    def outcome(self) -> EditResult | Failure:
        """What the method answers."""
        request = self.request
        if self.error is not None:
            error = self.error
            return Failure(request.id, error.stage, type(error).__name__, str(error), self.decisions, self.tokens)
        assert self.image is not None, "the last stage makes the image"
        return EditResult(
            request.id, self.image, self.mask, self.decisions, self.seconds, self.evaluations, self.tokens
        )


def run_stages(
    requests: Sequence[EditRequest], *stages: tuple[str, Callable[[list[Progress]], None]]
) -> list[EditResult | Failure]:
    """Take a batch through named stages, each on the requests still alive; a stage's time is shared between them."""
    progress = [Progress(request) for request in requests]
    for name, run in stages:
        alive = [p for p in progress if p.error is None]
        if not alive:
            break
        began = time.perf_counter()
        run(alive)
        for p in alive:
            p.seconds[name] = (time.perf_counter() - began) / len(alive)
    return [p.outcome() for p in progress]
