"""Lossless conversion of outcomes to JSON records and back; a record has everything except the pixels."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image

from instructedit.images import hash_image, mask_image
from instructedit.types import Box, Captions, Decisions, EditResult, Failure, PipelineCall, Sample, Tokens

ROWS = ("run_id", "label", "sample_id", "image_id", "metric", "value", "card_id", "note")
"""Columns of metric values: one row per run, sample and metric; ``value`` is null if the metric is undefined.

Samples with the same ``image_id`` are not independent."""
METRICS = ("sample_id", "metric", "value", "card_id", "note", "image_sha256")
"""Columns of ``metrics.parquet``, one row per sample and metric; the hash is that of the scored picture."""
COUNTS = ("run_id", "label", "edited", "failed")
"""Columns of the numbers of edits and failures: one row per run."""
TIMING = ("seconds", "evaluations", "cached_evaluations", "tokens")
"""Fields that may differ between equal runs, because cached results need no evaluations and no tokens."""
_EDITED, _FAILED = "edited", "failed"


@dataclass(frozen=True)
class _Tried:
    id: str
    instruction: str
    """The instruction that the method was given."""
    category: str
    edit: str
    image_id: str
    """Empty in runs of earlier versions."""
    decisions: Decisions
    tokens: Tokens | None
    """Tokens of the language model; None if they were not counted."""


@dataclass(frozen=True)
class EditRecord(_Tried):
    """An edit in a line of ``samples.jsonl``."""

    seconds: Mapping[str, float]
    """Seconds by stage, rounded to four decimals."""
    evaluations: Mapping[str, int]
    """Number of function evaluations (NFE) by stage."""
    cached_evaluations: Mapping[str, int]
    """NFE by stage that the cache saved; empty in runs of earlier versions."""
    image_sha256: str
    mask_sha256: str | None
    """None if the method has no mask."""

    def result(self, image: Image.Image, mask: Bool[np.ndarray, "h w"] | None) -> EditResult:
        """Return the method's result with the given pixels."""
        costs = self.seconds, self.evaluations, self.tokens, self.cached_evaluations
        return EditResult(self.id, image, mask, self.decisions, *costs)


@dataclass(frozen=True)
class FailureRecord(_Tried):
    """A failure in a line of ``samples.jsonl``."""

    stage: str
    error: str
    message: str

    @property
    def failure(self) -> Failure:
        """The method's failure."""
        return Failure(self.id, self.stage, self.error, self.message, self.decisions, self.tokens)


SampleRecord = EditRecord | FailureRecord


@dataclass(frozen=True)
class Judged:
    """What the questions of one metric about one edit took; a line of ``judged.jsonl``."""

    sample_id: str
    metric: str
    model: str
    tokens: Tokens
    """Zero if all replies were stored."""


def record_of(outcome: EditResult | Failure, sample: Sample) -> SampleRecord:
    """Return the record of an outcome.

    Args:
        outcome: The outcome of the sample.
        sample: The sample; its instruction, category, edit type and image id are stored for tables.
    """
    labels = (sample.instruction, sample.category, sample.edit, sample.image_id)
    common = (outcome.id, *labels, outcome.decisions, outcome.tokens)
    if isinstance(outcome, Failure):
        return FailureRecord(*common, outcome.stage, outcome.error, outcome.message)
    return EditRecord(
        *common,
        seconds={stage: round(float(spent), 4) for stage, spent in outcome.seconds.items()},
        evaluations={stage: int(count) for stage, count in outcome.evaluations.items()},
        cached_evaluations={stage: int(count) for stage, count in outcome.cached_evaluations.items()},
        image_sha256=hash_image(outcome.image),
        mask_sha256=None if outcome.mask is None else hash_image(mask_image(outcome.mask)),
    )


def to_line(record: SampleRecord) -> str:
    """Return a record as JSON without a line break; tokens and cached NFE are omitted if they were not counted."""
    return json.dumps(_plain(record), default=_number)


def from_line(text: str | bytes) -> SampleRecord:
    """Parse a line of ``samples.jsonl``; fields that an earlier version did not write are empty.

    Raises:
        ValueError: The line is damaged.
    """
    try:
        line = json.loads(text)
        common = {key: line.get(key, "") for key in ("instruction", "category", "edit", "image_id")}
        common |= {
            "id": line["id"],
            "decisions": _decisions(line.get("decisions") or {}),
            "tokens": _known(Tokens, line["tokens"]) if "tokens" in line else None,
        }
        if line["status"] == _FAILED:
            return FailureRecord(**common, **{key: line.get(key, "") for key in ("stage", "error", "message")})
        if line["status"] != _EDITED:
            raise ValueError(f"status {line['status']!r}; {_EDITED} or {_FAILED} is expected")
        spent = {key: line.get(key, {}) for key in ("seconds", "evaluations", "cached_evaluations")}
        return EditRecord(**common, **spent, image_sha256=line["image_sha256"], mask_sha256=line.get("mask_sha256"))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no record of a sample: {error!r}") from error


def judged_to_line(judged: Judged) -> str:
    """Return a line of ``judged.jsonl``."""
    return json.dumps(asdict(judged))


def judged_from_line(text: str | bytes) -> Judged:
    """Parse a line of ``judged.jsonl``.

    Raises:
        ValueError: The line is damaged.
    """
    try:
        line = json.loads(text)
        return _known(Judged, line | {"tokens": _known(Tokens, line["tokens"])})
    except (KeyError, TypeError) as error:
        raise ValueError(f"no line of a judgement: {error!r}") from error


def records_equal_ignoring_timing(first: Mapping[str, SampleRecord], second: Mapping[str, SampleRecord]) -> bool:
    """Return whether two runs have equal outcomes, including pixels, regardless of order, timing and caching."""

    def outcome(records: Mapping[str, SampleRecord]) -> dict[str, Any]:
        return {id_: {k: v for k, v in _plain(r).items() if k not in TIMING} for id_, r in records.items()}

    # They are compared as text, because NaN is not equal to itself.
    return json.dumps(outcome(first), sort_keys=True) == json.dumps(outcome(second), sort_keys=True)


def _plain(record: SampleRecord) -> dict[str, Any]:
    values = asdict(record)
    if not values.get("cached_evaluations", True):
        del values["cached_evaluations"]
    for rare in ("reconstruction", "call"):  # of clips alone, and of other libraries' pipelines
        if values["decisions"][rare] is None:
            del values["decisions"][rare]
    if values["tokens"] is None:
        del values["tokens"]
    return {"id": values.pop("id"), "status": _EDITED if isinstance(record, EditRecord) else _FAILED} | values


def _decisions(line: Mapping[str, Any]) -> Decisions:
    captions, boxes = line.get("captions"), line.get("boxes") or ()
    parts = {
        "captions": None if captions is None else _known(Captions, captions),
        "boxes": tuple(_known(Box, box) for box in boxes),
        "reconstruction": None if line.get("reconstruction") is None else tuple(line["reconstruction"]),
        "call": None
        if (call := line.get("call")) is None
        else PipelineCall(call["arguments"], tuple(call["returned"])),
    }
    return _known(Decisions, {**line, **parts})


def _known(kind: Any, values: Mapping[str, Any]) -> Any:
    """Make a dataclass from the values that are its fields; later versions may have written others."""
    names = {f.name for f in fields(kind)}
    return kind(**{key: value for key, value in values.items() if key in names})


def _number(value: Any) -> Any:
    """Convert numpy scalars for JSON; scores often have this type."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON")
