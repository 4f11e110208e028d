"""Component accuracy (paper §5), judged by a vision-language model: for samples without ground truth.

One request per edit shows the model the input, the mask and the edit, and asks for three verdicts, which are three
metrics. Replies are cached verbatim, so verdicts can be reproduced without a server.
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
from eval.metrics.components.truth import Component
from eval.metrics.components.verdicts import EDITOR, LANGUAGE, SEGMENTER
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
"""Longest side of the pictures sent, in pixels. Servers scale larger pictures down themselves."""

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
"""Identifies the prompts above in cards and cache keys."""


class VlmJudge:
    """A vision-language model on any server with OpenAI's chat completions API.

    An edit with cached replies needs neither server nor key.

    Args:
        model: The server's name of the model.
        base_url: URL such as ``http://localhost:8000/v1``; None uses the environment variable ``OPENAI_BASE_URL``, or
            OpenAI's own server if it is not set. It is not part of cards and cache keys, since several servers may host
            one model.
        revision: Anything that the model's name does not determine, such as a checkpoint's revision on a private
            server.
        temperature: Sampling temperature; None sends none, for models that accept only their default.
        max_tokens: Maximum number of tokens of a reply; None sends no limit.
        timeout: Timeout of one request in seconds.
        max_retries: Number of retries after a network or server error.
        api_key_env: Environment variable that holds the key.

    Raises:
        ConfigError: A setting has a value that is not accepted.
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
        """Judges with equal settings share a :class:`VlmSession`."""


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
    def turns(self) -> list[dict[str, Any]]:
        """The chat that requests the verdicts."""
        parts: list[dict[str, Any]] = []
        for name, picture in self.pictures.items():
            parts += [{"type": "text", "text": f"{name}:"}, {"type": "image_url", "image_url": {"url": _url(picture)}}]
        lines = [*(f"{name}: {' '.join(text.split())}" for name, text in self.texts.items()), self.form]
        parts.append({"type": "text", "text": "\n".join(lines)})
        return [{"role": "system", "content": _TASK}, {"role": "user", "content": parts}]

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
        pictures = {name: hash_image(picture) for name, picture in self.pictures.items()}
        parts = {"pictures": pictures, "texts": self.texts, "asked": self.asked}
        return StageCache.key(Stage.JUDGE, _VERSION, identity=identity, **parts)


class VlmSession:
    """The requests of one run to a judge.

    Args:
        judge: The judge.
        cache: Cache of replies, including those that cannot be parsed.
    """

    def __init__(self, judge: VlmJudge, cache: StageCache) -> None:
        self.judge = judge
        self._cache = cache
        # Three metrics score an edit in turn. The last result is kept so that each edit is requested once, even
        # without a cache or if the server fails.
        self._last: tuple[str, list[Reply] | ServerError] = ("", [])
        self._logged: set[str] = set()

    def verdict(self, component: str, case: Case) -> Score:
        """Return whether a component was right, with the reason as note.

        Raises:
            MetricUndefined: The server gave no reply, or none that can be parsed.
            ConfigError: There is no key, and no cached reply.
        """
        replies = self._replies(case)
        try:
            verdicts = read_verdicts(replies[-1], case.asked)
        except ReplyError as error:
            text = quote(replies[-1].text)
            raise MetricUndefined(f"the judge was asked twice, and still {error}; its reply was {text}") from None
        return Score(float(verdicts.right[component]), verdicts.why)

    def _replies(self, case: Case) -> list[Reply]:
        key = case.key(self.judge.identity)
        if key != self._last[0]:
            self._last = (key, self._recall(case, key))
        replies = self._last[1]
        if isinstance(replies, ServerError):
            raise MetricUndefined(f"no reply of the judge: {replies}")
        return replies

    def _recall(self, case: Case, key: str) -> list[Reply] | ServerError:
        try:
            entry = self._cache.once_json(Stage.JUDGE, key, lambda: {"replies": [_stored(r) for r in self._ask(case)]})
        except ServerError as error:
            if str(error) not in self._logged:  # each error is logged once, not for each edit
                log.warning("no reply of the judge: %s; the same command asks again", error)
                self._logged.add(str(error))
            return error
        return [Reply(**reply) for reply in entry["replies"]]

    def _ask(self, case: Case) -> Iterator[Reply]:
        turns = case.turns
        with self.judge.server.connect() as client:
            reply = self._complete(client, turns, case)
            yield reply
            try:
                read_verdicts(reply, case.asked)
            except ReplyError as error:
                # Some servers refuse an empty turn.
                answer = {"role": "assistant", "content": reply.text.strip() or "(no answer)"}
                correction = {"role": "user", "content": _CORRECTION.format(problem=error) + case.form}
                yield self._complete(client, [*turns, answer, correction], case)

    def _complete(self, client: openai.OpenAI, turns: list[dict[str, Any]], case: Case) -> Reply:
        ask, sampling = self.judge.server.ask_in_json, self.judge.sampling
        return ask(client, turns, case.response_format, otherwise=turns, **sampling)


def _stored(reply: Reply) -> dict[str, Any]:
    return {"text": reply.text, "is_cut": reply.is_cut}


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
        key = (VlmSession, judge.settings, context.cache)
        self.session = context.pool.get(key, lambda: VlmSession(judge, context.cache))

    def details(self) -> Card:
        """See :class:`Metric`; the card names the judge and the prompt, but not the server's URL."""
        shown = f"input, input with the mask in red, edit; at most {SIDE} pixels a side"
        return {"judge": "vlm", **self.session.judge.identity, "shown": shown}

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Return the verdict on the edit. The method's own captions are judged; ``captions`` is not used."""
        case = case_of(sample, source, result)
        if self.component not in case.asked:
            missing = {Stage.LANGUAGE: "language processor", Stage.SEGMENTER: "mask"}
            raise MetricUndefined(f"the method has no {missing[self.component]}")
        return self.session.verdict(self.component, case)


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
    return Case({k: _small(v) for k, v in pictures.items()}, texts, (*components, Stage.EDITOR))


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
    objects = list(_objects(reply.text.rpartition("</think>")[2]))
    if not objects:
        raise ReplyError("the reply was cut off" if reply.is_cut else "the reply has no JSON object")
    values = objects[-1]
    if missing := [name for name in asked if not isinstance(values.get(name), bool)]:
        raise ReplyError(f"the reply has no true or false for {', '.join(missing)}")
    return Verdicts({name: values[name] for name in asked}, " ".join(str(values.get(_WHY, "")).split()))


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the outermost JSON objects of a text."""
    decoder, start = json.JSONDecoder(), text.find("{")
    while start >= 0:
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            yield value
        start = text.find("{", end)


def _small(picture: Image.Image) -> Image.Image:
    small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return small


def _url(picture: Image.Image) -> str:
    data = io.BytesIO()
    picture.save(data, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
