"""Which component was right (paper §5), as a vision-language model sees it: for pictures that nobody has the truth of.

One request an edit shows the model the input, the mask and the edit and asks for the three verdicts, which are three
metrics. Its replies are kept verbatim, so verdicts can be made again with no server.
"""

import base64
import io
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import openai
from PIL import Image

from eval.metrics.base import Card, MetricUndefined, Score, require_same_size
from eval.metrics.components.truth import Component, EditorRight, LanguageRight, SegmenterRight
from instructedit.cache import StageCache
from instructedit.files import digest
from instructedit.images import hash_image, overlay
from instructedit.language.base import Reply, quote
from instructedit.language.parse import ReplyError
from instructedit.language.server import ChatServer, ServerError, json_schema
from instructedit.models import Context
from instructedit.types import Captions, EditResult, Sample, Stage

log = logging.getLogger(__name__)
_VERSION = 1
SIDE = 1024
"""Longest side of a picture that is sent, in pixels: larger ones are scaled down, by servers if not here."""

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
_CORRECTION = "That answer cannot be used: {problem}. Give it once more. "
_WHY = "why"
PROMPT_HASH = digest([_TASK, _FORM, _CORRECTION, SIDE])[:16]
"""Names the text above in cards and cache keys."""


class VlmJudge:
    """A vision-language model behind any server that speaks OpenAI's chat completions.

    Nothing is sent, and no key is needed, for an edit whose replies are kept.

    Args:
        model: The server's name for it.
        base_url: Such as ``http://localhost:8000/v1``; None for the one in the environment variable
            ``OPENAI_BASE_URL``, or else OpenAI's own. In no card and no key: the same model may stand anywhere.
        revision: What the name leaves open, such as a checkpoint's revision on a server of one's own.
        temperature: None sends none, for models that accept no other than their own.
        max_tokens: Most tokens of a reply; None sends no limit.
        timeout: Seconds that one request may take.
        max_retries: How often a request is repeated after a failure of network or server.
        api_key_env: The environment variable that holds the key.

    Raises:
        ConfigError: A setting cannot be used.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None,
        revision: str | None,
        temperature: float | None,
        max_tokens: int | None,
        timeout: float,
        max_retries: int,
        api_key_env: str,
    ) -> None:
        self.server = ChatServer("judge=vlm", model, base_url, timeout, max_retries, api_key_env)
        self.sampling = {"temperature": temperature, "max_tokens": max_tokens}
        self.identity = {"model": model, "revision": revision, **self.sampling, "prompt": PROMPT_HASH}
        self.settings = (model, base_url, revision, temperature, max_tokens, timeout, max_retries, api_key_env)
        """Judges with equal settings are the same judge."""


@dataclass(frozen=True)
class Case:
    """What the model is shown of an edit; only what is there is asked about."""

    pictures: Mapping[str, Image.Image]
    """By what the model is told of them."""
    texts: Mapping[str, str]
    asked: tuple[str, ...]
    """The components."""

    @property
    def turns(self) -> list[dict[str, Any]]:
        """The chat that asks for the verdicts."""
        parts: list[dict[str, Any]] = []
        for name, picture in self.pictures.items():
            parts += [{"type": "text", "text": f"{name}:"}, {"type": "image_url", "image_url": {"url": _url(picture)}}]
        lines = [*(f"{name}: {' '.join(text.split())}" for name, text in self.texts.items()), self.form]
        parts.append({"type": "text", "text": "\n".join(lines)})
        return [{"role": "system", "content": _TASK}, {"role": "user", "content": parts}]

    @property
    def form(self) -> str:
        """Of the answer."""
        return _FORM.format(verdicts=", ".join(f'"{name}": true or false' for name in self.asked))

    @property
    def response_format(self) -> dict[str, Any]:
        """The form as servers take it that can hold a model to a schema."""
        # The reason comes first, so that the verdicts follow from it and not it from them.
        fields = {_WHY: {"type": "string"}} | {name: {"type": "boolean"} for name in self.asked}
        schema = {"type": "object", "properties": fields, "required": [*fields], "additionalProperties": False}
        return json_schema("verdicts", schema)

    def key(self, identity: Mapping[str, Any]) -> str:
        """Where a judge's replies are kept: by all that it is shown, and all that it is."""
        pictures = {name: hash_image(picture) for name, picture in self.pictures.items()}
        parts = {"pictures": pictures, "texts": self.texts, "asked": self.asked}
        return StageCache.key(Stage.JUDGE, _VERSION, identity=identity, **parts)


class VlmSession:
    """The requests of one run to a judge, and the replies so far.

    Args:
        judge: Whom to ask.
        cache: Keeps replies, those that cannot be read too.
    """

    def __init__(self, judge: VlmJudge, cache: StageCache) -> None:
        self.judge = judge
        self._cache = cache
        # Three metrics ask in turn about one edit: without a cache, or with a server that fails, it is asked once.
        self._last: tuple[str, list[Reply] | ServerError] = ("", [])
        self._told: set[str] = set()

    def verdict(self, component: str, case: Case) -> Score:
        """Whether a component was right, and why.

        Raises:
            MetricUndefined: the server gave no reply, or none that can be read.
            ConfigError: there is no key, and no reply is kept.
        """
        replies = self._replies(case)
        try:
            found = read_verdicts(replies[-1], case.asked)
        except ReplyError as error:
            text = quote(replies[-1].text)
            raise MetricUndefined(f"the judge was asked twice, and still {error}; its reply was {text}") from None
        return Score(float(found.right[component]), found.why)

    def _replies(self, case: Case) -> list[Reply]:
        key = case.key(self.judge.identity)
        if key != self._last[0]:
            self._last = (key, self._recall(case, key))
        said = self._last[1]
        if isinstance(said, ServerError):
            raise MetricUndefined(f"no reply of the judge: {said}")
        return said

    def _recall(self, case: Case, key: str) -> list[Reply] | ServerError:
        if kept := self._cache.get_json(Stage.JUDGE, key):
            return [Reply(**reply) for reply in kept["replies"]]
        try:
            replies = list(self._ask(case))
        except ServerError as error:
            if str(error) not in self._told:  # once, not for each edit while a server is away
                log.warning("no reply of the judge: %s; the same command again asks again", error)
                self._told.add(str(error))
            return error
        kept = [{"text": reply.text, "is_cut": reply.is_cut} for reply in replies]
        self._cache.put_json(Stage.JUDGE, key, {"replies": kept})
        return replies

    def _ask(self, case: Case) -> Iterator[Reply]:
        turns = case.turns
        with self.judge.server.connect() as client:
            reply = self._complete(client, turns, case)
            yield reply
            try:
                read_verdicts(reply, case.asked)
            except ReplyError as error:
                # Some servers refuse an empty turn.
                said = {"role": "assistant", "content": reply.text.strip() or "(no answer)"}
                again = {"role": "user", "content": _CORRECTION.format(problem=error) + case.form}
                yield self._complete(client, [*turns, said, again], case)

    def _complete(self, client: openai.OpenAI, turns: list[dict[str, Any]], case: Case) -> Reply:
        ask, sampling = self.judge.server.ask_in_json, self.judge.sampling
        return ask(client, turns, case.response_format, otherwise=turns, **sampling)


class ByVlm(Component):
    """A verdict of a vision-language model."""

    asks_again = True
    component: ClassVar[Stage]

    def __init__(self, context: Context, judge: VlmJudge) -> None:
        """Share the requests with the other two verdicts of the same judge and run.

        Args:
            context: Its cache keeps the replies; a run has a cache object of its own.
            judge: Whom to ask; equal settings are one judge.
        """
        key = (VlmSession, judge.settings, context.cache)
        self.session = context.pool.get(key, lambda: VlmSession(judge, context.cache))

    def details(self) -> Card:
        """Who judges, and by which instructions; the server's place decides nothing."""
        shown = f"input, input with the mask in red, edit; at most {SIDE} pixels a side"
        return {"judge": "vlm", **self.session.judge.identity, "shown": shown}

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Ask about the edit, or recall what was said; the method's own captions are judged, whatever ``captions``."""
        case = case_of(sample, source, result)
        if self.component not in case.asked:
            lacking = {Stage.LANGUAGE: "language processor", Stage.SEGMENTER: "mask"}
            raise MetricUndefined(f"the method has no {lacking[self.component]}")
        return self.session.verdict(self.component, case)


class VlmLanguageRight(ByVlm):
    """Did the language processor ask for the right edit?"""

    name = LanguageRight.name
    component = Stage.LANGUAGE


class VlmSegmenterRight(ByVlm):
    """Is the mask where the edit belongs?"""

    name = SegmenterRight.name
    component = Stage.SEGMENTER


class VlmEditorRight(ByVlm):
    """Does the edited picture show what was asked for?"""

    name = EditorRight.name
    component = Stage.EDITOR


def case_of(sample: Sample, source: Image.Image, result: EditResult) -> Case:
    """What is to be judged.

    Raises:
        MetricUndefined: picture and mask are not of one size.
    """
    require_same_size(source, result.image)
    pictures, texts, asked = {"The picture": source}, {"Instruction": sample.instruction}, []
    prompt, captions = result.decisions.segmentation_prompt, result.decisions.captions
    if prompt is not None and captions is not None:
        asked.append(Stage.LANGUAGE)
        texts |= {
            "Segmentation prompt": prompt, "Input caption": captions.input, "Edited caption": captions.edited,
        }  # fmt: skip
    if result.mask is not None:
        asked.append(Stage.SEGMENTER)
        try:
            pictures["The picture with what was marked in red"] = overlay(source, result.mask)
        except ValueError as error:
            raise MetricUndefined(str(error)) from None
    pictures["The edited picture"] = result.image
    return Case({k: _small(v) for k, v in pictures.items()}, texts, (*asked, Stage.EDITOR))


@dataclass(frozen=True)
class Verdicts:
    """A reply, read."""

    right: Mapping[str, bool]
    """By component."""
    why: str


def read_verdicts(reply: Reply, asked: Sequence[str]) -> Verdicts:
    """Read the last JSON object of a reply; words, code fences and ``<think>`` around it are left aside.

    Args:
        reply: The model's words.
        asked: The components that need a verdict. Only true and false are verdicts, no words or numbers.

    Raises:
        ReplyError: There is no such object, or it lacks a verdict.
    """
    objects = list(_objects(reply.text.rpartition("</think>")[2]))
    if not objects:
        raise ReplyError("the reply was cut off" if reply.is_cut else "the reply has no JSON object")
    found = objects[-1]
    if lacking := [name for name in asked if not isinstance(found.get(name), bool)]:
        raise ReplyError(f"the reply has no true or false for {', '.join(lacking)}")
    return Verdicts({name: found[name] for name in asked}, " ".join(str(found.get(_WHY, "")).split()))


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The outermost JSON objects in a text."""
    decoder, start = json.JSONDecoder(), text.find("{")
    while start >= 0:
        try:
            found, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            yield found
        start = text.find("{", end)


def _small(picture: Image.Image) -> Image.Image:
    made = picture.convert("RGB")
    made.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return made


def _url(picture: Image.Image) -> str:
    data = io.BytesIO()
    picture.save(data, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
