"""What every language processor promises, and the conversation that those with a language model share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from instructedit.language.parse import NoEditError, Parsed, ReplyError, parse_reply
from instructedit.language.prompt import Message, correction
from instructedit.types import StageError, Tokens

STAGE = "language"
_QUOTED_CHARACTERS = 120


class LanguageProcessor(Protocol):
    """Turns instructions into prompts."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides the answers, for cache keys and run ids: JSON values, and nothing secret."""
        ...

    def parse(self, instructions: Sequence[str], descriptions: Sequence[str | None]) -> list[Parsed | StageError]:
        """Parse a batch.

        Args:
            instructions: What users want.
            descriptions: Of each image, what BLIP-2 says it shows; None where nobody asked it.

        Returns:
            One answer an instruction, in order. Never raises for the sake of one.
        """
        ...


@dataclass(frozen=True)
class Reply:
    """What a language model said."""

    text: str
    is_cut: bool
    """It was still speaking when it reached the most tokens it may use."""
    tokens: Tokens | None = None
    """What it cost; None where nobody counted."""


Ask = Callable[[list[list[Message]]], Sequence[Reply | StageError]]
"""Continues chats: one answer a chat, in order."""
Read = Callable[[str], Parsed]
"""Reads a reply, or raises :class:`ReplyError`."""


def converse(ask: Ask, chats: list[list[Message]], read: Read = parse_reply) -> list[Parsed | StageError]:
    """Ask, and ask once more, with the error, where the reply cannot be parsed.

    A refusal, and an answer that asks for no edit, are final.

    Args:
        ask: Continues chats, all of a batch at once.
        chats: As :func:`instructedit.language.prompt.messages` begins them.
        read: Reads the replies.

    Returns:
        One answer a chat, in order, with the tokens of both replies where it was asked twice.
    """
    if not chats:
        return []
    replies = list(ask(chats))
    spent = [reply.tokens for reply in replies]
    answers = [_read(reply, read) for reply in replies]
    again = [i for i, answer in enumerate(answers) if _is_unreadable(answer)]
    if again:
        retried = ask([chats[i] + correction(_text(replies[i]), str(answers[i])) for i in again])
        for i, reply in zip(again, retried, strict=True):
            replies[i], answers[i] = reply, _read(reply, read)
            spent[i] = Tokens.total([spent[i], reply.tokens])
    return [_settled(*each) for each in zip(replies, answers, spent, strict=True)]


def _settled(
    reply: Reply | StageError, answer: Parsed | ReplyError | StageError, tokens: Tokens | None
) -> Parsed | StageError:
    """An answer with what it cost."""
    if isinstance(answer, Parsed):
        return replace(answer, tokens=tokens)
    if isinstance(answer, NoEditError):
        return StageError(STAGE, f"{answer}; the reply was {quote(_text(reply))}", tokens)
    if isinstance(answer, ReplyError):
        return StageError(STAGE, f"asked twice, and still {answer}; the reply was {quote(_text(reply))}", tokens)
    answer.tokens = tokens
    return answer


def _is_unreadable(answer: Parsed | ReplyError | StageError) -> bool:
    return isinstance(answer, ReplyError) and not isinstance(answer, NoEditError)


def quote(text: str) -> str:
    """A text on one line, in quotes, shortened for a message."""
    line = " ".join(text.split())
    return f'"{line[:_QUOTED_CHARACTERS]}…"' if len(line) > _QUOTED_CHARACTERS else f'"{line}"'


def _text(reply: Reply | StageError) -> str:
    return reply.text if isinstance(reply, Reply) else ""


def _read(reply: Reply | StageError, read: Read) -> Parsed | ReplyError | StageError:
    if isinstance(reply, StageError):
        return reply
    # Even where all three fields can be read, the last one may have lost its end.
    if reply.is_cut:
        return ReplyError("the reply was cut off at the most tokens it may have")
    try:
        return read(reply.text)
    except ReplyError as error:
        return error
