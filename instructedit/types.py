"""What travels between the parts: samples, requests, results and failures. Imports nothing of ours."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from jaxtyping import Bool
from PIL import Image

T = TypeVar("T", bound=Callable[..., Any])
NON_IDENTITY_KEYS = "NON_IDENTITY_KEYS"
"""The attribute of a component (a class, or a function that makes one) that names its parameters outside the identity
of a run: those that change no result, such as a server's address. They are in no run id."""


def non_identity_keys(*keys: str) -> Callable[[T], T]:
    """Declare parameters of the decorated component that change no result."""

    def declare(component: T) -> T:
        setattr(component, NON_IDENTITY_KEYS, frozenset(keys))
        return component

    return declare


class Stage(StrEnum):
    """A stage of an edit, as seconds, function evaluations, failures and the cache name it.

    A method of another package may name stages of its own: wherever a stage is expected, a text will do.
    """

    INPUT = "input"
    """Reading the picture."""
    CAPTIONER = "captioner"
    LANGUAGE = "language"
    SEGMENTER = "segmenter"
    BOXES = "boxes"
    """Part of the segmenter."""
    MASKS = "masks"
    """Part of the segmenter."""
    MASK = "mask"
    """DiffEdit's mask."""
    NOISE_DIFFERENCE = "noise_difference"
    """Part of the mask."""
    EDITOR = "editor"
    INVERSION = "inversion"
    """Part of the editor."""
    RECONSTRUCTION = "reconstruction"
    """Part of the editor."""
    EDIT = "edit"
    """Part of the editor."""
    METHOD = "method"
    """Unknown, because the method raised."""
    JUDGE = "judge"
    """A vision-language model judges the edit."""


@dataclass(frozen=True)
class Captions:
    """The two captions of an edit (paper §3.2)."""

    input: str
    """What the input image shows, c^(i)."""
    edited: str
    """What the edited image shall show, c^(e)."""


@dataclass(frozen=True)
class Truth:
    """What is known to be right for a sample; each field may be missing."""

    mask: Path | None = None
    """PNG, white where the edit belongs, of the image's size."""
    edited: Path | None = None
    """The picture as it is after a perfect edit."""
    referred: str | None = None
    """The segmentation prompt that names the object to edit, such as "bigger cat"."""
    target: str | None = None
    """The noun that the edited region shall show, such as "lion"; None where nothing new appears."""


@dataclass(frozen=True)
class Sample:
    """One line of a benchmark."""

    id: str
    image: Path
    instruction: str
    variations: tuple[str, ...] = ()
    """The same wish in other words."""
    captions: Captions | None = None
    """Written by hand, for the caption-conditioned baselines (paper D.2)."""
    category: str = ""
    """The paper's appendix C: single, same or different."""
    edit: str = ""
    """The paper's §5: change, add, remove or mix."""
    truth: Truth = field(default_factory=Truth)
    image_id: str = ""
    """Equal for samples whose values are not independent, because they share a picture or are turns of one dialogue.
    Where a benchmark's format has none, the benchmark takes the hash of the picture's file."""


@dataclass(frozen=True)
class EditRequest:
    """What a method is asked for."""

    id: str
    image: Image.Image
    """RGB."""
    instruction: str
    captions: Captions | None = None
    seed: int = 0
    """Of the run; a stage that draws noise derives its own generator from it and ``id``."""
    ratio: float | None = None
    """Encoding ratio in place of the method's own; methods without one ignore it."""


@dataclass(frozen=True)
class Box:
    """A detection: corners in pixels of the request's image, score in [0, 1], and the words that it answers."""

    x1: float
    y1: float
    x2: float
    y2: float
    score: float
    phrase: str


@dataclass(frozen=True)
class Tokens:
    """What a language model read and wrote, as servers count and charge it."""

    prompt: int = 0
    completion: int = 0

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(self.prompt + other.prompt, self.completion + other.completion)

    @staticmethod
    def total(parts: Iterable["Tokens | None"]) -> "Tokens | None":
        """The sum of those that were counted; None where none was."""
        counted = [part for part in parts if part is not None]
        return sum(counted, Tokens()) if counted else None


@dataclass(frozen=True)
class Decisions:
    """What each component decided on the way to an edit; None where a method has no such component."""

    description: str | None = None
    reply: str | None = None
    """The language model's words, verbatim."""
    segmentation_prompt: str | None = None
    captions: Captions | None = None
    boxes: tuple[Box, ...] = ()
    ratio: float | None = None
    """The encoding ratio chosen for this sample, where ``wrapper=auto_ratio``."""


@dataclass(frozen=True)
class EditResult:
    """An edited image and how it came about."""

    id: str
    image: Image.Image
    """RGB, of the request's size."""
    mask: Bool[np.ndarray, "h w"] | None = None
    """The region that the method meant to edit, in the request's pixels."""
    decisions: Decisions = field(default_factory=Decisions)
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall-clock seconds of each stage; of a batch, an equal share. A stage read from the cache costs its reading."""
    evaluations: Mapping[str, int] = field(default_factory=dict)
    """Number of function evaluations (NFE) by stage; zero where the cache had the result."""
    tokens: Tokens | None = None
    """Of the language model; zero where the cache had its reply, None where nobody counted."""


@dataclass(frozen=True)
class Failure:
    """A sample that could not be edited. It stays a row of the results."""

    id: str
    stage: str
    """Where it failed: a :class:`Stage`, or what the method calls it."""
    error: str
    """The type of the error."""
    message: str
    decisions: Decisions = field(default_factory=Decisions)
    """What had been decided before."""
    tokens: Tokens | None = None
    """Of the language model, which is paid for its part of a failure too; None where nobody counted."""


class StageError(Exception):
    """A failure of one sample at one stage: becomes a :class:`Failure`, never the end of a sweep.

    Args:
        stage: Where.
        message: Why, on one line.
        tokens: Of a language model, spent on the way.
    """

    def __init__(self, stage: str, message: str, tokens: Tokens | None = None) -> None:
        super().__init__(message)
        self.stage = stage
        self.tokens = tokens


class ConfigError(Exception):
    """The request itself is wrong: one line that names the key or file and what would be accepted. Exit code 2."""


class Method(Protocol):
    """An editing method. A class that derives from it, or has its shape, runs in the harness by its dotted path."""

    needs_captions: bool = False
    """Whether :meth:`edit` needs the requests' captions."""
    takes_ratio: bool = False
    """Whether :meth:`edit` follows the requests' ``ratio``."""

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | Failure]:
        """Edit a batch; one answer a request, in order. Never raises for the sake of one sample."""
        ...
