"""Run a batch through the stages of a method, with failures isolated per request."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from instructedit.types import Decisions, EditRequest, EditResult, Failure, StageError, Tokens


@dataclass
class Progress:
    """A request and the results of the stages so far."""

    request: EditRequest
    decisions: Decisions = field(default_factory=Decisions)
    mask: np.ndarray | None = None
    image: Image.Image | None = None
    """The edited image, set by the last stage."""
    seconds: dict[str, float] = field(default_factory=dict)
    evaluations: dict[str, int] = field(default_factory=dict)
    cached_evaluations: dict[str, int] = field(default_factory=dict)
    tokens: Tokens | None = None
    error: StageError | None = None

    def outcome(self) -> EditResult | Failure:
        """Return the method's result for this request."""
        request = self.request
        if self.error is not None:
            error = self.error
            return Failure(request.id, error.stage, type(error).__name__, str(error), self.decisions, self.tokens)
        assert self.image is not None, "the last stage sets the image"
        costs = self.seconds, self.evaluations, self.tokens, self.cached_evaluations
        return EditResult(request.id, self.image, self.mask, self.decisions, *costs)


def run_stages(
    requests: Sequence[EditRequest], *stages: tuple[str, Callable[[list[Progress]], None]]
) -> list[EditResult | Failure]:
    """Run a batch through named stages; each stage gets the requests that have not failed.

    A stage's wall-clock time is divided equally among its requests.
    """
    progress = [Progress(request) for request in requests]
    for name, run in stages:
        alive = [p for p in progress if p.error is None]
        if not alive:
            break
        start = time.perf_counter()
        run(alive)
        for p in alive:
            p.seconds[name] = (time.perf_counter() - start) / len(alive)
    return [p.outcome() for p in progress]
