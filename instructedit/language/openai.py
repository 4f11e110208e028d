"""The language processor on a server that speaks OpenAI's chat completions: OpenAI's own, vLLM, llama.cpp, ..."""

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
"""Whether replies are asked for in JSON: where the server takes a schema, of any server, or of none."""
_FORMAT = json_schema("edit", SCHEMA)


class OpenAILanguage:
    """Replies of a model behind an HTTP server.

    Nothing is sent, and no key is needed, before the first :meth:`parse`: kept replies can be read without either.

    Args:
        model: The server's name for it; the paper used ``gpt-3.5-turbo``.
        base_url: Of the server, such as ``http://localhost:8000/v1``; None for the one in the environment variable
            ``OPENAI_BASE_URL``, or else OpenAI's own.
        revision: What the name leaves open, such as a checkpoint's revision or quantization on a server of one's own.
            It stands in cache keys; the URL does not, since the same model may stand anywhere.
        structured: ``auto`` asks for JSON of a schema and, of a server that refuses schemas, for the paper's template;
            replies in either are read. ``always`` never falls back, and takes no other reply than JSON. ``never`` asks
            for the template.
        temperature: The released code has 0.6; None sends none, for models that accept no other than their own.
        max_tokens: Most tokens of a reply; None sends no limit, for models that refuse the parameter. The released
            code's 40 cut "Editing prompt 2".
        timeout: Seconds that one request may take.
        max_retries: How often a request is repeated after a failure of the network, a refusal for too many requests
            (no sooner than the server's ``Retry-After`` says), or a failure of the server.
        concurrency: Requests under way at a time.
        api_key_env: The environment variable that holds the key; servers without keys take any value.

    Raises:
        ConfigError: A setting cannot be used; ``base_url`` is no URL, or holds a password, which would be logged.
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
        """What decides the answers."""
        made_by = {"backend": "openai", "model": self._server.model, "revision": self._revision}
        json_prompt = None if self._structured == NEVER else JSON_PROMPT_HASH
        asked = {"structured": self._structured, "prompt": PROMPT_HASH, "json_prompt": json_prompt}
        return {**made_by, **self._sampling, **asked}

    def parse(self, instructions: Sequence[str], descriptions: Sequence[str | None]) -> list[Parsed | StageError]:
        """Parse a batch; see :class:`instructedit.language.base.LanguageProcessor`.

        Raises:
            ConfigError: There is no key; no request was made.
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
