"""Client of a server with OpenAI's chat completions API: address, key, requests and errors."""

import logging
import os
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlsplit

import openai
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam

from instructedit.checks import is_number, require, require_whole
from instructedit.language.base import Reply, quote
from instructedit.types import ConfigError, Tokens

log = logging.getLogger(__name__)
_SCHEMA_NAMED = re.compile(r"response_format|json_schema|structured[ _]output", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_NO_COMPLETION = "the answer is not a chat completion; does the URL end with /v1?"


class ServerError(Exception):
    """A server gave no reply. The one-line message names the model, the host and the reason, without the key."""

    def __init__(self, message: str, complaint: str, status: int | None = None) -> None:
        super().__init__(message)
        self.complaint = complaint
        """The reason in full, without the key."""
        self.status = status
        """HTTP status; None if there was no response or it is not a completion."""


class ChatServer:
    """A model on an HTTP server. No key is needed before :meth:`connect`, and nothing is sent before :meth:`ask`.

    Args:
        choice: The configuration choice that messages name, such as ``language=openai``.
        model: The server's name of the model.
        base_url: URL such as ``http://localhost:8000/v1``; None uses the environment variable ``OPENAI_BASE_URL``, or
            OpenAI's own server if it is not set.
        timeout: Timeout of one request in seconds.
        max_retries: Number of retries after a network error, a rate limit or a server error.
        api_key_env: Environment variable that holds the key; servers without keys accept any value.

    Raises:
        ConfigError: A setting has a value that is not accepted, or ``base_url`` contains a password, which would be
            logged.
    """

    def __init__(
        self, choice: str, model: str, base_url: str | None, timeout: float, max_retries: int, api_key_env: str
    ) -> None:
        group = choice.partition("=")[0]
        if not isinstance(model, str) or not model:
            raise ConfigError(f"{group}.model={model}: accepted is the server's name for a model")
        require(is_number(timeout) and timeout > 0, f"{group}.timeout", timeout, "seconds above 0")
        require_whole(f"{group}.max_retries", max_retries, 0)
        if not _VARIABLE.fullmatch(str(api_key_env)):
            # Not repeated: it may be the key itself.
            raise ConfigError(f"{group}.api_key_env: accepted is the name of an environment variable, not a key")
        self.choice = choice
        self.model = model
        # An empty base_url is refused: it may come from an unset shell variable, and pictures would go to OpenAI.
        url = os.environ.get("OPENAI_BASE_URL") or None if base_url is None else base_url
        self._base_url = None if url is None else _checked_url(f"{group}.base_url", url)
        self._timeout = timeout
        self._max_retries = max_retries
        self._api_key_env = api_key_env
        self._lock = threading.Lock()
        self._takes_schemas = True

    def connect(self) -> openai.OpenAI:
        """Return a client, which the caller closes after use; threads may share it.

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
            chat: The turns of the chat.
            **options: Further fields of the request; None values are omitted.

        Raises:
            ServerError: There is no reply.
        """
        turns = cast(list[ChatCompletionMessageParam], list(chat))
        fields = {name: value for name, value in options.items() if value is not None}
        try:
            completion = client.chat.completions.create(model=self.model, messages=turns, **fields)
        except openai.OpenAIError as error:
            raise self._failure(client, _reason(error), getattr(error, "status_code", None)) from None
        except ValueError:  # the response is declared as JSON but cannot be decoded
            raise self._failure(client, _NO_COMPLETION) from None
        # The package does not validate responses: a web page arrives as text, a missing field as None.
        choice = completion.choices[0] if isinstance(completion, ChatCompletion) and completion.choices else None
        message = getattr(choice, "message", None)
        if choice is None or message is None:
            raise self._failure(client, _NO_COMPLETION)
        if choice.finish_reason == "content_filter" or message.refusal:
            reason = message.refusal or choice.finish_reason
            raise self._failure(client, f"the model refuses to answer ({reason})")
        is_cut = choice.finish_reason == "length"
        return Reply(message.content or "", is_cut, _tokens(getattr(completion, "usage", None)))

    def ask_in_json(
        self,
        client: openai.OpenAI,
        chat: Sequence[Mapping[str, Any]],
        response_format: Mapping[str, Any],
        otherwise: Sequence[Mapping[str, Any]],
        **options: Any,
    ) -> Reply:
        """Continue a chat in JSON if the server supports schemas.

        Once the server has refused a schema, this is logged, and schemas are not sent again.

        Args:
            client: From :meth:`connect`.
            chat: The turns of the chat.
            response_format: The schema, from :func:`json_schema`.
            otherwise: The chat for a server without support for schemas.
            **options: See :meth:`ask`.

        Raises:
            ServerError: There is no reply.
        """
        refusal = None
        if self._takes_schemas:
            try:
                return self.ask(client, chat, response_format=response_format, **options)
            except ServerError as error:
                if not _may_refuse_schemas(error):
                    raise
                refusal = error
        reply = self.ask(client, otherwise, **options)
        # The request succeeded without the schema, so the schema was the reason for the refusal.
        with self._lock:
            if self._takes_schemas:
                self._takes_schemas = False
                log.warning("%s: asking without response_format from now on, as the server refuses it: %s",
                            self.choice, refusal)  # fmt: skip
        return reply

    def _failure(self, client: openai.OpenAI, reason: str, status: int | None = None) -> ServerError:
        # Some servers repeat a wrong key in their error message.
        reason = reason.replace(client.api_key, "[key]")
        url = urlsplit(str(client.base_url))
        return ServerError(f"{self.model} at {url.netloc}: {quote(reason)}", reason, status)


def json_schema(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema in the format of a request's field ``response_format``."""
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}


def _tokens(usage: Any) -> Tokens | None:
    counts: list[Any] = [getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")]
    return Tokens(*counts) if all(isinstance(count, int) for count in counts) else None


def _may_refuse_schemas(error: ServerError) -> bool:
    # Most servers answer 400 to an unknown field. Routers answer 404, as for an unknown model, and some forks of
    # llama.cpp answer 500, but both name the field in the message.
    return error.status in (400, 422, 501) or bool(_SCHEMA_NAMED.search(error.complaint))


def _reason(error: openai.OpenAIError) -> str:
    if isinstance(error, openai.APITimeoutError):
        return "no answer in time"
    if isinstance(error, openai.APIConnectionError):
        return f"no connection ({error.__cause__ or error})"
    body = getattr(error, "body", None)
    if isinstance(body, Mapping) and "detail" in body:
        # FastAPI servers give the reason in this field, which the package ignores.
        return f"{error} - {body['detail']}"
    return str(error)


def _checked_url(key: str, url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{key}: {url!r} is not a URL; give one such as http://localhost:8000/v1")
    # URLs with secrets are refused because the HTTP library logs the URL of every request. The message omits them.
    if "@" in parts.netloc or parts.query:
        hint = "leave out user, password and query, and put the key into the environment"
        raise ConfigError(f"{key}: the URL of {parts.hostname} holds more than a place; {hint}")
    return url
