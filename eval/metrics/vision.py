"""Questions to a vision-language model about pictures, for metrics that a model judges.

A model is on any server with OpenAI's chat completions API, or a checkpoint on this machine. Replies are stored
verbatim and replayed. A reply that is missing, filtered or cannot be read is an undefined value, never a number, and is
not stored, so the next run asks again.
"""

import base64
import io
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from eval.metrics.base import MetricUndefined
from instructedit.checks import is_number, require, require_whole
from instructedit.files import digest
from instructedit.images import hash_image
from instructedit.language.base import Reply, quote
from instructedit.language.parse import ReplyError
from instructedit.language.prices import prices_of
from instructedit.language.server import ChatServer, ServerError
from instructedit.models import Checkpoint, Context
from instructedit.types import Stage, Tokens

log = logging.getLogger(__name__)
T = TypeVar("T")
Turn = dict[str, Any]
SIDE = 1024
"""Longest side of the pictures shown, in pixels. Servers scale larger pictures down themselves."""
CORRECTION = "That answer cannot be used: {problem}. Give it once more. "


class VisionModel(ABC):
    """A model that sees pictures and answers."""

    identity: Mapping[str, Any]
    """Everything that the replies depend on, for cards and cache keys: JSON values without secrets or places."""
    settings: tuple[Any, ...]
    """Models with equal settings are the same."""

    @abstractmethod
    def ask(self, context: Context, turns: Sequence[Turn], schema: Mapping[str, Any], attempt: int) -> Reply:
        """Continue a chat.

        Args:
            context: Model pool and device.
            turns: Of OpenAI's chat format, such as :func:`user_turn`.
            schema: The answer's format as a JSON schema, for servers that take one.
            attempt: Number of this judgement among those of the same pictures, from 0; it seeds the sampling.

        Raises:
            ServerError: There is no reply.
            ConfigError: There is no key, or the checkpoint is missing.
        """


class ServerVision(VisionModel):
    """A model on a server with OpenAI's chat completions API. Stored replies need neither server nor key.

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
        prices: US dollars per million ``prompt`` and ``completion`` tokens, for the report's costs.

    Raises:
        ConfigError: A setting has a value that is not accepted.
    """

    NON_IDENTITY_KEYS = frozenset({"base_url", "timeout", "max_retries", "api_key_env", "prices"})
    choice = "vlm=openai"

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
        prices: Mapping[str, float | None] | None = None,
    ) -> None:
        self.server = ChatServer(self.choice, model, base_url, timeout, max_retries, api_key_env)
        prices_of(prices, f"{self.choice.partition('=')[0]}.prices")
        self.sampling = {"temperature": temperature, "max_tokens": max_tokens}
        self.identity = {"model": model, "revision": revision, **self.sampling}
        self.settings = (model, base_url, revision, temperature, max_tokens, timeout, max_retries, api_key_env)

    def ask(self, context: Context, turns: Sequence[Turn], schema: Mapping[str, Any], attempt: int) -> Reply:
        """See :class:`VisionModel`."""
        with self.server.connect() as client:
            options = self.sampling | {"seed": attempt or None}
            return self.server.ask_in_json(client, turns, schema, otherwise=turns, **options)


class LocalVision(VisionModel):
    """A checkpoint on this machine, of any image-text-to-text class of transformers with a chat template.

    Args:
        checkpoint: The model with its processor.
        temperature: Sampling temperature; 0 decodes greedily.
        max_new_tokens: Maximum number of tokens of a reply.

    Raises:
        ConfigError: A setting has a value that is not accepted.
    """

    def __init__(self, checkpoint: Checkpoint, temperature: float, max_new_tokens: int) -> None:
        accepted = "numbers from 0 on"
        require(is_number(temperature) and temperature >= 0, "vlm.temperature", temperature, accepted)
        require_whole("vlm.max_new_tokens", max_new_tokens, 1)
        self.checkpoint, self.temperature, self.max_new_tokens = checkpoint, temperature, max_new_tokens
        fields = {"temperature": temperature, "max_tokens": max_new_tokens}
        self.identity = {"model": checkpoint.id, "revision": checkpoint.version, "dtype": checkpoint.dtype, **fields}
        self.settings = (checkpoint, temperature, max_new_tokens)

    @torch.inference_mode()
    def ask(self, context: Context, turns: Sequence[Turn], schema: Mapping[str, Any], attempt: int) -> Reply:
        """See :class:`VisionModel`; the schema is not used."""
        processor = context.pool.processor(AutoProcessor, self.checkpoint)
        model = context.pool.model(AutoModelForImageTextToText, self.checkpoint, context.device)
        inputs = processor.apply_chat_template(
            [_for_processor(turn) for turn in turns], add_generation_prompt=True, tokenize=True, return_dict=True,
            return_tensors="pt",
        ).to(model.device, dtype=model.dtype)  # fmt: skip
        sampling = {"do_sample": True, "temperature": self.temperature} if self.temperature else {"do_sample": False}
        with torch.random.fork_rng([model.device] if model.device.type == "cuda" else []):
            torch.manual_seed(attempt)  # transformers takes no generator
            tokens = model.generate(**inputs, max_new_tokens=self.max_new_tokens, **sampling)[0]
        asked = inputs["input_ids"].shape[1]
        text = processor.decode(tokens[asked:], skip_special_tokens=True)
        used = len(tokens) - asked
        return Reply(text, used >= self.max_new_tokens, Tokens(asked, used))


def user_turn(*parts: str | Image.Image) -> Turn:
    """Return a user's turn of texts and pictures; a picture is sent as a PNG of at most :data:`SIDE` pixels a side."""
    return {"role": "user", "content": [_text(p) if isinstance(p, str) else _picture(p) for p in parts]}


def _picture(picture: Image.Image) -> Turn:
    data = io.BytesIO()
    shown(picture).save(data, format="PNG")
    url = f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def _text(text: str) -> Turn:
    return {"type": "text", "text": text}


def shown(picture: Image.Image) -> Image.Image:
    """Return a picture as models see it: RGB, at most :data:`SIDE` pixels a side."""
    small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return small


def _for_processor(turn: Turn) -> Turn:
    """Return a turn with its pictures as transformers' chat templates expect them."""
    if isinstance(turn["content"], str):
        return turn | {"content": [_text(turn["content"])]}
    parts = []
    for part in turn["content"]:
        if part["type"] == "image_url":
            data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
            part = {"type": "image", "image": Image.open(io.BytesIO(data)).convert("RGB")}
        parts.append(part)
    return turn | {"content": parts}


def pictures_key(pictures: Mapping[str, Image.Image]) -> dict[str, str]:
    """Return the hashes of pictures by name, for cache keys."""
    return {name: hash_image(picture) for name, picture in pictures.items()}


@dataclass(frozen=True)
class Inquiry(Generic[T]):
    """A question to a model."""

    key: str
    """Cache key, from everything that the reply depends on."""
    turns: list[Turn]
    schema: Mapping[str, Any]
    """The answer's format as a JSON schema."""
    form: str
    """The answer's format in words, for the correction."""
    read: Callable[[Reply], T]
    """Reads a reply, or raises :class:`ReplyError`."""
    attempt: int = 0


@dataclass(frozen=True)
class Answer(Generic[T]):
    """The answer to an inquiry, or the reason why there is none."""

    value: T | None
    problem: str = ""
    tokens: Tokens | None = None
    """Tokens that this inquiry used now: zero for stored replies, None if they are counted elsewhere or unknown."""

    def get(self) -> T:
        """Return the value.

        Raises:
            MetricUndefined: There is none.
        """
        if self.value is None:
            raise MetricUndefined(self.problem, self.tokens)
        return self.value


class VisionSession:
    """The inquiries of one run to a model.

    Args:
        model: The model.
        context: Model pool, and the cache of replies.
    """

    def __init__(self, model: VisionModel, context: Context) -> None:
        self.model = model
        self._context = context
        # Several metrics score an edit in turn. Answers are kept so that each is requested once, even without a cache
        # or if the server fails.
        self._recent: dict[str, Answer[Any]] = {}
        self._logged: set[str] = set()

    @classmethod
    def of(cls, model: VisionModel, context: Context) -> "VisionSession":
        """Return the session that all metrics of a run with an equal model share; each run has a cache of its own."""
        key = (cls, type(model), model.settings, context.cache)
        return context.pool.get(key, lambda: cls(model, context))

    def answer(self, inquiry: Inquiry[T]) -> Answer[T]:
        """Return the answer; its tokens are returned with the first of equal inquiries only.

        Raises:
            ConfigError: There is no key or no checkpoint, and no stored reply.
        """
        if inquiry.key in self._recent:
            return self._recent[inquiry.key]
        answer = self._recall(inquiry)
        if len(self._recent) >= 64:
            self._recent.clear()
        self._recent[inquiry.key] = replace(answer, tokens=None)
        return answer

    def _recall(self, inquiry: Inquiry[T]) -> Answer[T]:
        asked: list[Reply] = []

        def compute() -> dict[str, Any]:
            self._ask(inquiry, asked)
            return {"replies": [{"text": reply.text, "is_cut": reply.is_cut} for reply in asked]}

        try:
            entry = self._context.cache.once_json(Stage.JUDGE, inquiry.key, compute)
            value = inquiry.read(Reply(**entry["replies"][-1]))
        except ServerError as error:
            if str(error) not in self._logged:  # each error is logged once, not for each edit
                log.warning("no reply of the judge: %s; the same command asks again", error)
                self._logged.add(str(error))
            return Answer(None, f"no reply of the judge: {error}", _spent(asked))
        except ReplyError as error:
            text = quote(asked[-1].text) if asked else "stored by an earlier version"
            return Answer(None, f"the judge was asked twice, and still {error}; its reply was {text}", _spent(asked))
        return Answer(value, tokens=_spent(asked))

    def _ask(self, inquiry: Inquiry[T], asked: list[Reply]) -> None:
        """Ask, and once more if the reply cannot be read; replies are appended to ``asked``."""
        turns = inquiry.turns
        asked.append(self.model.ask(self._context, turns, inquiry.schema, inquiry.attempt))
        try:
            inquiry.read(asked[-1])
        except ReplyError as error:
            # Some servers refuse an empty turn.
            answer = {"role": "assistant", "content": asked[-1].text.strip() or "(no answer)"}
            correction = {"role": "user", "content": CORRECTION.format(problem=error) + inquiry.form}
            more = [*turns, answer, correction]
            asked.append(self.model.ask(self._context, more, inquiry.schema, inquiry.attempt))
            inquiry.read(asked[-1])


def _spent(asked: Sequence[Reply]) -> Tokens | None:
    return Tokens.total(reply.tokens for reply in asked) if asked else Tokens()


def last_object(reply: Reply) -> dict[str, Any]:
    """Return the last JSON object of a reply; text, code fences and ``<think>`` around it are ignored.

    Raises:
        ReplyError: There is none.
    """
    found = list(_objects(reply.text.rpartition("</think>")[2]))
    if not found:
        raise ReplyError("the reply was cut off" if reply.is_cut else "the reply has no JSON object")
    return found[-1]


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


def prompt_hash(*texts: str) -> str:
    """Return a hash of prompts for cards and cache keys."""
    return digest([*texts, CORRECTION, SIDE])[:16]
