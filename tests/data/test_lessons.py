"""What the language model learns from, beside the templates that every other model shares."""

from collections import Counter

import numpy as np
import pytest

from data.picturebook import unknown
from data.picturebook.clothes_and_colours import CHANGES_OF_CLOTHES, FRAGMENTS, OTHER_COLOURS, TAKINGS
from data.picturebook.grammar import CORES, VARIED, shape
from data.picturebook.lessons import Lesson, sample_lesson
from data.picturebook.patterns import expanded
from data.picturebook.phrases import HELD_OUT_TEMPLATES, Wish, plural
from data.picturebook.realisation import words
from data.picturebook.referring import SYNONYMS, named
from data.picturebook.refusals import are_of_one_thing, refused
from data.picturebook.requested import Request
from data.picturebook.training.language_model import CHAT_TEMPLATE
from data.picturebook.training.tokenizers import language_tokenizer
from data.picturebook.typing_errors import mistyped
from data.picturebook.world import COLOURS, SPRITES, Part, Scene, Thing
from instructedit.language.parse import REFUSAL, NoEditError, parse_reply


@pytest.fixture(scope="module")
def lessons() -> list[Lesson]:
    rng = np.random.default_rng(1)
    return [sample_lesson(rng) for _ in range(3000)]


@pytest.fixture(scope="module")
def tokenizer():
    return language_tokenizer(CHAT_TEMPLATE, ["<|user|>", "<|assistant|>", "<|end|>"])


def test_every_reply_is_three_outputs_or_a_refusal(lessons):
    refused = described = 0
    for lesson in lessons:
        described += lesson.description is not None
        if lesson.reply == REFUSAL:
            refused += 1
            with pytest.raises(NoEditError):
                parse_reply(lesson.reply)
        else:
            parse_reply(lesson.reply)
    assert 0.15 < refused / len(lessons) < 0.3
    assert 0.35 < described / len(lessons) < 0.6


def test_no_instruction_is_answered_in_two_ways(lessons):
    answers: dict[tuple[str, str | None], set[str]] = {}
    for lesson in lessons:
        asked = (" ".join(lesson.instruction.lower().split()).rstrip(".!? "), lesson.description)
        answers.setdefault(asked, set()).add(lesson.reply)
    assert len(answers) > 2700
    assert [asked for asked, replies in answers.items() if len(replies) > 1] == []


def test_no_held_out_template_is_taught():
    held_out = {shape(t) for templates in HELD_OUT_TEMPLATES.values() for t in templates}
    assert len(held_out) > 20
    assert not held_out & {shape(core) for cores in CORES.values() for core in cores}


def test_each_kind_of_edit_is_asked_for_in_many_ways():
    for kind, cores in CORES.items():
        assert len(cores) > 1000, kind
        slots = {"change": "{n}", "mix": "{n}", "add": "{n}", "recolour": "{c}", "remove": "{r}"}[kind]
        assert all(slots in core for core in cores)


@pytest.mark.parametrize(
    ("request_", "edited"),
    [
        (Request(Wish("change", "bigger cat", "car"), colour="red"), "photo of a red car"),
        (Request(Wish("change", "cat", "lion"), parts=(Part("hat"),)), "photo of a lion with a hat"),
        (Request(Wish("change", "cat", "lion"), parts=(Part("glasses"),)), "photo of a lion with glasses"),
        (
            Request(Wish("add", "bear", "hat"), parts=(Part("scarf", "red"),)),
            "photo of a bear with a hat and a red scarf",
        ),
        (Request(Wish("recolour", "cars", "blue", many=True)), "photo of blue cars"),
        (Request(Wish("add", "dogs", "hats", many=True)), "photo of dogs with hats"),
    ],
)
def test_two_edits_of_one_thing_are_one_answer(request_, edited):
    answer = request_.answer()
    assert answer.edited == edited
    rng = np.random.default_rng(2)
    said = {words(rng, request_) for _ in range(50)}
    assert len(said) > 40
    # What the answer tells is asked for, under its own name or another one.
    for word in edited.split():
        names = (word.removesuffix("s"), *SYNONYMS.get(word.removesuffix("s"), ()), *SYNONYMS.get(word, ()))
        if word in (*SPRITES, *COLOURS, *map(plural, SPRITES)) and word not in answer.input.split():
            assert all(any(n in text for n in names) for text in said), word


@pytest.mark.parametrize(
    ("request_", "patterns"),
    [
        (Request(Wish("change", "hat", "crown")), CHANGES_OF_CLOTHES),
        (Request(Wish("recolour", "red car", "blue")), OTHER_COLOURS),
        (Request(Wish("recolour", "car", "blue")), FRAGMENTS),
        (Request(Wish("remove", "hat", "")), TAKINGS),
    ],
)
def test_clothes_and_colours_have_sentences_of_their_own(request_, patterns):
    first = {sentence.split()[0] for pattern in patterns for sentence in expanded(pattern)}
    assert len(first) > 5
    rng = np.random.default_rng(6)
    said = {words(rng, request_) for _ in range(300)}
    assert len(said) > 200
    assert not any("{" in text or "(" in text for text in said)
    if request_.wish.reference == "red car":
        assert all("red" in text and "blue" in text for text in said)


def test_what_comes_is_often_named_first():
    for kind in ("change", "add", "recolour"):
        slot = "{c}" if kind == "recolour" else "{n}"
        share = np.mean([p[0].index(slot) < p[0].index("{r}") for p in VARIED[kind]])
        assert 0.1 < share < 0.75, kind


def test_a_pattern_makes_each_of_its_sentences_once():
    assert expanded("(let|have) {n} (be|) here") == (
        "let {n} be here", "let {n} here", "have {n} be here", "have {n} here",
    )  # fmt: skip
    assert expanded("{r}( now|), {n}") == ("{r} now, {n}", "{r}, {n}")


def test_requests_that_cannot_be_met_are_filled_in():
    rng = np.random.default_rng(7)
    said = [refused(rng) for _ in range(1000)]
    assert len(set(said)) > 900
    assert not any("{" in text or "(" in text for text in said)


def test_two_requests_about_it_are_not_taken_for_two_things():
    it = Request(Wish("change", "it", "lion"))
    assert are_of_one_thing(it, Request(Wish("add", "it", "hat")))
    assert are_of_one_thing(Request(Wish("change", "cat", "lion")), Request(Wish("add", "bigger cat", "hat")))
    assert not are_of_one_thing(Request(Wish("change", "cat", "lion")), Request(Wish("add", "dog", "hat")))


def test_two_edits_about_a_picture_keep_the_rest_of_it():
    scene = Scene(1, "drawing", "snow", (Thing("cat", 30, 70, 50, parts=(Part("bow"),)), Thing("tree", 90, 70, 50)))
    request = Request(Wish("change", "cat", "lion"), parts=(Part("glasses"),))
    answer = request.answer_about(scene)
    assert answer.input == "drawing of a cat with a bow, and a tree on snow"
    assert answer.edited == "drawing of a lion with a bow and glasses, and a tree on snow"


@pytest.mark.parametrize(
    ("reference", "many", "expected"),
    [
        ("bigger cat", False, {"larger", "biggest", "largest", "big"}),
        ("smaller dog", False, {"small", "little", "tiny", "smallest"}),
        ("cat on the left", False, {"leftmost", "first", "far", "side"}),
        ("lemon in the middle", False, {"center", "middle", "central"}),
        ("lemons", True, {"both", "two", "three", "all", "every"}),
        ("hat", False, {"its", "his", "the"}),
        ("glasses", False, {"spectacles", "eyeglasses"}),
    ],
)
def test_a_thing_goes_by_many_names(reference, many, expected):
    rng = np.random.default_rng(3)
    said = Counter(word for _ in range(600) for word in named(rng, reference, many=many).split())
    assert expected <= {*said}


def test_typing_errors_never_make_another_thing():
    rng = np.random.default_rng(4)
    known = {*SPRITES, *map(plural, SPRITES), *COLOURS}
    changed = 0
    for _ in range(2000):
        word = sorted(known)[int(rng.integers(len(known)))]
        wrong = mistyped(rng, word, 1)
        changed += wrong != word
        assert wrong == word or wrong not in known
    assert changed > 1500


def test_unknown_words_are_spelled_and_resemble_nothing_that_is_drawn(tokenizer):
    rng = np.random.default_rng(5)
    for _ in range(300):
        word = unknown.invented(rng)
        assert word not in SPRITES
        assert len(tokenizer.tokenize(word)) in (1, len(word))
    spelled = [w for w in unknown.NOUNS if len(tokenizer.tokenize(w)) == len(w)]
    assert len(spelled) > 0.8 * len(unknown.NOUNS)


def test_the_tokenizer_reads_every_lesson_and_spells_what_it_does_not_know(lessons, tokenizer):
    for lesson in lessons[:500]:
        ids = tokenizer(f"{lesson.instruction} {lesson.description or ''}").input_ids
        assert tokenizer.unk_token_id not in ids
        assert "##" not in "".join(tokenizer.tokenize(lesson.reply))
        told = tokenizer.decode(tokenizer(lesson.reply).input_ids)
        assert [c for c in told if c != " "] == [c for c in lesson.reply.lower() if c != " "]
    assert tokenizer.tokenize("the catt") == ["the", "c", "##a", "##t", "##t"]
    assert tokenizer.decode(tokenizer("turn the catt, please").input_ids) == "turn the catt , please"


def test_the_tokenizer_is_the_same_each_time(tokenizer):
    again = language_tokenizer(CHAT_TEMPLATE, ["<|user|>", "<|assistant|>", "<|end|>"])
    assert again.get_vocab() == tokenizer.get_vocab()
