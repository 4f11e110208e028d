"""The language processor on a server that speaks OpenAI's chat completions: OpenAI's own, vLLM, llama.cpp, ..."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai

from instructedit.language.base import STAGE, Reply, converse
from instructedit.language.parse import Parsed
from instructedit.language.prompt import PROMPT_HASH, Message, messages
from instructedit.language.server import ChatServer, ServerError
from instructedit.types import StageError


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
        self._server = ChatServer("language=openai", model, base_url, timeout, max_retries, api_key_env)
        self._revision = revision
        self._sampling = {"temperature": temperature, "max_tokens": max_tokens}
        self._concurrency = concurrency

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides the answers."""
        made_by = {"backend": "openai", "model": self._server.model, "revision": self._revision}
        return {**made_by, **self._sampling, "prompt": PROMPT_HASH}

    def parse(self, instructions: Sequence[str], descriptions: Sequence[str | None]) -> list[Parsed | StageError]:
        """Parse a batch; see :class:`instructedit.language.base.LanguageProcessor`.

        Raises:
            ConfigError: There is no key; no request was made.
        """
        chats = [messages(i, d) for i, d in zip(instructions, descriptions, strict=True)]
        with self._server.connect() as client, ThreadPoolExecutor(self._concurrency) as pool:
            return converse(lambda batch: list(pool.map(lambda chat: self._ask(client, chat), batch)), chats)

    def _ask(self, client: openai.OpenAI, chat: list[Message]) -> Reply | StageError:
        try:
            return self._server.ask(client, chat, **self._sampling)
        except ServerError as error:
            return StageError(STAGE, str(error))
