"""Component accuracy (paper §5), judged by a vision-language model: for samples without ground truth.

One request per edit shows the model the input, the mask and the edit, and asks for three verdicts, which are three
metrics. Replies are cached verbatim, so verdicts can be reproduced without a server.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from PIL import Image

from eval.metrics.base import Card, MetricUndefined, Score, require_same_size
from eval.metrics.components.truth import Component
from eval.metrics.components.verdicts import EDITOR, LANGUAGE, SEGMENTER
from eval.metrics.vision import (
    SIDE,
    Inquiry,
    ServerVision,
    Turn,
    VisionSession,
    last_object,
    pictures_key,
    prompt_hash,
    shown,
    user_turn,
)
from instructedit.cache import StageCache
from instructedit.images import overlay
from instructedit.language.base import Reply
from instructedit.language.parse import ReplyError
from instructedit.language.server import json_schema
from instructedit.models import Context
from instructedit.types import Captions, EditResult, Sample, Stage

_VERSION = 1

_TASK = """\
You judge how a picture was edited by a program of three components, each of which can be right or wrong.
language: The language processor reads the user's instruction and writes a segmentation prompt, which names the thing \
to edit, an input caption and an edited caption, which say what the picture shows before and after. It is right if the \
segmentation prompt names the thing that the instruction means, with the words that tell it from similar things in the \
picture, and the edited caption asks for what the instruction asks for.
segmenter: The segmenter marks the place to edit, shown in red. It is right if the red covers the thing that the \
instruction means (where something is added, the thing that it is added to, or the place for it) and little else.
editor: The editor paints the marked place anew. It is right if the edited picture shows what the instruction asks \
for, in the thing that it means. Small blurs do not count.
Judge each on its own: an editor may be right though the red is not, and wrong though the other two are right.\
"""
_FORM = 'Answer with one JSON object and nothing else, in the form {{"why": "one or two sentences", {verdicts}}}.'
_WHY = "why"
PROMPT_HASH = prompt_hash(_TASK, _FORM)
"""Identifies the prompts above in cards and cache keys."""


class VlmJudge(ServerVision):
    """A vision-language model on a server, with the prompts of this module; see :class:`ServerVision`."""

    choice = "judge=vlm"

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.identity = {**self.identity, "prompt": PROMPT_HASH}


@dataclass(frozen=True)
class Case:
    """Pictures and texts of an edit for the model, and the components to judge."""

    pictures: Mapping[str, Image.Image]
    """Pictures by their names in the prompt."""
    texts: Mapping[str, str]
    """Texts by their names in the prompt."""
    asked: tuple[str, ...]
    """The components to judge."""

    @property
    def turns(self) -> list[Turn]:
        """The chat that requests the verdicts."""
        pictures = [part for name, picture in self.pictures.items() for part in (f"{name}:", picture)]
        lines = [*(f"{name}: {' '.join(text.split())}" for name, text in self.texts.items()), self.form]
        return [{"role": "system", "content": _TASK}, user_turn(*pictures, "\n".join(lines))]

    @property
    def form(self) -> str:
        """The prompt's description of the answer's format."""
        return _FORM.format(verdicts=", ".join(f'"{name}": true or false' for name in self.asked))

    @property
    def response_format(self) -> dict[str, Any]:
        """The format of the answer as a JSON schema."""
        # The reason comes first, so that the model generates the verdicts after it.
        fields = {_WHY: {"type": "string"}} | {name: {"type": "boolean"} for name in self.asked}
        schema = {"type": "object", "properties": fields, "required": [*fields], "additionalProperties": False}
        return json_schema("verdicts", schema)

    def key(self, identity: Mapping[str, Any]) -> str:
        """Return the cache key of a judge's replies, from its identity and everything that it is shown."""
        parts = {"pictures": pictures_key(self.pictures), "texts": self.texts, "asked": self.asked}
        return StageCache.key(Stage.JUDGE, _VERSION, identity=identity, **parts)

    def inquiry(self, identity: Mapping[str, Any]) -> Inquiry["Verdicts"]:
        """Return the question to a judge."""
        read = partial(read_verdicts, asked=self.asked)
        return Inquiry(self.key(identity), self.turns, self.response_format, self.form, read)


class ByVlm(Component):
    """A verdict of a vision-language model."""

    asks_again = True
    component: ClassVar[Stage]

    def __init__(self, context: Context, judge: VlmJudge) -> None:
        """Share requests with the other two verdicts of the same judge and run.

        Args:
            context: Its cache stores the replies; each run has its own cache object.
            judge: The judge; judges with equal settings are the same.
        """
        self.session = VisionSession.of(judge, context)

    def details(self) -> Card:
        """See :class:`Metric`; the card names the judge and the prompt, but not the server's URL."""
        views = f"input, input with the mask in red, edit; at most {SIDE} pixels a side"
        return {"judge": "vlm", **self.session.model.identity, "shown": views}

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Return the verdict on the edit. The method's own captions are judged; ``captions`` is not used."""
        case = case_of(sample, source, result)
        if self.component not in case.asked:
            missing = {Stage.LANGUAGE: "language processor", Stage.SEGMENTER: "mask"}
            raise MetricUndefined(f"the method has no {missing[self.component]}")
        answer = self.session.answer(case.inquiry(self.session.model.identity))
        verdicts = answer.get()
        return Score(float(verdicts.right[self.component]), verdicts.why, answer.tokens)


class VlmLanguageRight(ByVlm):
    """Whether the language processor requests the right edit."""

    name = LANGUAGE
    component = Stage.LANGUAGE


class VlmSegmenterRight(ByVlm):
    """Whether the mask covers the region to edit."""

    name = SEGMENTER
    component = Stage.SEGMENTER


class VlmEditorRight(ByVlm):
    """Whether the edited picture shows the requested edit."""

    name = EDITOR
    component = Stage.EDITOR


def case_of(sample: Sample, source: Image.Image, result: EditResult) -> Case:
    """Return the case to judge.

    Raises:
        MetricUndefined: Picture, edit and mask do not have the same size.
    """
    require_same_size(source, result.image)
    pictures, texts, components = {"The picture": source}, {"Instruction": sample.instruction}, []
    prompt, captions = result.decisions.segmentation_prompt, result.decisions.captions
    if prompt is not None and captions is not None:
        components.append(Stage.LANGUAGE)
        texts |= {
            "Segmentation prompt": prompt, "Input caption": captions.input, "Edited caption": captions.edited,
        }  # fmt: skip
    if result.mask is not None:
        components.append(Stage.SEGMENTER)
        try:
            pictures["The picture with what was marked in red"] = overlay(source, result.mask)
        except ValueError as error:
            raise MetricUndefined(str(error)) from None
    pictures["The edited picture"] = result.image
    return Case({k: shown(v) for k, v in pictures.items()}, texts, (*components, Stage.EDITOR))


@dataclass(frozen=True)
class Verdicts:
    """Verdicts parsed from a reply."""

    right: Mapping[str, bool]
    """Whether each component is right."""
    why: str
    """The model's reason."""


def read_verdicts(reply: Reply, asked: Sequence[str]) -> Verdicts:
    """Parse the last JSON object of a reply; text, code fences and ``<think>`` around it are ignored.

    Args:
        reply: The model's reply.
        asked: The components that need a verdict. Verdicts are true or false, not texts or numbers.

    Raises:
        ReplyError: There is no JSON object, or it lacks a verdict.
    """
    values = last_object(reply)
    if missing := [name for name in asked if not isinstance(values.get(name), bool)]:
        raise ReplyError(f"the reply has no true or false for {', '.join(missing)}")
    return Verdicts({name: values[name] for name in asked}, " ".join(str(values.get(_WHY, "")).split()))
