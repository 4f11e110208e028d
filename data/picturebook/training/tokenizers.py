"""Picturebook's tokenizers: the classes of the real checkpoints with the vocabulary of this world."""

import json
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import BertTokenizer, CLIPTokenizer, PreTrainedTokenizerFast

from data.picturebook import phrases
from data.picturebook.world import BACKGROUNDS, COLOURS, NOUNS, SPRITES, STYLES, WEARABLES

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


def language_tokenizer(chat_template: str, special: Sequence[str]) -> PreTrainedTokenizerFast:
    """Return a tokenizer for instructions, descriptions and answers; the last of ``special`` ends an answer."""
    words = {*instruction_words(), phrases.IT, "description", *ANSWER_WORDS, *WEARABLES, *NOUNS}
    return word_tokenizer(words, special, chat_template=chat_template, model_max_length=192)


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
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("isolated")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        eos_token=specials[-1],
        additional_special_tokens=specials[2:-1],
        **options,
    )
