"""What every metric promises: a name, a direction, a range, and a card that says how its number came about."""

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
from instructedit.types import Captions, EditResult, Sample, StageError

Card = dict[str, Any]
"""JSON values only, and no path: the same metric has the same card on every machine."""


class MetricUndefined(Exception):
    """This sample has no value under this metric, for the reason given in one line. Becomes a row without a value."""


@dataclass(frozen=True)
class Score:
    """A finite value, in the metric's unit."""

    value: float
    note: str = ""
    """What a reader of this one value must know, such as a caption that was cut."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise MetricUndefined(f"the value is {self.value}")


def read_truth(path: Path) -> Image.Image:
    """A picture that a benchmark knows to be right, as 8-bit RGB.

    Raises:
        MetricUndefined: it is missing or damaged; this costs the samples that need it, not the others.
    """
    try:
        return load_image(path)
    except StageError as error:
        raise MetricUndefined(f"the truth cannot be read: {error}") from None


class Metric(ABC):
    """One number a sample. Knows nothing of runs, files of results or tables."""

    name: ClassVar[str]
    unit: ClassVar[str]
    """Of the value; empty where it has none."""
    bounds: ClassVar[tuple[float | None, float | None]]
    """The least and the greatest value possible; None where there is no bound."""
    higher_is_better: ClassVar[bool]
    asks_again: ClassVar[bool] = False
    """Whether an edit without a value is scored again by the next run, as where a server may be back by then."""

    @abstractmethod
    def details(self) -> Card:
        """Everything that decides the number: implementation and version, backbone and revision, resize, text."""

    @abstractmethod
    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Score one edit.

        Args:
            sample: what the benchmark knows, its truth included.
            source: the image before the edit, RGB.
            result: the edit, of the same size.
            captions: the captions to score against; which ones is the caller's choice.

        Raises:
            MetricUndefined: there is no value, and why.
        """

    def applies(self, sample: Sample) -> bool:
        """Whether a value can be expected at all; a sample without a true mask, say, needs no row of a mask metric."""
        return True

    def card(self) -> Card:
        """What a reader needs to compare this number with another."""
        own = {"name": self.name, "unit": self.unit, "bounds": list(self.bounds)}
        return own | {"direction": "higher" if self.higher_is_better else "lower"} | self.details()

    @property
    def card_id(self) -> str:
        """Twelve hex digits of the card's content: equal ids mean comparable numbers."""
        canonical = json.dumps(self.card(), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def package(name: str) -> str:
    """A distribution and its installed version, as a card names it: ``piq 0.8.0``."""
    return f"{name} {version(name)}"


def digest(path: Path) -> str:
    """SHA-256 of a weights file: identity without a path."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_same_size(source: Image.Image, edited: Image.Image) -> None:
    """Refuse a comparison that a silent resize would falsify."""
    if source.size != edited.size:
        raise MetricUndefined(f"the edited image is {edited.size}, the source {source.size} (width, height)")
