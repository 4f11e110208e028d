"""Types shared by all packages: samples, requests, results and failures. This module imports no other of ours."""

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
    """Caption of the input image, c^(i)."""
    edited: str
    """Caption of the edited image, c^(e)."""


@dataclass(frozen=True)
class Question:
    """A multiple-choice question about an edited image."""

    text: str
    options: tuple[str, ...]
    answer: str
    """The option that is right if the edit is."""


@dataclass(frozen=True)
class Truth:
    """Ground truth of a sample; each field may be missing."""

    mask: Path | None = None
    """Ground-truth mask: PNG, white inside, of the image's size."""
    edited: Path | None = None
    """Reference edit."""
    referred: str | None = None
    """Referring expression of the object to edit, such as "bigger cat"."""
    target: str | None = None
    """The noun that the edited region should show, such as "lion"; None if nothing new appears."""
    question: Question | None = None
    """A question whose answer says whether the edit was made (GIE-Bench)."""


@dataclass(frozen=True)
class Sample:
    """One sample of a benchmark."""

    id: str
    image: Path
    instruction: str
    variations: tuple[str, ...] = ()
    """Paraphrases of the instruction."""
    captions: Captions | None = None
    """Captions written by hand, for the caption-conditioned baselines (paper D.2)."""
    category: str = ""
    """Category of the paper's appendix C: single, same or different."""
    edit: str = ""
    """Edit type of the paper's §5: change, add, remove or mix."""
    truth: Truth = field(default_factory=Truth)
    image_id: str = ""
    """Equal for samples whose values are not independent, because they share a picture or are turns of one dialogue.
    If a benchmark's format has no such id, it is the hash of the picture's file."""


@dataclass(frozen=True)
class Restart:
    """Another picture of the same view from which sampling starts, as Instruct-NeRF2NeRF's dataset update does.

    The request's own image remains what the edit is conditioned on: where an object is and what stays as it was.
    """

    image: Image.Image
    """The current render, RGB, of the size of the request's image."""
    noise: float
    """Noise level at which sampling starts, in (0, 1]: a share of the training timesteps."""
    steps: int
    """Sampling steps from that level to the image; they replace the method's own."""
    draw: int = 0
    """Number of the update, so that each draws other noise."""


@dataclass(frozen=True)
class EditRequest:
    """Input of a method for one sample."""

    id: str
    image: Image.Image
    """RGB."""
    instruction: str
    captions: Captions | None = None
    seed: int = 0
    """The run's seed; a stage that draws noise derives its generator from the seed and ``id``."""
    ratio: float | None = None
    """Encoding ratio that replaces the method's own; methods without one ignore it."""
    restart: Restart | None = None
    """Methods that know no restart (``takes_restart`` is false) ignore it and edit the image."""


@dataclass(frozen=True)
class Box:
    """A detection: corners in pixels of the request's image, score in [0, 1], and the matched words of the prompt."""

    x1: float
    y1: float
    x2: float
    y2: float
    score: float
    phrase: str


@dataclass(frozen=True)
class Tokens:
    """Numbers of prompt and completion tokens of a language model, as servers count and charge them."""

    prompt: int = 0
    completion: int = 0

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(self.prompt + other.prompt, self.completion + other.completion)

    @staticmethod
    def total(parts: Iterable["Tokens | None"]) -> "Tokens | None":
        """Return the sum of the counts that are not None; None if all are."""
        counted = [part for part in parts if part is not None]
        return sum(counted, Tokens()) if counted else None


@dataclass(frozen=True)
class PipelineCall:
    """What another library's pipeline was given, and the size of what it returned (``method=pipeline``)."""

    arguments: Mapping[str, Any]
    """Arguments as JSON values, without the generator; a picture is described by its mode and size."""
    returned: tuple[int, int]
    """Width and height of the picture that came back, before it was resized to the request's size."""


@dataclass(frozen=True)
class Decisions:
    """Intermediate results of an edit; None if a method lacks the component."""

    description: str | None = None
    reply: str | None = None
    """The language model's reply, verbatim."""
    segmentation_prompt: str | None = None
    captions: Captions | None = None
    boxes: tuple[Box, ...] = ()
    ratio: float | None = None
    """The encoding ratio that ``wrapper=auto_ratio`` chose for this sample."""
    reconstruction: tuple[float, ...] | None = None
    """PSNR in dB of each frame of an unedited clip as its field reconstructs it (``wrapper=video``), at most 100."""
    call: PipelineCall | None = None


@dataclass(frozen=True)
class EditResult:
    """An edited image, with intermediate results and costs."""

    id: str
    image: Image.Image
    """RGB, of the request's size."""
    mask: Bool[np.ndarray, "h w"] | None = None
    """The mask that the method used, at the size of the request's image."""
    decisions: Decisions = field(default_factory=Decisions)
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall-clock seconds by stage; the time of a batch is divided equally among its samples. For a cached stage, this
    is the time to read the cache."""
    evaluations: Mapping[str, int] = field(default_factory=dict)
    """Number of function evaluations (NFE) by stage; zero for a cached result."""
    tokens: Tokens | None = None
    """Tokens of the language model; zero for a cached reply, None if they were not counted."""
    cached_evaluations: Mapping[str, int] = field(default_factory=dict)
    """NFE by stage that the cache saved; without a cache, the edit takes these and ``evaluations``."""


@dataclass(frozen=True)
class Failure:
    """A sample that could not be edited. It is a row of the results, too."""

    id: str
    stage: str
    """The stage that failed: a :class:`Stage`, or what the method calls it."""
    error: str
    """Type of the error."""
    message: str
    decisions: Decisions = field(default_factory=Decisions)
    """Intermediate results before the failure."""
    tokens: Tokens | None = None
    """Tokens of the language model, which are charged for a failure too; None if they were not counted."""


class StageError(Exception):
    """A failure of one sample at one stage. It becomes a :class:`Failure` and does not end the run.

    Args:
        stage: The stage.
        message: The reason, on one line.
        tokens: Tokens that a language model used before the failure.
    """

    def __init__(self, stage: str, message: str, tokens: Tokens | None = None) -> None:
        super().__init__(message)
        self.stage = stage
        self.tokens = tokens


class ConfigError(Exception):
    """The configuration is wrong. The one-line message names the key or file and the accepted values. Exit code 2."""


class Method(Protocol):
    """An editing method. Classes that derive from it or match the protocol run in the harness by their dotted path."""

    needs_captions: bool = False
    """Whether :meth:`edit` needs the requests' captions."""
    takes_ratio: bool = False
    """Whether :meth:`edit` uses the requests' ``ratio``."""
    works_at_full_size: bool = False
    """Whether :meth:`edit` gets pictures at their own size, whatever ``max_side`` is."""
    takes_restart: bool = False
    """Whether :meth:`edit` uses the requests' ``restart``."""

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | Failure]:
        """Edit a batch and return one result per request, in order. The failure of a sample raises no error."""
        ...
