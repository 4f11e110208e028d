"""Reading a reply in the paper's template (appendix D.1), as language models really write it."""

import re
from dataclasses import dataclass

from instructedit.types import Captions


@dataclass(frozen=True)
class Parsed:
    """The language processor's three outputs (paper §3.2)."""

    segmentation_prompt: str
    """What the segmenter shall find, q; in lower case: "bigger cat"."""
    captions: Captions
    """The input caption c^(i) and the edited caption c^(e), without the template's quotes and dots."""
    reply: str
    """The model's words, verbatim; :func:`parse_reply` makes all the rest of it again."""


class ReplyError(ValueError):
    """A reply that is not in the template; one line that names what is missing."""


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
_EDGES = f" \t\r\n.,;*-{_QUOTES}"


def parse_reply(text: str) -> Parsed:
    """Read the three fields of a reply.

    Tolerates any case, spaces around punctuation, straight and curly quotes or none, bold and JSON-like labels,
    a missing last quote or dot, and words before and after the answer. Of several answers the last counts, and
    nothing that stands inside ``<think>`` does.

    Args:
        text: The reply.

    Returns:
        The fields without quotes and dots at their ends, white space collapsed.

    Raises:
        ReplyError: A field is absent or empty.
    """
    answer = text.rpartition("</think>")[2]
    fields: dict[str, str] = {}
    places = _places(answer)
    for (label, match), end in zip(places, [m.start() for _, m in places[1:]] + [len(answer)], strict=True):
        fields[label] = _clean(answer[match.end() : end])
        if not fields[label]:
            raise ReplyError(f'nothing stands after "{label}:"')
    captions = Captions(input=fields["Editing prompt 1"], edited=fields["Editing prompt 2"])
    return Parsed(fields["Segmentation prompt"].lower(), captions, reply=text)


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
