"""Outcomes as JSON records and back, without loss; a record holds all but the pixels."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image

from instructedit.images import hash_image, mask_image
from instructedit.types import Box, Captions, Decisions, EditResult, Failure, Record, Sample, Tokens

EDITED = "edited"
FAILED = "failed"
ROWS = ("run_id", "label", "sample_id", "image_id", "metric", "value", "card_id", "note")
"""Columns of metric values: one row per run, sample and metric; ``value`` is null where the metric is undefined.

Samples of one ``image_id`` are not independent."""
COUNTS = ("run_id", "label", "edited", "failed")
"""Columns of edits and failures: one row per run."""
TIMING = ("seconds", "evaluations", "tokens")
"""What differs between two runs of the same thing: what is found in the cache evaluates nothing and costs nothing."""


def record(outcome: EditResult | Failure, sample: Sample) -> Record:
    """Turn an outcome into a line of ``samples.jsonl``.

    Args:
        outcome: Of the sample.
        sample: What was asked, for tables by category.

    Returns:
        ``id``, ``status`` (``edited`` or ``failed``), what the sample asked, the decisions, the language model's tokens
        where they were counted, and either seconds (to four digits), evaluations and hashes of image and mask, or
        stage, error and message.
    """
    line: Record = {
        "id": outcome.id,
        "status": FAILED if isinstance(outcome, Failure) else EDITED,
        "instruction": sample.instruction,
        "category": sample.category,
        "edit": sample.edit,
        "image_id": sample.image_id,
        "decisions": asdict(outcome.decisions),
    }
    if outcome.tokens is not None:
        line["tokens"] = asdict(outcome.tokens)
    if isinstance(outcome, Failure):
        return line | {"stage": outcome.stage, "error": outcome.error, "message": outcome.message}
    return line | {
        "seconds": {stage: round(float(spent), 4) for stage, spent in outcome.seconds.items()},
        "evaluations": {stage: int(count) for stage, count in outcome.evaluations.items()},
        "image_sha256": hash_image(outcome.image),
        "mask_sha256": None if outcome.mask is None else hash_image(mask_image(outcome.mask)),
    }


def result(line: Record, image: Image.Image, mask: Bool[np.ndarray, "h w"] | None) -> EditResult:
    """Turn the record of an edit, with its pixels, back into what the method answered."""
    decisions, tokens = _decisions(line["decisions"]), tokens_of(line)
    return EditResult(line["id"], image, mask, decisions, line["seconds"], line["evaluations"], tokens)


def failure(line: Record) -> Failure:
    """Turn the record of a failure back into it."""
    decisions, tokens = _decisions(line["decisions"]), tokens_of(line)
    return Failure(line["id"], line["stage"], line["error"], line["message"], decisions, tokens)


def tokens_of(line: Record) -> Tokens | None:
    """What a record says of the language model's tokens; None where they were not counted."""
    return Tokens(**line["tokens"]) if "tokens" in line else None


def records_equal_ignoring_timing(first: Mapping[str, Record], second: Mapping[str, Record]) -> bool:
    """Whether two runs came to the same, pixels included: in whatever order, at whatever speed, cached or not."""

    def outcome(lines: Mapping[str, Record]) -> dict[str, Record]:
        return {id_: {key: line[key] for key in line if key not in TIMING} for id_, line in lines.items()}

    # As text, because a score that is not a number differs from itself.
    return json.dumps(outcome(first), sort_keys=True) == json.dumps(outcome(second), sort_keys=True)


def _decisions(value: dict[str, Any]) -> Decisions:
    captions = value["captions"] and Captions(**value["captions"])
    return Decisions(**{**value, "captions": captions, "boxes": tuple(Box(**box) for box in value["boxes"])})
