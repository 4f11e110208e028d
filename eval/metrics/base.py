"""Base of all metrics: name, direction, range, and a card that records how the value was computed."""

import hashlib
import json
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image

from instructedit.images import load_image
from instructedit.types import Captions, EditResult, Sample, StageError, Tokens

Card = dict[str, Any]
"""JSON values without paths, so that a metric has the same card on every machine."""


class MetricUndefined(Exception):
    """The metric has no value for a sample; the one-line message gives the reason. It becomes a row without a value.

    Args:
        message: The reason.
        tokens: Tokens of a judging model, which are charged for a failure too.
    """

    def __init__(self, message: str, tokens: Tokens | None = None) -> None:
        super().__init__(message)
        self.tokens = tokens


@dataclass(frozen=True)
class Score:
    """A finite value, in the metric's unit."""

    value: float
    note: str = ""
    """A remark on this value, such as a truncated caption."""
    tokens: Tokens | None = None
    """Tokens of a judging model: zero for stored replies, None without a model or if another metric counts them."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise MetricUndefined(f"the value is {self.value}")


def read_truth(path: Path) -> Image.Image:
    """Read a ground-truth picture of a benchmark as 8-bit RGB.

    Raises:
        MetricUndefined: The file is missing or damaged.
    """
    try:
        return load_image(path)
    except StageError as error:
        raise MetricUndefined(f"the ground truth cannot be read: {error}") from None


class Metric(ABC):
    """Computes one value per sample, independently of runs, result files and tables."""

    name: ClassVar[str]
    unit: ClassVar[str]
    """Unit of the value; empty if it has none."""
    bounds: ClassVar[tuple[float | None, float | None]]
    """Minimum and maximum of the value; None if there is no bound."""
    higher_is_better: ClassVar[bool]
    asks_again: ClassVar[bool] = False
    """Whether the next run scores edits without a value again, for example because a server was not available."""

    @abstractmethod
    def details(self) -> Card:
        """Return everything that the value depends on: implementation and version, backbone, resize, text."""

    @abstractmethod
    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Score one edit.

        Args:
            sample: The benchmark's sample, with its ground truth.
            source: The input image, RGB.
            result: The edit, of the same size.
            captions: The captions to score against, chosen by the caller.

        Raises:
            MetricUndefined: There is no value; the message gives the reason.
        """

    def applies(self, sample: Sample) -> bool:
        """Return whether the metric applies to a sample; mask metrics need a ground-truth mask, for example."""
        return True

    def card(self) -> Card:
        """Return the card: name, unit, bounds, direction and :meth:`details`."""
        basics = {"name": self.name, "unit": self.unit, "bounds": list(self.bounds)}
        return basics | {"direction": "higher" if self.higher_is_better else "lower"} | self.details()

    @property
    def card_id(self) -> str:
        """Hash of the card, 12 hex digits: values with equal ids are comparable."""
        canonical = json.dumps(self.card(), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def package(name: str) -> str:
    """Return a distribution with its installed version, such as ``piq 0.8.0``, for cards."""
    return f"{name} {version(name)}"


def digest(path: Path) -> str:
    """Return the SHA-256 of a weights file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_same_size(source: Image.Image, edited: Image.Image) -> None:
    """Check that two images have the same size.

    Raises:
        MetricUndefined: They have not.
    """
    if source.size != edited.size:
        raise MetricUndefined(f"the edited image is {edited.size}, the source {source.size} (width, height)")
