"""Language processors by their names in the configuration, built from a context, with cached replies."""

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer

from instructedit.language.base import LanguageProcessor
from instructedit.language.local import LocalLanguage
from instructedit.language.parse import Parsed
from instructedit.language.prices import prices_of
from instructedit.language.replies import cached
from instructedit.language.rules import RulesLanguage
from instructedit.models import Checkpoint, Context
from instructedit.types import StageError, non_identity_keys


class CheckpointLanguage:
    """:class:`LocalLanguage` on a checkpoint that is loaded at the first instruction without a cached reply."""

    def __init__(self, context: Context, model: Checkpoint, max_new_tokens: int) -> None:
        self._context, self._checkpoint, self._max_new_tokens = context, model, max_new_tokens

    @property
    def identity(self) -> Mapping[str, Any]:
        """See :class:`LanguageProcessor`; computed without loading weights."""
        return self._on(None, None).identity

    def parse(self, instructions: Sequence[str], descriptions: Sequence[str | None]) -> list[Parsed | StageError]:
        """See :class:`LanguageProcessor`."""
        pool = self._context.pool
        tokenizer = pool.processor(AutoTokenizer, self._checkpoint)
        model = pool.model(AutoModelForCausalLM, self._checkpoint, self._context.device)
        return self._on(model, tokenizer).parse(instructions, descriptions)

    def _on(self, model: Any, tokenizer: Any) -> LocalLanguage:
        return LocalLanguage(model, tokenizer, self._checkpoint.fingerprint, self._max_new_tokens)


def local(context: Context, model: Checkpoint, max_new_tokens: int) -> LanguageProcessor:
    """Return a processor with a transformers chat model on this machine."""
    return cached(CheckpointLanguage(context, model, max_new_tokens), context.cache)


# Where the server is, how it is asked, and what it costs.
@non_identity_keys("base_url", "timeout", "max_retries", "concurrency", "api_key_env", "prices")
def openai(context: Context, prices: Mapping[str, float | None] | None, **options: Any) -> LanguageProcessor:
    """Return a processor with a model on any OpenAI-compatible server; see :class:`.openai.OpenAILanguage`.

    Raises:
        ConfigError: A setting has a value that is not accepted.
    """
    from instructedit.language.openai import OpenAILanguage  # half a second that only this choice needs

    prices_of(prices)  # validated here, used by the report
    return cached(OpenAILanguage(**options), context.cache)


def rules(context: Context) -> LanguageProcessor:
    """Return the grammar, the paper's "hard-coded parsing"."""
    return RulesLanguage()
