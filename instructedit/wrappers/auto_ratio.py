"""Choose an encoding ratio for each sample without ground truth: the paper's future work (§6)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from instructedit.models import Context
from instructedit.parameters import check_ratio
from instructedit.types import ConfigError, EditRequest, EditResult, Failure, Method, Tokens

Number = TypeVar("Number", int, float)


class EditScorer(Protocol):
    """Scores an edit without ground truth."""

    def __call__(self, request: EditRequest, edit: EditResult) -> float:
        """Return the score; higher is better, and minus infinity if it is undefined."""
        ...


class AutoRatio(Method):
    """Runs a method at several encoding ratios and keeps the edit with the highest score for each sample.

    The score uses the input, the edit, and the captions that the method wrote or was given, but neither the
    ground-truth mask nor the reference edit. Through the cache, the ratios share the inversion and all stages before
    the editor. A method without an encoding ratio (``takes_ratio`` is false) runs unchanged.

    Args:
        context: Models, cache and device, passed to the method and to the scorer.
        method: Builds the method.
        ratios: Encoding ratios, each in (0, 1]; if scores are equal, the edit at the first of their ratios is kept.
        scorer: Builds the scorer.

    Raises:
        ConfigError: There is no ratio, one is repeated, or one is out of range.
    """

    def __init__(
        self,
        context: Context,
        method: Callable[..., Method],
        ratios: Sequence[float],
        scorer: Callable[..., EditScorer],
    ) -> None:
        if not ratios:
            raise ConfigError("auto.ratios=[]: at least one ratio is needed, as [0.3,0.5,0.7,0.9]")
        if len(set(ratios)) < len(ratios):
            raise ConfigError(f"auto.ratios={list(ratios)}: each ratio is accepted once")
        for ratio in ratios:
            check_ratio(ratio, "auto.ratios")
        self.method, self.ratios = method(context=context), tuple(ratios)
        self.scorer = scorer(context=context)
        # Classes that match the protocol without deriving from Method may lack the flags.
        self.needs_captions = bool(getattr(self.method, "needs_captions", False))
        self._has_ratio = bool(getattr(self.method, "takes_ratio", False))

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | Failure]:
        """Edit a batch at each ratio and keep one edit per request; its costs are the sums over all ratios."""
        if not self._has_ratio:
            return self.method.edit(requests)
        # One call, so that all ratios go through the network together.
        at_ratios = [replace(r, ratio=ratio) for r in requests for ratio in self.ratios]
        outcomes = iter(self.method.edit(at_ratios))
        return [self._best(r, dict(zip(self.ratios, outcomes))) for r in requests]  # noqa: B905 (the caller checks)

    def _best(self, request: EditRequest, outcomes: Mapping[float, EditResult | Failure]) -> EditResult | Failure:
        edits = {ratio: outcome for ratio, outcome in outcomes.items() if isinstance(outcome, EditResult)}
        tokens = Tokens.total(outcome.tokens for outcome in outcomes.values())
        if not edits:
            return replace(next(iter(outcomes.values())), tokens=tokens)
        # max() returns the first of equal scores.
        ratio = max(edits, key=lambda r: self.scorer(request, edits[r]))
        chosen = edits[ratio]
        return replace(
            chosen,
            decisions=replace(chosen.decisions, ratio=ratio),
            seconds=_total([e.seconds for e in edits.values()]),
            evaluations=_total([e.evaluations for e in edits.values()]),
            cached_evaluations=_total([e.cached_evaluations for e in edits.values()]),
            tokens=tokens,
        )


def _total(parts: Sequence[Mapping[str, Number]]) -> dict[str, Number]:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: sum(part.get(name, 0) for part in parts) for name in names}
