"""The local backend on small Llamas of the real class with picturebook's real tokenizer."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from data.picturebook.phrases import sample_wish, templates
from data.picturebook.training.language_model import CHAT_TEMPLATE
from data.picturebook.training.tokenizers import instruction_words, language_tokenizer, word_tokenizer
from instructedit.language import LocalLanguage, Parsed, messages
from instructedit.language.base import Reply
from instructedit.language.local import LEAST_PROBABILITY
from instructedit.language.parse import REFUSAL
from instructedit.types import ConfigError, StageError

SHIPPED = Path(__file__).parents[1] / "data/picturebook/models/language_model"
# Of different lengths, so that a batch of them is padded.
LESSONS = {
    "Remove the cat": ("cat", "photo of a cat", "photo of an empty background"),
    "Turn the glasses into sunglasses": ("glasses", "photo of glasses", "photo of sunglasses"),
    "Could you please color the white scarf on the left pink?": (
        "white scarf on the left",
        "photo of a white scarf",
        "photo of a pink scarf",
    ),
}
REFUSED = "Rotate the cat"


@pytest.fixture(scope="module")
def tokenizer():
    return language_tokenizer(CHAT_TEMPLATE, ["<|user|>", "<|assistant|>", "<|end|>"])


def llama(tokenizer) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def taught(tokenizer):
    """A Llama that knows the lessons by heart."""
    model = llama(tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    texts = [
        tokenizer.apply_chat_template([{"role": "user", "content": i}], tokenize=False, add_generation_prompt=True)
        + f' Segmentation prompt: {r}. Editing prompt 1: "{a}". Editing prompt 2: "{b}". <|end|>'
        for i, (r, a, b) in LESSONS.items()
    ]
    chat = [{"role": "user", "content": REFUSED}]
    texts.append(
        tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) + f" {REFUSAL} <|end|>"
    )
    batch = tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
    labels = batch.input_ids.masked_fill(batch.attention_mask == 0, -100)
    for _ in range(120):
        loss = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def test_answers_in_the_template(taught, tokenizer):
    answers = LocalLanguage(taught, tokenizer, {"model": "taught"}).parse(list(LESSONS), [None] * 3)
    parsed = [answer for answer in answers if isinstance(answer, Parsed)]
    assert [(p.segmentation_prompt, p.captions.input, p.captions.edited) for p in parsed] == list(LESSONS.values())
    assert parsed[0].reply.startswith("segmentation prompt: cat .")


@pytest.mark.parametrize("kind", ["taught", "random"])
def test_replies_do_not_depend_on_the_batch(kind, taught, tokenizer):
    model = taught if kind == "taught" else llama(tokenizer)
    language = LocalLanguage(model, tokenizer, {}, max_new_tokens=40)
    chats = [messages(instruction) for instruction in LESSONS]
    together = language.answer(chats)
    assert len({len(tokenizer(c[1]["content"])["input_ids"]) for c in chats}) == 3
    assert together == [language.answer([chat])[0] for chat in chats]
    assert together[::-1] == language.answer(chats[::-1])


def test_prompts_are_the_rendered_chats_padded_on_the_left(taught, tokenizer):
    chats = [
        messages(instruction, description) for instruction in LESSONS for description in (None, "A photo of a cat.")
    ]
    texts = [tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
    rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    width = max(map(len, rows))
    assert len({len(row) for row in rows}) > 2
    prompts = LocalLanguage(taught, tokenizer, {})._prompts(chats)
    assert prompts["input_ids"].tolist() == [[tokenizer.pad_token_id] * (width - len(row)) + row for row in rows]
    assert prompts["attention_mask"].tolist() == [[0] * (width - len(row)) + [1] * len(row) for row in rows]


def test_a_tokenizer_without_a_pad_token_will_do(taught):
    tokenizer = language_tokenizer(CHAT_TEMPLATE, ["<|user|>", "<|assistant|>", "<|end|>"])
    tokenizer.pad_token = None
    answers = LocalLanguage(taught, tokenizer, {}).parse(list(LESSONS), [None] * 3)
    assert [type(answer) for answer in answers] == [Parsed] * 3


def test_unknown_characters_are_named_and_the_others_answered(taught, tokenizer):
    first, second = list(LESSONS)[:2]
    language = LocalLanguage(taught, tokenizer, {})
    answers = language.parse([first, "Turn the giraff into a 猫.", second], [None] * 3)
    assert [type(answer) for answer in answers] == [Parsed, StageError, Parsed]
    assert '"猫"' in str(answers[1])
    assert "giraff" not in str(answers[1])


def test_unknown_words_of_a_word_level_tokenizer_are_named():
    words = word_tokenizer(instruction_words(), ["<|user|>", "<|assistant|>", "<|end|>"], chat_template=CHAT_TEMPLATE)
    [answer] = LocalLanguage(llama(words), words, {}).parse(["Turn the giraff into a zebbra."], [None])
    message = str(answer)
    for part in ['"giraff"', '"zebbra"', "zebra", "models=sd15", "language=openai"]:
        assert part in message
    assert "\n" not in message


def test_unknown_characters_of_a_description_are_named_too(taught, tokenizer):
    [answer] = LocalLanguage(taught, tokenizer, {}).parse(["Remove the cat"], ["photo of a cat on a sofä"])
    assert isinstance(answer, StageError)
    assert '"sofä"' in str(answer)


def test_an_empty_instruction_is_an_error(taught, tokenizer):
    [answer] = LocalLanguage(taught, tokenizer, {}).parse(["  "], [None])
    assert isinstance(answer, StageError)
    assert "empty" in str(answer)
    assert LocalLanguage(taught, tokenizer, {}).parse([], []) == []


class Overheard(LocalLanguage):
    """Remembers what it was asked."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.asked: list[list[list[dict[str, str]]]] = []

    def answer(self, chats) -> list[Reply | StageError]:
        self.asked.append([list(chat) for chat in chats])
        return super().answer(chats)


def test_what_cannot_be_parsed_is_asked_once_more_with_the_error(tokenizer):
    language = Overheard(llama(tokenizer), tokenizer, {}, max_new_tokens=30)
    [answer] = language.parse(["Remove the cat"], [None])
    assert isinstance(answer, StageError)
    assert answer.stage == "language"
    first, second = language.asked
    assert [turn["role"] for turn in second[0]] == ["system", "user", "assistant", "user"]
    assert second[0][:2] == first[0]
    assert "cut off" in second[0][3]["content"]
    assert '"' in str(answer)
    assert len(str(answer)) < 300


def test_a_refusal_is_a_failure_that_is_not_asked_again(taught, tokenizer):
    language = Overheard(taught, tokenizer, {})
    first = next(iter(LESSONS))
    refused, answered = language.parse([REFUSED, first], [None] * 2)
    assert isinstance(answered, Parsed)
    assert isinstance(refused, StageError)
    assert refused.stage == "language"
    assert str(refused) == 'the language model refused; the reply was "not an edit i can express ."'
    assert refused.tokens is not None
    assert len(language.asked) == 1


def test_a_reply_that_is_cut_is_no_reply(taught, tokenizer):
    # 40 tokens, as in the released code, and fewer: the last caption would lose its end in silence.
    language = LocalLanguage(taught, tokenizer, {}, max_new_tokens=8)
    [answer] = language.parse(["Remove the cat"], [None])
    assert isinstance(answer, StageError)
    assert "cut off" in str(answer)


def test_a_model_without_a_chat_template_is_refused(taught):
    tokenizer = language_tokenizer(CHAT_TEMPLATE, ["<|user|>", "<|assistant|>", "<|end|>"])
    for template in [None, "{{ raise_exception('System role not supported') }}"]:
        tokenizer.chat_template = template
        with pytest.raises(ConfigError, match="chat template"):
            LocalLanguage(taught, tokenizer, {}).parse(["Remove the cat"], [None])


def test_identity_names_model_and_prompt(taught, tokenizer):
    one = LocalLanguage(taught, tokenizer, {"model": "m", "revision": "r", "dtype": "float32"}).identity
    assert {"backend": "local", "model": "m", "revision": "r", "dtype": "float32"}.items() <= one.items()
    assert "prompt" in one


@pytest.mark.skipif(not SHIPPED.is_dir(), reason="the picturebook language model is not there")
def test_the_shipped_model_understands_phrasings_that_it_never_saw():
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED)
    model = AutoModelForCausalLM.from_pretrained(SHIPPED, dtype=torch.float32).eval()
    rng = np.random.default_rng(77)
    wishes = [sample_wish(rng) for _ in range(60)]
    instructions = [w.words(str(rng.choice(templates(w.kind, held_out=True))), rng) for w in wishes]
    answers = LocalLanguage(model, tokenizer, {}).parse(instructions, [None] * 60)
    right = [
        isinstance(given, Parsed)
        and (given.segmentation_prompt, given.captions.input, given.captions.edited)
        == (wanted.segmentation_prompt, wanted.input, wanted.edited)
        for given, wanted in zip(answers, [w.answer() for w in wishes], strict=True)
    ]
    assert sum(right) >= 54


def test_a_reply_of_which_the_model_is_not_sure_is_a_failure(taught, tokenizer, tmp_path):
    first = next(iter(LESSONS))
    language = LocalLanguage(taught, tokenizer, {})
    ((reply, lowest),) = language.scored([messages(first)])
    # Parity: the probabilities of the same tokens in one pass over prompt and reply.
    text = tokenizer.apply_chat_template(messages(first), tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text, return_tensors="pt").input_ids
    whole = taught.generate(input_ids=ids, do_sample=False, max_new_tokens=200, pad_token_id=tokenizer.pad_token_id)
    probabilities = taught(input_ids=whole).logits[0, ids.shape[1] - 1 : -1].softmax(-1)
    each = probabilities.gather(1, whole[0, ids.shape[1] :, None])
    assert lowest == pytest.approx(each.min().item(), abs=1e-4)
    assert 0 < lowest < 1
    try:
        for least, kind in ((lowest - 1e-3, Parsed), (lowest + 1e-3, StageError)):
            setattr(taught.config, LEAST_PROBABILITY, least)
            taught.config.save_pretrained(tmp_path)
            assert getattr(AutoConfig.from_pretrained(tmp_path), LEAST_PROBABILITY) == least
            [answer] = language.parse([first], [None])
            assert isinstance(answer, kind)
        assert str(answer).startswith("the language model is not sure: a word of its reply")
        assert answer.tokens == reply.tokens
    finally:
        delattr(taught.config, LEAST_PROBABILITY)
