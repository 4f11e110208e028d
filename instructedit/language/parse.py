"""Reading a reply: in the paper's template (appendix D.1), as language models really write it, or in JSON."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from instructedit.language.prompt import FIELDS
from instructedit.types import Captions, Tokens


@dataclass(frozen=True)
class Parsed:
    """The language processor's three outputs (paper §3.2)."""

    segmentation_prompt: str
    """What the segmenter shall find, q; in lower case: "bigger cat"."""
    captions: Captions
    """The input caption c^(i) and the edited caption c^(e), without the template's quotes and dots."""
    reply: str
    """The model's words, verbatim; :func:`parse_reply` makes all the rest of it again."""
    tokens: Tokens | None = field(default=None, compare=False)
    """What it cost; zero where the reply had been kept, None where nobody counted. No part of what was said."""


REFUSAL = "Not an edit I can express."
"""What a language model answers, instead of the three outputs, where its words do not suffice."""


class ReplyError(ValueError):
    """A reply that is not in the template; one line that names what is missing."""


class NoEditError(ReplyError):
    """A reply that says that there is nothing to edit; asking again would not change it."""


# A label may be bold, quoted (as in JSON), numbered with or without a space, and set off by any kind of colon.
_LABEL = r"{name}[\"'*`]*\s*[:：]"
_LABELS = {
    "Segmentation prompt": re.compile(_LABEL.format(name=r"segmentation[\s_]*prompt"), re.IGNORECASE),
    "Editing prompt 1": re.compile(_LABEL.format(name=r"editing[\s_]*prompt[\s_#]*1"), re.IGNORECASE),
    "Editing prompt 2": re.compile(_LABEL.format(name=r"editing[\s_]*prompt[\s_#]*2"), re.IGNORECASE),
}
_QUOTES = "\"'`“”„‟‘’«»"
# A quotation ends where a quote is followed by punctuation, a line's end or nothing: not at the one in "the cat's hat".
_QUOTED = re.compile(rf"[*\s]*[{_QUOTES}]+(.+?)[{_QUOTES}](?=\s*(?:[.,;)}}\]*]|\n|$))", re.DOTALL)
_FENCE = re.compile(r"^```\w*\s*|\s*```$")
_EDGES = f" \t\r\n.,;*-{_QUOTES}"


def parse_reply(text: str) -> Parsed:
    """Read the three fields of a reply, from one JSON object or from the template.

    In the template, any case is read, spaces around punctuation, straight and curly quotes or none, bold and JSON-like
    labels, a missing last quote or dot, and words before and after the answer; of several answers the last counts.
    Nothing that stands inside ``<think>`` counts.

    Args:
        text: The reply.

    Returns:
        The fields without quotes and dots at their ends, white space collapsed.

    Raises:
        ReplyError: A field is absent or empty.
        NoEditError: The reply is :data:`REFUSAL`, or both captions are the same.
    """
    if _object(text).keys() & FIELDS.keys():
        return parse_json(text)
    _require_answer(text)
    answer = _answer(text)
    fields: dict[str, str] = {}
    places = _places(answer)
    for (label, match), end in zip(places, [m.start() for _, m in places[1:]] + [len(answer)], strict=True):
        fields[label] = _clean(answer[match.end() : end])
        if not fields[label]:
            raise ReplyError(f'nothing stands after "{label}:"')
    return _parsed(fields, text)


def parse_json(text: str) -> Parsed:
    """Read the three fields of a reply that is one JSON object.

    Args:
        text: The reply; a code fence around it is left aside, and so is ``<think>``.

    Raises:
        ReplyError: It is none, or a field is absent, empty or no text.
        NoEditError: The reply is :data:`REFUSAL`, or both captions are the same.
    """
    _require_answer(text)
    found = _object(text)
    if not found:
        raise ReplyError("the reply is no JSON object")
    fields: dict[str, str] = {}
    for name, label in FIELDS.items():
        value = found.get(name)
        # Quotes in it are the caption's own, unlike the template's.
        fields[label] = " ".join(value.split()).strip(" .,;") if isinstance(value, str) else ""
        if not fields[label]:
            raise ReplyError(f'the reply has no text in "{name}"')
    return _parsed(fields, text)


def require_edit(captions: Captions) -> None:
    """Refuse captions that are the same: they ask for no edit.

    Raises:
        NoEditError: They are.
    """
    if captions.input.casefold() == captions.edited.casefold():
        raise NoEditError(f'the instruction asks for no edit: both captions are "{captions.input}"')


def _require_answer(text: str) -> None:
    if _letters(_answer(text)) == _letters(REFUSAL):
        raise NoEditError("the language model refused")


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def _answer(text: str) -> str:
    return text.rpartition("</think>")[2]


def _object(text: str) -> Mapping[str, Any]:
    """The JSON object that a reply is; empty where it is none."""
    try:
        found = json.loads(_FENCE.sub("", _answer(text).strip()))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _parsed(fields: Mapping[str, str], reply: str) -> Parsed:
    captions = Captions(input=fields["Editing prompt 1"], edited=fields["Editing prompt 2"])
    require_edit(captions)
    return Parsed(fields["Segmentation prompt"].lower(), captions, reply)


def _places(answer: str) -> list[tuple[str, re.Match[str]]]:
    """The labels of the last answer, in the template's order."""
    segmentation = list(_LABELS["Segmentation prompt"].finditer(answer))
    start = segmentation[-1].start() if segmentation else 0
    places: list[tuple[str, re.Match[str]]] = []
    for label, pattern in _LABELS.items():
        match = pattern.search(answer, start)
        if match is None:
            raise ReplyError(f'the reply has no "{label}:"')
        places.append((label, match))
        start = match.end()
    return places


def _clean(field: str) -> str:
    quoted = _QUOTED.match(field)
    words = quoted[1] if quoted else next((line for line in field.splitlines() if line.strip(_EDGES)), "")
    words = re.sub(r"\s+", " ", words.strip(_EDGES))
    return re.sub(r" (?=[,;])", "", words)
