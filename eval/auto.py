"""``ratio=auto``, the paper's future work: each sample is edited at several ratios, and one edit kept without truth."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from eval.analysis.selection import COST, GAIN, Rule
from eval.metrics.base import Metric, MetricUndefined
from eval.metrics.entries import Entry, load_metrics
from instructedit.models import Context
from instructedit.types import ConfigError, EditRequest, EditResult, Failure, Method, Sample, Tokens

Number = TypeVar("Number", int, float)


class BestRatio:
    """One method at several encoding ratios; of each sample's edits the one that a rule likes best.

    The rule sees the input, the edit, and the captions that the method itself wrote (or was given): no mask, no true
    edit. Stages before the editor, and the inversion, are shared by the ratios through the cache.

    Args:
        methods: By ratio; of edits that the rule likes the same, the first is kept.
        rule: What directional similarity must bring for its LPIPS.
        metrics: Loads directional similarity and LPIPS when there are edits to choose from.
    """

    def __init__(self, methods: Mapping[float, Method], rule: Rule, metrics: Callable[[], Sequence[Metric]]) -> None:
        self.methods, self.rule, self._metrics = methods, rule, metrics
        self.needs_captions = any(getattr(m, "needs_captions", False) for m in methods.values())

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | Failure]:
        """Edit a batch at each ratio and keep one edit a request; what it cost is what all tries cost."""
        tries = {ratio: method.edit(requests) for ratio, method in self.methods.items()}
        return [self._best(r, {ratio: t[i] for ratio, t in tries.items()}) for i, r in enumerate(requests)]

    def _best(self, request: EditRequest, tries: Mapping[float, EditResult | Failure]) -> EditResult | Failure:
        edits = {ratio: outcome for ratio, outcome in tries.items() if isinstance(outcome, EditResult)}
        tokens = Tokens.total(outcome.tokens for outcome in tries.values())
        if not edits:
            return replace(next(iter(tries.values())), tokens=tokens)
        # max() keeps the first of equals.
        ratio = max(edits, key=lambda r: self._liking(request, edits[r]))
        chosen = edits[ratio]
        return replace(
            chosen,
            decisions=replace(chosen.decisions, ratio=ratio),
            seconds=_total([e.seconds for e in edits.values()]),
            evaluations=_total([e.evaluations for e in edits.values()]),
            tokens=tokens,
        )

    def _liking(self, request: EditRequest, edit: EditResult) -> float:
        sample = Sample(request.id, Path(), request.instruction, captions=request.captions)
        captions = edit.decisions.captions or request.captions
        try:
            metrics = {m.name: m for m in self._metrics()}
            gain, cost = (metrics[k].score(sample, request.image, edit, captions).value for k in (GAIN, COST))
        except MetricUndefined:
            return -float("inf")
        return self.rule.value(gain, cost)


def best_of(
    context: Context,
    methods: Sequence[Callable[..., Method]],
    ratios: Sequence[float],
    weight: float,
    metrics: Mapping[str, Entry],
) -> BestRatio:
    """A :class:`BestRatio` from a configuration.

    Args:
        context: Models, cache and device.
        methods: Make the method at each of ``ratios``.
        ratios: Encoding ratios.
        weight: Of the rule.
        metrics: Entries of directional similarity and LPIPS, see :mod:`eval.metrics.entries`.

    Raises:
        ConfigError: a ratio stands twice.
    """
    if len(set(ratios)) < len(ratios):
        raise ConfigError(f"auto.ratios={list(ratios)}: each ratio is accepted once")
    made = {ratio: method(context=context) for ratio, method in zip(ratios, methods, strict=True)}
    return BestRatio(made, Rule(weight), partial(load_metrics, list(metrics.values()), context))


def _total(parts: Sequence[Mapping[str, Number]]) -> dict[str, Number]:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: sum(part.get(name, 0) for part in parts) for name in names}
