"""Replies kept verbatim, so that a table can be made again with no language model at hand."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from instructedit.cache import StageCache
from instructedit.language.base import LanguageProcessor
from instructedit.language.parse import Parsed, ReplyError, parse_reply
from instructedit.types import Stage, StageError, Tokens

_VERSION = 1


def cached(processor: LanguageProcessor, cache: StageCache) -> LanguageProcessor:
    """The processor with a memory: it is asked only what the cache does not hold, and each question once a batch.

    Only replies that could be parsed are kept, and only the replies: they are parsed again when they are read, so a
    better parser needs no new replies. A kept reply costs no tokens, nor does a question's second answer in a batch.
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
        missing = []
        for question in dict.fromkeys(questions):
            known = self._read(question)
            if known is None:
                missing.append(question)
            else:
                answers[question] = known
        if missing:
            new = self._processor.parse([i for i, _ in missing], [d for _, d in missing])
            for question, answer in zip(missing, new, strict=True):
                answers[question] = answer
                if isinstance(answer, Parsed):
                    self._cache.put_json(Stage.LANGUAGE, self._key(question), {"reply": answer.reply})
        paid = {questions.index(question) for question in missing}
        return [answers[q] if i in paid else _free(answers[q]) for i, q in enumerate(questions)]

    def _read(self, question: tuple[str, str | None]) -> Parsed | None:
        entry = self._cache.get_json(Stage.LANGUAGE, self._key(question))
        try:
            return None if entry is None else parse_reply(entry["reply"])
        except ReplyError:  # kept by a parser that read it; this one must ask anew
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
