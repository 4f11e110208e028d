"""Asking a server that speaks OpenAI's chat completions: its address, its key, and what it may do wrong."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlsplit

import openai
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam

from instructedit.language.base import Reply, quote
from instructedit.types import ConfigError

_NO_COMPLETION = "the answer is no chat completion; does the URL end with /v1?"


class ServerError(Exception):
    """A server gave no reply: one line that names the model, the place and the reason, and never the key."""

    def __init__(self, message: str, complaint: str, status: int | None = None) -> None:
        super().__init__(message)
        self.complaint = complaint
        """The reason in full, without the key."""
        self.status = status
        """Of HTTP; None where there was no answer at all, or one that is no completion."""


class ChatServer:
    """A model behind an HTTP server. Nothing is sent, and no key is needed, before :meth:`connect`.

    Args:
        choice: Whose settings these are, as messages name them: ``language=openai``.
        model: The server's name for it.
        base_url: Such as ``http://localhost:8000/v1``; None for the one in the environment variable
            ``OPENAI_BASE_URL``, or else OpenAI's own.
        timeout: Seconds that one request may take.
        max_retries: How often a request is repeated after a failure of the network, a refusal for too many requests,
            or a failure of the server.
        api_key_env: The environment variable that holds the key; servers without keys take any value.

    Raises:
        ConfigError: ``base_url`` is no URL, or holds a password, which would be logged.
    """

    def __init__(
        self, choice: str, model: str, base_url: str | None, timeout: float, max_retries: int, api_key_env: str
    ) -> None:
        self.choice = choice
        self.model = model
        # An empty one is refused, or a shell variable that is not set would send pictures to OpenAI.
        url = os.environ.get("OPENAI_BASE_URL") or None if base_url is None else base_url
        self._base_url = None if url is None else _checked_url(f"{choice.partition('=')[0]}.base_url", url)
        self._timeout = timeout
        self._max_retries = max_retries
        self._api_key_env = api_key_env

    def connect(self) -> openai.OpenAI:
        """A client, to be closed after use; several threads may share it.

        Raises:
            ConfigError: There is no key.
        """
        key = os.environ.get(self._api_key_env, "").strip()
        if not key:
            hint = "set it to the server's key (for a server without keys, to anything)"
            raise ConfigError(f"{self.choice}: the environment variable {self._api_key_env} is empty; {hint}")
        return openai.OpenAI(api_key=key, base_url=self._base_url, timeout=self._timeout, max_retries=self._max_retries)

    def ask(self, client: openai.OpenAI, chat: Sequence[Mapping[str, Any]], **options: Any) -> Reply:
        """Continue a chat.

        Args:
            client: From :meth:`connect`.
            chat: Its turns.
            **options: Further fields of the request; those that are None are left out.

        Raises:
            ServerError: There is no reply.
        """
        turns = cast(list[ChatCompletionMessageParam], list(chat))
        given = {name: value for name, value in options.items() if value is not None}
        try:
            completion = client.chat.completions.create(model=self.model, messages=turns, **given)
        except openai.OpenAIError as error:
            raise self._failure(client, _reason(error), getattr(error, "status_code", None)) from None
        except ValueError:  # what calls itself JSON and is not
            raise self._failure(client, _NO_COMPLETION) from None
        # The package does not check what a server sends: a web page comes through as text, a lacking field as None.
        choice = completion.choices[0] if isinstance(completion, ChatCompletion) and completion.choices else None
        message = getattr(choice, "message", None)
        if choice is None or message is None:
            raise self._failure(client, _NO_COMPLETION)
        if choice.finish_reason == "content_filter" or message.refusal:
            said = message.refusal or choice.finish_reason
            raise self._failure(client, f"the model refuses to answer ({said})")
        return Reply(message.content or "", is_cut=choice.finish_reason == "length")

    def _failure(self, client: openai.OpenAI, reason: str, status: int | None = None) -> ServerError:
        # Servers are known to repeat a wrong key in their complaint about it.
        reason = reason.replace(client.api_key, "[key]")
        url = urlsplit(str(client.base_url))
        return ServerError(f"{self.model} at {url.netloc}: {quote(reason)}", reason, status)


def _reason(error: openai.OpenAIError) -> str:
    if isinstance(error, openai.APITimeoutError):
        return "no answer in time"
    if isinstance(error, openai.APIConnectionError):
        return f"no connection ({error.__cause__ or error})"
    return str(error)


def _checked_url(key: str, url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{key}: {url!r} is no URL; give one such as http://localhost:8000/v1")
    # Not shown, since the HTTP library would log it with every request, and so would we.
    if "@" in parts.netloc or parts.query:
        hint = "leave out user, password and query, and put the key into the environment"
        raise ConfigError(f"{key}: the URL of {parts.hostname} holds more than a place; {hint}")
    return url
