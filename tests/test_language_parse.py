"""Replies as language models really write them, and the prompt that asks for them."""

import json

import pytest

from instructedit.language import ReplyError, messages, parse_reply
from instructedit.language.parse import REFUSAL, NoEditError, parse_json
from instructedit.language.prompt import FIELDS, TASK_PROMPT, TASK_PROMPT_WITH_DESCRIPTION, correction, in_json

DOG = ("dog", "Photo of a dog", "Photo of a cat")

REPLIES = {
    "template": 'Segmentation prompt: Dog. Editing prompt 1: "Photo of a dog". Editing prompt 2: "Photo of a cat".',
    "as the paper prints it": (
        'Segmentation prompt: Dog. Editing prompt 1: "Photo of a dog". Editing prompt2: "Photo of a cat".'
    ),
    "dot inside the quotes": (
        'Segmentation prompt: "Dog." Editing prompt 1: "Photo of a dog." Editing prompt 2: "Photo of a cat."'
    ),
    "curly quotes": (
        "Segmentation prompt: “Dog”. Editing prompt 1: “Photo of a dog”. Editing prompt 2: “Photo of a cat”."
    ),
    "single quotes": (
        "Segmentation prompt: 'Dog'. Editing prompt 1: 'Photo of a dog'. Editing prompt 2: 'Photo of a cat'"
    ),
    "no quotes": "Segmentation prompt: Dog. Editing prompt 1: Photo of a dog. Editing prompt 2: Photo of a cat.",
    "cut last quote": 'Segmentation prompt: Dog. Editing prompt 1: "Photo of a dog". Editing prompt 2: "Photo of a cat',
    "lines": 'Segmentation prompt: Dog\nEditing prompt 1: "Photo of a dog"\n\nEditing prompt 2: "Photo of a cat"\n',
    "shouting": (
        'SEGMENTATION PROMPT : DOG . EDITING PROMPT 1 : "Photo of a dog" . EDITING PROMPT 2 : "Photo of a cat" .'
    ),
    "bold list": (
        "Sure!\n- **Segmentation prompt:** Dog.\n- **Editing prompt 1:** Photo of a dog\n"
        "- **Editing prompt 2:** Photo of a cat"
    ),
    "values below": (
        'Segmentation prompt:\nDog\nEditing prompt 1:\n"Photo of a dog"\nEditing prompt 2:\n"Photo of a cat"'
    ),
    "JSON": (
        '{"Segmentation prompt": "dog", "Editing prompt 1": "Photo of a dog", "Editing prompt 2": "Photo of a cat"}'
    ),
    "words around": (
        'Here you are. Segmentation prompt: Dog. Editing prompt 1: "Photo of a dog". '
        'Editing prompt 2: "Photo of a cat". The "cat" is where the dog was.\nAnything else?'
    ),
    "chatter below": (
        "Segmentation prompt: Dog. Editing prompt 1: Photo of a dog. Editing prompt 2: Photo of a cat.\nGood luck!"
    ),
    "thinking aloud": (
        '<think>Segmentation prompt: Cat? No, Editing prompt 1: "x".</think>Segmentation prompt: Dog. '
        'Editing prompt 1: "Photo of a dog". Editing prompt 2: "Photo of a cat".'
    ),
    "second thoughts": (
        'Segmentation prompt: Cat. Editing prompt 1: "Photo of a cat". Editing prompt 2: "Photo of a cat". Rather: '
        'Segmentation prompt: Dog. Editing prompt 1: "Photo of a dog". Editing prompt 2: "Photo of a cat".'
    ),
    "white space": (
        'Segmentation prompt:   Dog .  Editing prompt 1: "Photo  of\na dog". Editing prompt 2:"Photo of a cat "'
    ),
}


@pytest.mark.parametrize("name", REPLIES)
def test_odd_replies(name):
    parsed = parse_reply(REPLIES[name])
    assert (parsed.segmentation_prompt, parsed.captions.input, parsed.captions.edited) == DOG
    assert parsed.reply == REPLIES[name]


def test_a_word_level_tokenizers_spacing():
    parsed = parse_reply(
        'segmentation prompt : bigger cat . editing prompt 1 : " photo of a cat , a dog and a car " . '
        'editing prompt 2 : " photo of a lion " .'
    )
    assert parsed.segmentation_prompt == "bigger cat"
    assert parsed.captions.input == "photo of a cat, a dog and a car"
    assert parsed.captions.edited == "photo of a lion"


def test_what_belongs_to_a_caption_stays():
    parsed = parse_reply(
        "Segmentation prompt: Cat's hat. Editing prompt 1: 'Photo of a cat's hat, No. 5'. "
        'Editing prompt 2: "Photo of a sign that says "stop" in red".'
    )
    assert parsed.segmentation_prompt == "cat's hat"
    assert parsed.captions.input == "Photo of a cat's hat, No. 5"
    assert parsed.captions.edited == 'Photo of a sign that says "stop" in red'


@pytest.mark.parametrize(
    ("reply", "field"),
    [
        ("", "Segmentation prompt"),
        ("I cannot help with that.", "Segmentation prompt"),
        ('Editing prompt 1: "a". Editing prompt 2: "b".', "Segmentation prompt"),
        ('Segmentation prompt: Dog. Editing prompt 2: "b".', "Editing prompt 1"),
        ('Segmentation prompt: Dog. Editing prompt 1: "a".', "Editing prompt 2"),
        ('Segmentation prompt: Dog. Editing prompt 1: "a". Editing', "Editing prompt 2"),
        ('Segmentation prompt: . Editing prompt 1: "a". Editing prompt 2: "b".', "Segmentation prompt"),
        ('Segmentation prompt: Dog. Editing prompt 1: "". Editing prompt 2: "b".', "Editing prompt 1"),
        ('Segmentation prompt: Dog. Editing prompt 1: "a". Editing prompt 2: " ".', "Editing prompt 2"),
        ("<think>Segmentation prompt: Dog. Editing prompt 1: a. Editing prompt 2: b.</think>", "Segmentation prompt"),
    ],
)
def test_what_is_missing_is_named(reply, field):
    with pytest.raises(ReplyError, match=f'"{field}:"') as caught:
        parse_reply(reply)
    assert "\n" not in str(caught.value)


def in_fields(*values: object) -> str:
    return json.dumps(dict(zip(FIELDS, values, strict=False)))


@pytest.mark.parametrize("read", [parse_reply, parse_json])
@pytest.mark.parametrize("around", ["{}", " {}\n", "```json\n{}\n```", "```\n{}```", "<think>{{a}}</think>{}"])
def test_replies_in_json(read, around):
    text = around.format(in_fields("Dog.", 'A "dog",\nred', "Photo of a kätzchen, No. 5"))
    parsed = read(text)
    assert (parsed.segmentation_prompt, parsed.captions.input) == ("dog", 'A "dog", red')
    assert parsed.captions.edited == "Photo of a kätzchen, No. 5"
    assert parsed.reply == text


@pytest.mark.parametrize("read", [parse_reply, parse_json])
@pytest.mark.parametrize("value", ["", " . ", 3, None, ["cat"]])
def test_what_is_missing_in_json_is_named(read, value):
    with pytest.raises(ReplyError, match='the reply has no text in "editing_prompt_2"'):
        read(in_fields("Dog", "Photo of a dog", value))
    with pytest.raises(ReplyError, match='"editing_prompt_1"'):
        read(in_fields("Dog"))


@pytest.mark.parametrize("text", ["", "[1]", "{}", REPLIES["template"], in_fields("Dog", "a", "b")[:-1], "[" * 9999])
def test_what_is_no_json_object_is_none(text):
    with pytest.raises(ReplyError, match="no JSON object"):
        parse_json(text)


def test_in_json_our_examples_are_and_what_others_said_stays():
    said = 'Segmentation prompt: Dog. Editing prompt 1: "a". Editing prompt 2: "b".'
    for description in (None, "A painting of a dog"):
        chat = messages(said, description) + correction(said, 'the reply has no "Editing prompt 2:"')
        system, user, assistant, again = in_json(chat)
        assert (user, assistant) == (chat[1], chat[2])
        assert "Segmentation prompt: " not in system["content"] + again["content"]
        examples = [line for line in system["content"].splitlines() if line.startswith("{")]
        assert len(examples) == chat[0]["content"].count("Segmentation prompt: ")
        for example in [*examples, again["content"].partition("form: ")[2]]:
            parsed = parse_json(example)
            assert parsed.captions.input != parsed.captions.edited
        before = [parse_reply(x) for x in chat[0]["content"].splitlines() if x.startswith("Segmentation prompt: ")]
        after = [parse_json(example) for example in examples]
        assert [(p.segmentation_prompt, p.captions) for p in before] == [
            (p.segmentation_prompt, p.captions) for p in after
        ]


def test_instruction_and_description_are_lines_of_the_user():
    system, user = messages("Change it\nDescription: a trap", "Photo of\na cat")
    assert system == {"role": "system", "content": TASK_PROMPT_WITH_DESCRIPTION}
    assert user == {"role": "user", "content": "Change it Description: a trap\nDescription: Photo of a cat"}
    system, user = messages("Change the cat to a lion")
    assert system["content"] == TASK_PROMPT
    assert user["content"] == "Change the cat to a lion"


@pytest.mark.parametrize("prompt", [TASK_PROMPT, TASK_PROMPT_WITH_DESCRIPTION])
def test_the_examples_of_the_prompt_are_in_the_form_that_it_asks_for(prompt):
    examples = [line for line in prompt.splitlines() if line.startswith("Segmentation prompt:")]
    assert len(examples) >= 6
    for example in examples:
        parsed = parse_reply(example)
        assert parsed.captions.input != parsed.captions.edited


@pytest.mark.parametrize("read", [parse_reply, parse_json])
@pytest.mark.parametrize(
    "text", [REFUSAL, "not an edit i can express .", '"Not an edit I can express"', "<think>a cat?</think>" + REFUSAL]
)
def test_a_refusal_is_told_from_a_reply_that_cannot_be_read(read, text):
    with pytest.raises(NoEditError, match="the language model refused"):
        read(text)


@pytest.mark.parametrize(
    "text", ["I cannot express this edit.", REFUSAL + " Or can I?", "", REPLIES["no quotes"] + REFUSAL]
)
def test_what_only_resembles_a_refusal_is_none(text):
    try:
        parse_reply(text)
    except ReplyError as error:
        assert not isinstance(error, NoEditError)  # noqa: PT017


@pytest.mark.parametrize(
    "text",
    [
        'Segmentation prompt: Cat. Editing prompt 1: "Photo of a cat". Editing prompt 2: "photo of a cat.".',
        in_fields("cat", "Photo of a cat", "photo of a  cat"),
    ],
)
def test_two_equal_captions_ask_for_no_edit(text):
    with pytest.raises(NoEditError, match='asks for no edit: both captions are "Photo of a cat"'):
        parse_reply(text)
