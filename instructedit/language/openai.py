"""The language processor on a server that speaks OpenAI's chat completions: OpenAI's own, vLLM, llama.cpp, ..."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast
from urllib.parse import urlsplit

import openai
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam

from instructedit.language.base import STAGE, Reply, converse, quote
from instructedit.language.parse import Parsed
from instructedit.language.prompt import PROMPT_HASH, Message, messages
from instructedit.types import ConfigError, StageError

_NO_COMPLETION = "the answer is no chat completion; does the URL end with /v1?"


class OpenAILanguage:
    """Replies of a model behind an HTTP server.

    Nothing is sent, and no key is needed, before the first :meth:`parse`: kept replies can be read without either.

    Args:
        model: The server's name for it; the paper used ``gpt-3.5-turbo``.
        base_url: Of the server, such as ``http://localhost:8000/v1``; None for the one in the environment variable
            ``OPENAI_BASE_URL``, or else OpenAI's own.
        revision: What the name leaves open, such as a checkpoint's revision or quantization on a server of one's own.
            It stands in cache keys; the URL does not, since the same model may stand anywhere.
        temperature: 0.6, as in the released code; None sends none, for models that accept no other than their own.
        max_tokens: Most tokens of a reply; None sends no limit, for models that refuse the parameter. The released
            code's 40 cut "Editing prompt 2".
        timeout: Seconds that one request may take.
        max_retries: How often a request is repeated after a failure of the network, a refusal for too many requests,
            or a failure of the server.
        concurrency: Requests under way at a time.
        api_key_env: The environment variable that holds the key; servers without keys take any value.

    Raises:
        ConfigError: ``base_url`` is no URL, or holds a password, which would be logged.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        revision: str | None = None,
        temperature: float | None = 0.6,
        max_tokens: int | None = 200,
        timeout: float = 60.0,
        max_retries: int = 2,
        concurrency: int = 4,
        api_key_env: str = "OPENAI_API_KEY",
    ) -> None:
        self._model = model
        self._base_url = _checked_url(base_url or os.environ.get("OPENAI_BASE_URL"))
        self._revision = revision
        self._sampling = {"temperature": temperature, "max_tokens": max_tokens}
        self._timeout = timeout
        self._max_retries = max_retries
        self._concurrency = concurrency
        self._api_key_env = api_key_env

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides the answers."""
        made_by = {"backend": "openai", "model": self._model, "revision": self._revision}
        return {**made_by, **self._sampling, "prompt": PROMPT_HASH}

    def parse(self, instructions: Sequence[str], descriptions: Sequence[str | None]) -> list[Parsed | StageError]:
        """Parse a batch; see :class:`instructedit.language.base.LanguageProcessor`.

        Raises:
            ConfigError: There is no key; no request was made.
        """
        chats = [messages(i, d) for i, d in zip(instructions, descriptions, strict=True)]
        with self._connect() as client, ThreadPoolExecutor(self._concurrency) as pool:
            return converse(lambda batch: list(pool.map(lambda chat: self._ask(client, chat), batch)), chats)

    def _connect(self) -> openai.OpenAI:
        key = os.environ.get(self._api_key_env, "").strip()
        if not key:
            hint = "set it to the server's key (for a server without keys, to anything)"
            raise ConfigError(f"language=openai: the environment variable {self._api_key_env} is empty; {hint}")
        return openai.OpenAI(api_key=key, base_url=self._base_url, timeout=self._timeout, max_retries=self._max_retries)

    def _ask(self, client: openai.OpenAI, chat: list[Message]) -> Reply | StageError:
        sampling: dict[str, Any] = {name: value for name, value in self._sampling.items() if value is not None}
        turns = cast(list[ChatCompletionMessageParam], chat)
        try:
            completion = client.chat.completions.create(model=self._model, messages=turns, **sampling)
        except openai.OpenAIError as error:
            return self._failure(client, _reason(error))
        except ValueError:  # what calls itself JSON and is not
            return self._failure(client, _NO_COMPLETION)
        # The package does not check what a server sends: a web page comes through as text, a lacking field as None.
        choice = completion.choices[0] if isinstance(completion, ChatCompletion) and completion.choices else None
        message = getattr(choice, "message", None)
        if choice is None or message is None:
            return self._failure(client, _NO_COMPLETION)
        if choice.finish_reason == "content_filter" or message.refusal:
            return self._failure(client, f"the model refuses to answer ({message.refusal or choice.finish_reason})")
        return Reply(message.content or "", is_cut=choice.finish_reason == "length")

    def _failure(self, client: openai.OpenAI, reason: str) -> StageError:
        # Servers are known to repeat a wrong key in their complaint about it.
        reason = reason.replace(client.api_key, "[key]")
        url = urlsplit(str(client.base_url))
        return StageError(STAGE, f"{self._model} at {url.netloc}: {quote(reason)}")


def _reason(error: openai.OpenAIError) -> str:
    if isinstance(error, openai.APITimeoutError):
        return "no answer in time"
    if isinstance(error, openai.APIConnectionError):
        return f"no connection ({error.__cause__ or error})"
    return str(error)


def _checked_url(url: str | None) -> str | None:
    parts = urlsplit(url or "https://")
    if parts.scheme not in ("http", "https") or (url and not parts.hostname):
        raise ConfigError(f"language.base_url: {url!r} is no URL; give one such as http://localhost:8000/v1")
    # Not shown, since the HTTP library would log it with every request, and so would we.
    if "@" in parts.netloc or parts.query:
        hint = "leave out user, password and query, and put the key into the environment"
        raise ConfigError(f"language.base_url: the URL of {parts.hostname} holds more than a place; {hint}")
    return url
