"""Outcomes as JSON records and back, without loss; a record holds all but the pixels."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image

from instructedit.images import hash_image, mask_image
from instructedit.types import Box, Captions, Decisions, EditResult, Failure, Sample, Tokens

ROWS = ("run_id", "label", "sample_id", "image_id", "metric", "value", "card_id", "note")
"""Columns of metric values: one row per run, sample and metric; ``value`` is null where the metric is undefined.

Samples of one ``image_id`` are not independent."""
METRICS = ("sample_id", "metric", "value", "card_id", "note", "image_sha256")
"""Columns of ``metrics.parquet``, one row per sample and metric; the hash is that of the scored picture."""
COUNTS = ("run_id", "label", "edited", "failed")
"""Columns of edits and failures: one row per run."""
TIMING = ("seconds", "evaluations", "tokens")
"""What differs between two runs of the same thing: what is found in the cache evaluates nothing and costs nothing."""
_EDITED, _FAILED = "edited", "failed"


@dataclass(frozen=True)
class _Tried:
    id: str
    instruction: str
    """The one that the method was given."""
    category: str
    edit: str
    image_id: str
    """Empty in runs of earlier versions."""
    decisions: Decisions
    tokens: Tokens | None
    """Of the language model; None where nobody counted."""


@dataclass(frozen=True)
class EditRecord(_Tried):
    """An edit, as a line of ``samples.jsonl`` holds it."""

    seconds: Mapping[str, float]
    """Of each stage, to four digits."""
    evaluations: Mapping[str, int]
    """Number of function evaluations (NFE) by stage."""
    image_sha256: str
    mask_sha256: str | None
    """None where the method has no mask."""

    def result(self, image: Image.Image, mask: Bool[np.ndarray, "h w"] | None) -> EditResult:
        """What the method answered, given the pixels."""
        return EditResult(self.id, image, mask, self.decisions, self.seconds, self.evaluations, self.tokens)


@dataclass(frozen=True)
class FailureRecord(_Tried):
    """A failure, as a line of ``samples.jsonl`` holds it."""

    stage: str
    error: str
    message: str

    @property
    def failure(self) -> Failure:
        """What the method answered."""
        return Failure(self.id, self.stage, self.error, self.message, self.decisions, self.tokens)


SampleRecord = EditRecord | FailureRecord


def record_of(outcome: EditResult | Failure, sample: Sample) -> SampleRecord:
    """The record of an outcome.

    Args:
        outcome: Of the sample.
        sample: What was asked, for tables by category.
    """
    asked = (sample.instruction, sample.category, sample.edit, sample.image_id)
    common = (outcome.id, *asked, outcome.decisions, outcome.tokens)
    if isinstance(outcome, Failure):
        return FailureRecord(*common, outcome.stage, outcome.error, outcome.message)
    return EditRecord(
        *common,
        seconds={stage: round(float(spent), 4) for stage, spent in outcome.seconds.items()},
        evaluations={stage: int(count) for stage, count in outcome.evaluations.items()},
        image_sha256=hash_image(outcome.image),
        mask_sha256=None if outcome.mask is None else hash_image(mask_image(outcome.mask)),
    )


def to_line(record: SampleRecord) -> str:
    """A record as JSON, without the line break; tokens only where they were counted."""
    return json.dumps(_plain(record), default=_number)


def from_line(text: str | bytes) -> SampleRecord:
    """The record that a line of ``samples.jsonl`` holds; what an earlier version did not write is left empty.

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
        spent = {key: line.get(key, {}) for key in ("seconds", "evaluations")}
        return EditRecord(**common, **spent, image_sha256=line["image_sha256"], mask_sha256=line.get("mask_sha256"))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no record of a sample: {error!r}") from error


def records_equal_ignoring_timing(first: Mapping[str, SampleRecord], second: Mapping[str, SampleRecord]) -> bool:
    """Whether two runs came to the same, pixels included: in whatever order, at whatever speed, cached or not."""

    def outcome(records: Mapping[str, SampleRecord]) -> dict[str, Any]:
        return {id_: {k: v for k, v in _plain(r).items() if k not in TIMING} for id_, r in records.items()}

    # As text, because a score that is not a number differs from itself.
    return json.dumps(outcome(first), sort_keys=True) == json.dumps(outcome(second), sort_keys=True)


def _plain(record: SampleRecord) -> dict[str, Any]:
    own = asdict(record)
    if own["tokens"] is None:
        del own["tokens"]
    return {"id": own.pop("id"), "status": _EDITED if isinstance(record, EditRecord) else _FAILED} | own


def _decisions(line: Mapping[str, Any]) -> Decisions:
    captions, boxes = line.get("captions"), line.get("boxes") or ()
    parts = {
        "captions": None if captions is None else _known(Captions, captions),
        "boxes": tuple(_known(Box, box) for box in boxes),
    }
    return _known(Decisions, {**line, **parts})


def _known(kind: Any, values: Mapping[str, Any]) -> Any:
    """A dataclass of those values that it has; another version may have written more."""
    names = {f.name for f in fields(kind)}
    return kind(**{key: value for key, value in values.items() if key in names})


def _number(value: Any) -> Any:
    """Scores often come as numpy's scalars, which JSON does not know."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON")
