"""Cache of verbatim replies, so that tables can be reproduced without a language model."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from instructedit.cache import StageCache
from instructedit.language.base import LanguageProcessor
from instructedit.language.parse import Parsed, ReplyError, parse_reply
from instructedit.types import Stage, StageError, Tokens

_VERSION = 1


def cached(processor: LanguageProcessor, cache: StageCache) -> LanguageProcessor:
    """Return the processor with a cache. Repeated questions of a batch are asked once.

    Only replies that could be parsed are cached. They are parsed again on every read, so a better parser needs no new
    replies. A cached reply counts zero tokens, as does a repeated question of a batch.
    """
    return _Cached(processor, cache)


class _Cached:
    def __init__(self, processor: LanguageProcessor, cache: StageCache) -> None:
        self._processor = processor
        self._cache = cache

    @property
    def identity(self) -> Mapping[str, Any]:
        return self._processor.identity

    def parse(self, instructions: Sequence[str], descriptions: Sequence[str | None]) -> list[Parsed | StageError]:
        questions = list(zip(instructions, descriptions, strict=True))
        answers: dict[tuple[str, str | None], Parsed | StageError] = {}
        missing = self._recall(list(dict.fromkeys(questions)), answers)
        if missing:
            with self._cache.lock(Stage.LANGUAGE, [self._key(question) for question in missing]):
                # Another process may have asked them while this one waited for the lock.
                missing = self._recall(missing, answers)
                new = self._processor.parse([i for i, _ in missing], [d for _, d in missing]) if missing else []
                for question, result in zip(missing, new, strict=True):
                    answers[question] = result
                    if isinstance(result, Parsed):
                        self._cache.put_json(Stage.LANGUAGE, self._key(question), {"reply": result.reply})
        paid = {questions.index(question) for question in missing}
        return [answers[q] if i in paid else _free(answers[q]) for i, q in enumerate(questions)]

    def _recall(
        self, questions: Sequence[tuple[str, str | None]], answers: dict[tuple[str, str | None], Parsed | StageError]
    ) -> list[tuple[str, str | None]]:
        """Add the cached answers of some questions to ``answers``; return the other questions."""
        found = {question: answer for question in questions if (answer := self._read(question)) is not None}
        answers.update(found)
        return [question for question in questions if question not in found]

    def _read(self, question: tuple[str, str | None]) -> Parsed | None:
        entry = self._cache.get_json(Stage.LANGUAGE, self._key(question))
        try:
            return None if entry is None else parse_reply(entry["reply"])
        except ReplyError:  # an earlier version of the parser accepted this reply
            return None

    def _key(self, question: tuple[str, str | None]) -> str:
        instruction, description = question
        identity = dict(self._processor.identity)
        return StageCache.key(
            Stage.LANGUAGE, _VERSION, identity=identity, instruction=instruction, description=description
        )


def _free(answer: Parsed | StageError) -> Parsed | StageError:
    if isinstance(answer, StageError):
        return StageError(answer.stage, str(answer), Tokens())
    return replace(answer, tokens=Tokens())
