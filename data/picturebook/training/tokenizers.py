"""Picturebook's tokenizers: the classes of the real checkpoints with the vocabulary of this world."""

import json
import re
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import BertTokenizer, CLIPTokenizer, PreTrainedTokenizerFast

from data.picturebook import (
    clothes_and_colours,
    grammar,
    impossible,
    patterns,
    phrases,
    realisation,
    referring,
    sentences,
    unknown,
)
from data.picturebook.world import BACKGROUNDS, COLOURS, NOUNS, SPRITES, STYLES, WEARABLES
from instructedit.language.parse import REFUSAL

TEXT_WINDOW = 24
"""Default maximum number of tokens, CLIP's; the longest caption has 22."""


def caption_words() -> list[str]:
    """Return every word that a caption or a segmentation prompt can contain."""
    words = set("a an of and with on at in the left right middle bigger smaller two three mix empty background".split())
    words |= {*SPRITES, *(phrases.plural(n) for n in SPRITES), *COLOURS, *BACKGROUNDS, *STYLES}
    return sorted(words)


def clip_tokenizer(words: Sequence[str] | None = None, window: int = TEXT_WINDOW) -> CLIPTokenizer:
    """Return a byte-level BPE in which each of ``words`` (default: of the captions) is one token.

    Other text is encoded by several tokens.
    """
    base = CLIPTokenizer()
    # The trainer would number tokens in the order of its hash maps, which differs between trainings. Therefore the
    # alphabet is sorted, and the bytes that end a word, which unseen words need anyway, are special tokens.
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    endings = [f"{character}</w>" for character in alphabet]
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = base.backend_tokenizer.normalizer
    bpe.pre_tokenizer = base.backend_tokenizer.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=4096,
        min_frequency=1,
        special_tokens=["<|startoftext|>", "<|endoftext|>", *endings],
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    bpe.train_from_iterator([*(words or caption_words()), ","], trainer)
    vocab = bpe.get_vocab()
    merges = [tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=window)


def bert_tokenizer() -> BertTokenizer:
    """Return a WordPiece tokenizer for Grounding DINO, in which "." and "?" have BERT's ids, as its code requires."""
    places = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
    letters = [c for c in "abcdefghijklmnopqrstuvwxyz0123456789-',"]
    free = iter([*letters, *(f"##{c}" for c in letters), *(w for w in caption_words() if len(w) > 1)])
    vocab = {places.get(i) or next(free, f"[unused{i}]"): i for i in range(1030)}
    return BertTokenizer(vocab=vocab, do_lower_case=True, model_max_length=64)


def instruction_words() -> list[str]:
    """Return every word that an instruction in picturebook's language can contain."""
    words: set[str] = set(caption_words())
    for kind in phrases.TEMPLATES:
        for template, opening in product(phrases.templates(kind), phrases.OPENINGS):
            words |= set(f"{opening} {template.format(r='', n='', c='')}".lower().split())
    return sorted(words)


ANSWER_WORDS = ("segmentation", "prompt", "editing", "1", "2", "photo", ":", ".", '"', ",", "?", "!")
_TEMPLATE = ("segmentation prompt:", '. editing prompt 1: "', '". editing prompt 2: "', '".')
"""The template's own words, one token each: a third of a lesson's tokens less to compute."""
_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,:;!?'\"()-+=<>/&%#*_"


def language_tokenizer(chat_template: str, special: Sequence[str]) -> PreTrainedTokenizerFast:
    """Return a tokenizer for instructions, descriptions and answers, with one token per known word, else per character.

    A typing error or a name is spelled out, so that the model can guess what is meant, or see that it cannot.

    Args:
        chat_template: Of the tokenizer.
        special: Tokens that are no words; the last one ends an answer.
    """
    words = {*instruction_words(), *lesson_words(), phrases.IT, "description", *ANSWER_WORDS, *WEARABLES, *NOUNS}
    words |= set(_words(REFUSAL))
    known = sorted({w for w in words if w.isalnum()} | {*_CHARACTERS})
    vocab = ["[PAD]", "[UNK]", *special, *known, *(f"##{c}" for c in _CHARACTERS if c.isalnum())]
    # Without merges, and with words looked up first, BPE knows a word as a whole or spells it.
    bpe = models.BPE(
        {token: i for i, token in enumerate(vocab)},
        [],
        unk_token="[UNK]",
        continuing_subword_prefix="##",
        ignore_merges=True,
    )
    tokenizer = _lower_case(Tokenizer(bpe))
    tokenizer.decoder = decoders.WordPiece("##", cleanup=False)
    tokenizer.add_tokens([AddedToken(text, normalized=True, lstrip=True, rstrip=True) for text in _TEMPLATE])
    return _fast(tokenizer, ["[PAD]", "[UNK]", *special], chat_template=chat_template, model_max_length=192)


def lesson_words() -> list[str]:
    """Every word of the sentences that the language model learns from, without those that it shall see spelled."""
    said = [*unknown.ATTRIBUTES, *unknown.GLOBAL, *unknown.ADJECTIVES, *sentences.OPENINGS, *sentences.PREFIXES]
    said += [
        *sentences.TAILS,
        *sentences.INSTEAD,
        *sentences.MENTIONS,
        *referring.FORMS,
        *referring.OPINIONS,
        *realisation.ENDINGS,
        *clothes_and_colours.CHANGES_OF_CLOTHES,
        *clothes_and_colours.OTHER_COLOURS,
        *clothes_and_colours.TAKINGS,
        *clothes_and_colours.FRAGMENTS,
        *impossible.PATTERNS,
        *patterns.PEOPLE,
    ]
    said += [short for pair in sentences.CONTRACTIONS for short in (pair[1], pair[1].replace("'", ""))]
    for cores in grammar.CORES.values():
        said += cores
    return sorted({w for s in said for w in _words(re.sub(r"\{\w+\}", " ", s))})


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def word_tokenizer(words: Iterable[str], special: Sequence[str], **options: Any) -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token per word; unknown words become [UNK], so that they can be reported.

    Args:
        words: The vocabulary, in lower case.
        special: Special tokens; the last one ends a text.
        options: Further arguments of PreTrainedTokenizerFast.
    """
    specials = ["[PAD]", "[UNK]", *special]
    words = sorted({*words})
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate([*specials, *words])}, unk_token="[UNK]"))
    return _fast(_lower_case(tokenizer), specials, **options)


def _lower_case(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("isolated")]
    )
    return tokenizer


def _fast(tokenizer: Tokenizer, specials: Sequence[str], **options: Any) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        eos_token=specials[-1],
        additional_special_tokens=specials[2:-1],
        **options,
    )
