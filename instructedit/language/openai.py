"""Language processor on a server with OpenAI's chat completions API: OpenAI's own, vLLM, llama.cpp, ..."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai

from instructedit.checks import require_one_of, require_whole
from instructedit.language.base import Reply, converse
from instructedit.language.parse import Parsed, parse_json, parse_reply
from instructedit.language.prompt import JSON_PROMPT_HASH, PROMPT_HASH, SCHEMA, Message, in_json, messages
from instructedit.language.server import ChatServer, ServerError, json_schema
from instructedit.types import Stage, StageError

ALWAYS, NEVER = "always", "never"
STRUCTURED = ("auto", ALWAYS, NEVER)
"""When JSON replies are requested: if the server accepts a schema, always, or never."""
_FORMAT = json_schema("edit", SCHEMA)


class OpenAILanguage:
    """Language processor with a model on an HTTP server.

    The first :meth:`parse` sends the first request and needs the key, so cached replies can be read without a server.

    Args:
        model: The server's name of the model; the paper used ``gpt-3.5-turbo``.
        base_url: URL of the server, such as ``http://localhost:8000/v1``; None uses the environment variable
            ``OPENAI_BASE_URL``, or OpenAI's own server if it is not set.
        revision: Anything that the model's name does not determine, such as a checkpoint's revision or quantization on
            a private server. It is part of cache keys; the URL is not, since several servers may host one model.
        structured: ``auto`` requests JSON by a schema, or the paper's template if the server refuses schemas, and
            accepts both kinds of reply. ``always`` requests and accepts JSON only. ``never`` requests the template.
        temperature: Sampling temperature; the released code uses 0.6. None sends none, for models that accept only
            their default.
        max_tokens: Maximum number of tokens of a reply; None sends no limit, for models that refuse the parameter. The
            released code's 40 truncate "Editing prompt 2".
        timeout: Timeout of one request in seconds.
        max_retries: Number of retries after a network error, a rate limit (waiting for the server's ``Retry-After``),
            or a server error.
        concurrency: Maximum number of concurrent requests.
        api_key_env: Environment variable that holds the key; servers without keys accept any value.

    Raises:
        ConfigError: A setting has a value that is not accepted, or ``base_url`` contains a password, which would be
            logged.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None,
        revision: str | None,
        structured: str,
        temperature: float | None,
        max_tokens: int | None,
        timeout: float,
        max_retries: int,
        concurrency: int,
        api_key_env: str,
    ) -> None:
        require_one_of("language.structured", structured, STRUCTURED)
        require_whole("language.concurrency", concurrency, 1)
        self._server = ChatServer("language=openai", model, base_url, timeout, max_retries, api_key_env)
        self._revision = revision
        self._structured = structured
        self._sampling = {"temperature": temperature, "max_tokens": max_tokens}
        self._concurrency = concurrency

    @property
    def identity(self) -> Mapping[str, Any]:
        """Everything that the answers depend on."""
        model = {"backend": "openai", "model": self._server.model, "revision": self._revision}
        json_prompt = None if self._structured == NEVER else JSON_PROMPT_HASH
        prompts = {"structured": self._structured, "prompt": PROMPT_HASH, "json_prompt": json_prompt}
        return {**model, **self._sampling, **prompts}

    def parse(self, instructions: Sequence[str], descriptions: Sequence[str | None]) -> list[Parsed | StageError]:
        """Parse a batch; see :class:`instructedit.language.base.LanguageProcessor`.

        Raises:
            ConfigError: There is no key; no request was sent.
        """
        chats = [messages(i, d) for i, d in zip(instructions, descriptions, strict=True)]
        read = parse_json if self._structured == ALWAYS else parse_reply
        with self._server.connect() as client, ThreadPoolExecutor(self._concurrency) as pool:
            return converse(lambda batch: list(pool.map(lambda chat: self._ask(client, chat), batch)), chats, read)

    def _ask(self, client: openai.OpenAI, chat: list[Message]) -> Reply | StageError:
        server, sampling = self._server, self._sampling
        try:
            if self._structured == NEVER:
                return server.ask(client, chat, **sampling)
            if self._structured == ALWAYS:
                return server.ask(client, in_json(chat), response_format=_FORMAT, **sampling)
            return server.ask_in_json(client, in_json(chat), _FORMAT, otherwise=chat, **sampling)
        except ServerError as error:
            return StageError(Stage.LANGUAGE, str(error))
