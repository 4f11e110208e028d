"""GIE-Bench's functional correctness (Qian et al., 2025): a model answers a multiple-choice question about the edit."""

from functools import partial

from PIL import Image

from eval.metrics import vision
from eval.metrics.base import Card, Metric, MetricUndefined, Score
from instructedit.cache import StageCache
from instructedit.language.base import Reply, quote
from instructedit.language.parse import ReplyError
from instructedit.language.server import json_schema
from instructedit.models import Context
from instructedit.types import Captions, EditResult, Question, Sample, Stage

_VERSION = 1
_TASK = """\
The first picture is the original, the second one an edited version. Answer the question from the edited picture \
alone, unless the question asks for a comparison.
Question: {question}
Options: {options}"""
_FORM = 'Answer with one JSON object and nothing else, in the form {"answer": "one of the options, word for word"}.'


def read_answer(reply: Reply, question: Question) -> str:
    """Return the option that a reply names; case and a final full stop do not matter.

    Raises:
        ReplyError: There is no JSON object, or its answer is not an option.
    """
    answer = str(vision.last_object(reply).get("answer", "")).strip().rstrip(".").casefold()
    found = [option for option in question.options if option.strip().rstrip(".").casefold() == answer]
    if len(found) != 1:
        raise ReplyError(f"{quote(answer)} is not one of the options")
    return found[0]


class QuestionRight(Metric):
    """Whether a vision-language model answers the sample's question as a right edit would have it: 1 or 0.

    Args:
        context: Its cache stores the replies.
        vlm: The answering model.
    """

    name = "question_right"
    unit = ""
    bounds = (0.0, 1.0)
    higher_is_better = True
    asks_again = True

    def __init__(self, context: Context, vlm: vision.VisionModel) -> None:
        self.session = vision.VisionSession.of(vlm, context)

    def applies(self, sample: Sample) -> bool:
        """Return whether the sample has a question."""
        return sample.truth.question is not None

    def details(self) -> Card:
        """See :class:`Metric`; GIE-Bench counts a reply that is no option as wrong, here it has no value."""
        return {
            "implementation": "own, after GIE-Bench",
            "vlm": dict(self.session.model.identity),
            "prompts": vision.prompt_hash(_TASK, _FORM),
            "shown": f"input and edit; at most {vision.SIDE} pixels a side",
        }

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        """Ask the question; ``captions`` is not used."""
        question = sample.truth.question
        if question is None:
            raise MetricUndefined("the sample has no question")
        pictures = {"original": vision.shown(source), "edited": vision.shown(result.image)}
        text = _TASK.format(question=question.text, options="; ".join(question.options)) + f"\n{_FORM}"
        key = StageCache.key(
            Stage.JUDGE,
            _VERSION,
            identity=self.session.model.identity,
            pictures=vision.pictures_key(pictures),
            text=text,
        )
        properties = {"answer": {"type": "string", "enum": list(question.options)}}
        schema = {"type": "object", "properties": properties, "required": ["answer"], "additionalProperties": False}
        read = partial(read_answer, question=question)
        turns = [vision.user_turn(*pictures.values(), text)]
        answer = self.session.answer(vision.Inquiry(key, turns, json_schema("answer", schema), _FORM, read))
        option = answer.get()
        return Score(float(option == question.answer), f"answered {quote(option)}", answer.tokens)
