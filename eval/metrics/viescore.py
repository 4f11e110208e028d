"""VIEScore (Ku et al., ACL 2024): a vision-language model gives two scores, each the minimum of two sub-scores.

Semantic consistency (SC) is the minimum of how well the edit follows the instruction and how little else it changes,
judged on input and edit; perceptual quality (PQ) is the minimum of naturalness and freedom of artifacts, judged on the
edit alone. The overall score is sqrt(SC PQ), as the ``VIEScore.evaluate`` of the authors' code and GEdit-Bench compute
it. Every edit is judged several times, and the standard deviation of the overall score is a metric of its own.

The prompts state the authors' rules in our own words; ``prompts`` reads the authors' own texts from a folder.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from statistics import fmean, stdev
from typing import Any

from PIL import Image

from eval.metrics import vision
from eval.metrics.base import Card, Metric, MetricUndefined, Score
from instructedit.cache import StageCache
from instructedit.checks import is_number, require_whole
from instructedit.files import kind_of_file, located
from instructedit.language.base import Reply
from instructedit.language.parse import ReplyError
from instructedit.language.server import json_schema
from instructedit.models import Context
from instructedit.types import Captions, ConfigError, EditResult, Sample, Stage, Tokens

_VERSION = 1
SCALE = 10.0
"""Values are on a scale from 0 to this."""
INSTRUCTION = "<instruction>"
"""Stands for the instruction in a prompt."""
_SEMANTIC = """\
You rate an edit of a picture. The first picture is the original, the second one is the edited version. The two may be \
equal, if the edit failed.
Give two scores from 0 to {scale}:
1. How well the edit follows the instruction: 0 if the edited picture does not follow it at all, {scale} if it follows \
it perfectly.
2. How little else was changed: 0 if the edited picture is completely different from the original, {scale} if it is a \
minimal edit that is effective all the same.
Editing instruction: <instruction>"""
_QUALITY = """\
You rate the quality of a generated picture, whatever it shows.
Give two scores from 0 to {scale}:
1. Naturalness: 0 if it looks unnatural, such as by a wrong sense of distance, wrong shadows or wrong light, {scale} \
if it looks natural.
2. Freedom of artifacts: 0 if there are many distortions, watermarks, scratches, blurred faces, unusual body parts or \
parts that do not harmonise, {scale} if there are none."""
_FORM = (
    'Answer with one JSON object and nothing else, in the form {"reasoning": "one or two sentences", '
    '"score": [first, second]}.'
)
_SCHEMA = json_schema(
    "scores",
    {
        "type": "object",
        "properties": {
            "reasoning": {"type": "string"},
            "score": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
        },
        "required": ["reasoning", "score"],
        "additionalProperties": False,
    },
)
FILES = {"semantic": "semantic.txt", "quality": "quality.txt"}
"""Files of a folder of prompts."""


@dataclass(frozen=True)
class Prompts:
    """The two prompts, complete with the answer's form."""

    semantic: str
    quality: str
    form: str

    @property
    def hash(self) -> str:
        """Identifies the prompts in cards and cache keys."""
        return vision.prompt_hash(self.semantic, self.quality, self.form)


def prompts_of(folder: str | None, scale: int) -> Prompts:
    """Return this module's prompts, or those of a folder with ``semantic.txt`` and ``quality.txt``.

    A prompt of a folder is sent as it is, with ``<instruction>`` replaced; it must ask for a JSON object with a list
    ``score``.

    Raises:
        ConfigError: A file is missing, or ``semantic.txt`` has no ``<instruction>``.
    """
    if folder is None:
        semantic, quality = (f"{text}\n{_FORM}".replace("{scale}", str(scale)) for text in (_SEMANTIC, _QUALITY))
        return Prompts(semantic, quality, _FORM)
    texts = []
    for name in FILES.values():
        path = located(folder) / name
        try:
            texts.append(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            raise ConfigError(f"viescore.prompts: {path}: {kind_of_file(path)}; a text is expected") from None
    if INSTRUCTION not in texts[0]:
        raise ConfigError(f"viescore.prompts: {located(folder) / FILES['semantic']}: {INSTRUCTION} is expected in it")
    semantic, quality = texts
    return Prompts(semantic, quality, _FORM)


@dataclass(frozen=True)
class Scores:
    """The sub-scores of one question on the scale of the prompt, and the reason."""

    values: tuple[float, ...]
    why: str


def read_scores(reply: Reply, scale: int) -> Scores:
    """Parse the last JSON object of a reply.

    Args:
        reply: The model's reply, with ``score``: a number, or a list of numbers.
        scale: Maximum of a score; the minimum is 0.

    Raises:
        ReplyError: There is no JSON object, or it lacks scores in the range.
    """
    found = vision.last_object(reply)
    values = found.get("score")
    listed: list[Any] = values if isinstance(values, list) else [values]
    if not listed or not all(is_number(v) and 0 <= v <= scale for v in listed):
        raise ReplyError(f"the reply has no score from 0 to {scale}")
    return Scores(tuple(float(v) for v in listed), " ".join(str(found.get("reasoning", "")).split()))


@dataclass(frozen=True)
class Judgement:
    """One judgement of an edit, on a scale from 0 to 10."""

    semantic: float
    quality: float
    why: str

    @property
    def overall(self) -> float:
        """sqrt(SC PQ)."""
        return math.sqrt(self.semantic * self.quality)


class VieMetric(Metric):
    """Base of the metrics of one judgement, which share their questions.

    Args:
        context: Its cache stores the replies; each run has its own cache object.
        vlm: The judging model.
        repeats: How many times each edit is judged; the value is the mean.
        scale: Maximum of the model's scores; values are converted to 0 to 10. EditScore's models use 25.
        prompts: Folder of other prompts, see :func:`prompts_of`.

    Raises:
        ConfigError: An argument is not accepted.
    """

    asks_again = True
    unit = ""
    bounds = (0.0, SCALE)
    higher_is_better = True

    def __init__(
        self, context: Context, vlm: vision.VisionModel, repeats: int, scale: int, prompts: str | None
    ) -> None:
        require_whole("viescore.repeats", repeats, 1)
        require_whole("viescore.scale", scale, 1)
        self.session = vision.VisionSession.of(vlm, context)
        self.repeats, self.scale, self.prompts = repeats, scale, prompts_of(prompts, scale)

    def details(self) -> Card:
        """See :class:`Metric`; the card names the model and the prompts, but not the server's URL."""
        return {
            "implementation": "own, after VIEScore",
            "vlm": dict(self.session.model.identity),
            "prompts": self.prompts.hash,
            "judged": f"{self.repeats} times; without a value if one of the replies is missing or cannot be read",
            "model's scale": self.scale,
            "shown": f"input and edit for SC, the edit for PQ; at most {vision.SIDE} pixels a side",
        }

    @abstractmethod
    def reduce(self, judgements: list[Judgement]) -> float:
        """Return the metric's value from all judgements of an edit."""

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Return the model's judgement; ``captions`` is not used."""
        spent: list[Tokens | None] = []
        try:
            judgements = [self._judged(sample, source, result, attempt, spent) for attempt in range(self.repeats)]
        except MetricUndefined as error:
            raise MetricUndefined(str(error), Tokens.total(spent)) from None
        overall = ", ".join(f"{judgement.overall:.2f}" for judgement in judgements)
        note = f"judged {self.repeats} times: {overall}; first: {judgements[0].why}"
        return Score(self.reduce(judgements), note, Tokens.total(spent))

    def _judged(
        self, sample: Sample, source: Image.Image, result: EditResult, attempt: int, spent: list[Tokens | None]
    ) -> Judgement:
        text = self.prompts.semantic.replace(INSTRUCTION, " ".join(sample.instruction.split()))
        answers = []
        for pictures, question in (((source, result.image), text), ((result.image,), self.prompts.quality)):
            answers.append(self._ask(pictures, question, attempt))
            spent.append(answers[-1].tokens)
        semantic, quality = (answer.get() for answer in answers)
        unit = SCALE / self.scale
        return Judgement(unit * min(semantic.values), unit * min(quality.values), semantic.why)

    def _ask(self, pictures: tuple[Image.Image, ...], text: str, attempt: int) -> vision.Answer[Scores]:
        small = {str(number): vision.shown(picture) for number, picture in enumerate(pictures)}
        parts: dict[str, Any] = {
            "pictures": vision.pictures_key(small),
            "text": text,
            "scale": self.scale,
            "attempt": attempt,
        }
        identity: Mapping[str, Any] = self.session.model.identity
        key = StageCache.key(Stage.JUDGE, _VERSION, identity=identity, prompts=self.prompts.hash, **parts)
        turn = vision.user_turn(text, *small.values())
        read = partial(read_scores, scale=self.scale)
        return self.session.answer(vision.Inquiry(key, [turn], _SCHEMA, self.prompts.form, read, attempt))


class VieOverall(VieMetric):
    """VIEScore's overall score, sqrt(SC PQ)."""

    name = "viescore"

    def reduce(self, judgements: list[Judgement]) -> float:
        """Return the mean."""
        return fmean(j.overall for j in judgements)


class VieSemantic(VieMetric):
    """VIEScore's semantic consistency (SC)."""

    name = "viescore_semantic"

    def reduce(self, judgements: list[Judgement]) -> float:
        """Return the mean."""
        return fmean(j.semantic for j in judgements)


class VieQuality(VieMetric):
    """VIEScore's perceptual quality (PQ)."""

    name = "viescore_quality"

    def reduce(self, judgements: list[Judgement]) -> float:
        """Return the mean."""
        return fmean(j.quality for j in judgements)


class VieSpread(VieMetric):
    """Standard deviation of the overall score among the judgements of one edit: the noise of the judge."""

    name = "viescore_spread"
    higher_is_better = False

    def applies(self, sample: Sample) -> bool:
        """Return whether edits are judged more than once."""
        return self.repeats > 1

    def reduce(self, judgements: list[Judgement]) -> float:
        """Return the sample standard deviation."""
        return stdev(j.overall for j in judgements)
