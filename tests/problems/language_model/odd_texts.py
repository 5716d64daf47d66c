"""Texts that tokenizers find hard, and small trained tokenizers of several kinds."""

from __future__ import annotations

import argparse
import inspect
import random
import sys
import unicodedata
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from transformers.tokenization_utils_base import generate_merges

ENGLISH = "The order of the tokens is the order in which they are used, and then the order of their ids.\n"
GREEK = "και η σειρά των λέξεων είναι η σειρά με την οποία χρησιμοποιούνται, και μετά η σειρά των αριθμών τους.\n"
CODE = inspect.getsource(argparse)[:20000]
TEXTS = [ENGLISH * 20, GREEK * 20, CODE]

_ODD = [
    "", " ", "  \t \n\n\r\n  x", "\x00\x01\x1b[0m\x7f", "e\u0301 a\u0308\u0323 \u200d\u200b\ufeff\u00ad", "a" * 300,
    "=" * 77, " " * 77, "👩\u200d👩\u200d👧🏳️\u200d🌈🇩🇪👍🏽", "\uff11\uff12 ١٢٣ ⅷ ½ 10,000.00", "DON'T I'LL we\u2019ve",
    "العربية עברית हिन्दी ไทย 漢字かなカナ한국어", "\U0001d518\U0001d52b 🜁 \U00010348", "https://example.org/?a=1&b=%20#x",
    "<|endoftext|> <s></s> [UNK] <0x0A> ▁", "\ud7ff\ue000\uffff\U0010ffff",
]  # fmt: skip


def odd_texts(number: int = 300) -> list[str]:
    """The same texts each time: hard ones, parts of plain ones, random characters, and mixtures of these."""
    draw = random.Random(0)
    texts = list(_ODD)
    while len(texts) < number:
        random_ones = "".join(chr(draw.choice(_CHARACTERS)) for _ in range(draw.randrange(12)))
        begin = draw.randrange(len(CODE))
        texts.append("".join(draw.sample([random_ones, (CODE + GREEK)[begin:][:40], draw.choice(_ODD)], 3)))
    return texts


def unicode_texts() -> list[str]:
    """All assigned characters, 1,000 in each text."""
    return ["".join(map(chr, _CHARACTERS[first : first + 1000])) for first in range(0, len(_CHARACTERS), 1000)]


_CHARACTERS = [code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) not in {"Cn", "Cs", "Co"}]


def byte_level(size: int = 700) -> Any:
    """As of GPT-2 and Llama 3."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    signs = pre_tokenizers.ByteLevel.alphabet()
    return _trained(made, trainers.BpeTrainer(vocab_size=size, initial_alphabet=signs, special_tokens=["<s>", "</s>"]))


def byte_fallback(size: int = 700) -> Any:
    """As of Llama 2 and Gemma: merges of all pairs that make a token, by its score."""
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"▁*\p{L}+|▁+"), "isolated")
    signs = [f"<0x{byte:02X}>" for byte in range(256)]
    special = ["<unk>", "<s>", "</s>", *signs]
    vocabulary = _trained(made, trainers.BpeTrainer(vocab_size=size, special_tokens=special)).get_vocab()
    ordered = dict(sorted(vocabulary.items(), key=lambda item: item[1]))
    model = models.BPE(ordered, generate_merges(ordered, skip_tokens=special), byte_fallback=True, unk_token="<unk>")
    again = Tokenizer(model)
    again.normalizer = normalizers.Replace(" ", "▁")
    again.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse(), decoders.Replace("▁", " ")])
    again.add_special_tokens(special[:3])
    return _fast(again)


def unigram(size: int = 300) -> Any:
    """As of XGLM: pieces with scores, and no bytes."""
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    special = ["<unk>", "<s>", "</s>"]
    return _trained(made, trainers.UnigramTrainer(vocab_size=size, special_tokens=special, unk_token="<unk>"))


def word_piece(size: int = 400) -> Any:
    """As of BERT."""
    made = Tokenizer(models.WordPiece(unk_token="<unk>"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece(cleanup=False)
    return _trained(made, trainers.WordPieceTrainer(vocab_size=size, special_tokens=["<unk>", "<s>", "</s>"]))


KINDS = {"byte_level": byte_level, "byte_fallback": byte_fallback, "unigram": unigram, "word_piece": word_piece}


def _trained(made: Tokenizer, trainer: Any) -> Any:
    trainer.show_progress = False
    made.train_from_iterator(TEXTS, trainer)
    return _fast(made)


def _fast(made: Tokenizer) -> Any:
    known = {"unk_token": "<unk>"} if made.token_to_id("<unk>") is not None else {}
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", **known)
