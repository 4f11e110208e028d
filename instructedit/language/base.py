"""Interface of language processors, and the conversation that processors with a language model share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from instructedit.language.parse import NoEditError, Parsed, ReplyError, parse_reply
from instructedit.language.prompt import Message, correction
from instructedit.types import Stage, StageError, Tokens

_QUOTED_CHARACTERS = 120


class LanguageProcessor(Protocol):
    """Parses instructions into prompts."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Everything that the answers depend on, for cache keys and run ids: JSON values without secrets."""
        ...

    def parse(self, instructions: Sequence[str], descriptions: Sequence[str | None]) -> list[Parsed | StageError]:
        """Parse a batch.

        Args:
            instructions: The users' instructions.
            descriptions: BLIP-2's description of each image, or None.

        Returns:
            One answer per instruction, in order; a :class:`StageError` for an instruction that fails.
        """
        ...


@dataclass(frozen=True)
class Reply:
    """A reply of a language model."""

    text: str
    is_cut: bool
    """Whether the reply was cut off at the maximum number of tokens."""
    tokens: Tokens | None = None
    """Tokens used; None if they were not counted."""


Ask = Callable[[list[list[Message]]], Sequence[Reply | StageError]]
"""Continues chats and returns one reply per chat, in order."""
Read = Callable[[str], Parsed]
"""Parses a reply, or raises :class:`ReplyError`."""


def converse(ask: Ask, chats: list[list[Message]], read: Read = parse_reply) -> list[Parsed | StageError]:
    """Ask for parses, and retry once, with the error, if a reply cannot be parsed.

    A refusal, and an answer that asks for no edit, are final.

    Args:
        ask: Continues all chats of a batch at once.
        chats: Chats begun by :func:`instructedit.language.prompt.messages`.
        read: Parses the replies.

    Returns:
        One answer per chat, in order, with the tokens of both replies after a retry.
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
    """Return an answer with its tokens."""
    if isinstance(answer, Parsed):
        return replace(answer, tokens=tokens)
    if isinstance(answer, NoEditError):
        return StageError(Stage.LANGUAGE, f"{answer}; the reply was {quote(_text(reply))}", tokens)
    if isinstance(answer, ReplyError):
        return StageError(
            Stage.LANGUAGE, f"asked twice, and still {answer}; the reply was {quote(_text(reply))}", tokens
        )
    answer.tokens = tokens
    return answer


def _is_unreadable(answer: Parsed | ReplyError | StageError) -> bool:
    return isinstance(answer, ReplyError) and not isinstance(answer, NoEditError)


def quote(text: str) -> str:
    """Return a text on one line, in quotes, shortened for a message."""
    line = " ".join(text.split())
    return f'"{line[:_QUOTED_CHARACTERS]}…"' if len(line) > _QUOTED_CHARACTERS else f'"{line}"'


def _text(reply: Reply | StageError) -> str:
    return reply.text if isinstance(reply, Reply) else ""


def _read(reply: Reply | StageError, read: Read) -> Parsed | ReplyError | StageError:
    if isinstance(reply, StageError):
        return reply
    # Even if all three fields can be parsed, the last one may be incomplete.
    if reply.is_cut:
        return ReplyError("the reply was cut off at the most tokens it may have")
    try:
        return read(reply.text)
    except ReplyError as error:
        return error
