"""Tokenization of sentences into words, and their vocabulary."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = [
    "BEGIN",
    "END",
    "PADDING",
    "SPECIAL",
    "UNKNOWN",
    "Vocabulary",
    "VocabularyOptions",
    "detokenize",
    "pad",
    "tokenize",
]

SPECIAL = ("<pad>", "<unk>", "<bos>", "<eos>")
"""The first entries of each vocabulary: padding, unknown word, begin and end of a sentence."""
PADDING, UNKNOWN, BEGIN, END = range(len(SPECIAL))

_IN_NUMBER = re.compile(r"(?<=\d)(\.|,(?=\s+\d{3}\b))\s+(?=\d)")
_NO_SPACE_BEFORE = re.compile(r"\s+([.,!?;:%)\]}…»])")
_NO_SPACE_AFTER = re.compile(r"([(\[{«])\s+")


@functools.cache
def _word_pattern() -> re.Pattern[str]:
    """Return the pattern of a word or punctuation mark.

    A word includes its inner apostrophes and hyphens, as in SacreBLEU's tokenizer, and combining
    marks: vowel signs and accents that follow a letter in many scripts.
    """
    marks = "".join(c for c in map(chr, range(0x300, 0x1F000)) if unicodedata.category(c)[0] == "M")
    letter = rf"[\w{re.escape(marks)}]"
    return re.compile(rf"{letter}+(?:['’\-]{letter}+)*|[^\w\s]")


def tokenize(text: str, *, lowercase: bool = False) -> list[str]:
    """Return the words and punctuation marks of a sentence.

    >>> tokenize("A man's T-shirt, (blue).")
    ['A', "man's", 'T-shirt', ',', '(', 'blue', ')', '.']
    """
    return _word_pattern().findall(text.lower() if lowercase else text)


def detokenize(words: Iterable[str]) -> str:
    """Join words with the usual spacing: no space before a full stop or inside a number.

    >>> detokenize(["A", "man", ",", "(", "1", ".", "80", "m", ")", "."])
    'A man, (1.80 m).'
    """
    text = _NO_SPACE_BEFORE.sub(r"\1", " ".join(words))
    return _IN_NUMBER.sub(r"\1", _NO_SPACE_AFTER.sub(r"\1", text))


@dataclass(frozen=True)
class VocabularyOptions:
    """Options of data sets of sentences.

    Attributes:
        min_count: occurrences in the training split that a word needs to be in the vocabulary.
        max_vocab: maximum number of words, without the special ones.
        max_length: maximum number of words of a sentence; the rest is cut off.
        lowercase: whether to convert sentences to lower case.
    """

    min_count: int
    max_vocab: int
    max_length: int
    lowercase: bool


class Vocabulary:
    """A mapping between words and indices: the special words first, then by frequency.

    Args:
        words: all words by index, the special ones first.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self._index_of = {word: index for index, word in enumerate(self.words)}

    @classmethod
    def build(
        cls, sentences: Iterable[Sequence[str]], *, min_count: int, max_vocab: int
    ) -> Vocabulary:
        """Return the vocabulary of tokenized sentences, see ``VocabularyOptions``."""
        counts = Counter(word for sentence in sentences for word in sentence)
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        frequent = [word for word in ranked if counts[word] >= min_count]
        return cls([*SPECIAL, *frequent[:max_vocab]])

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, sentence: Sequence[str]) -> list[int]:
        """Return the indices of words; ``UNKNOWN`` for words that are not in the vocabulary."""
        return [self._index_of.get(word, UNKNOWN) for word in sentence]

    def decode(self, indices: Iterable[int]) -> str:
        """Return the text up to ``END``; an unknown word becomes ``<unk>``."""
        words = []
        for index in indices:
            if index == END:
                break
            if index not in (PADDING, BEGIN):
                words.append(self.words[index])
        return detokenize(words)


def pad(sentences: Sequence[list[int]]) -> Tensor:
    """Return sentences with ``END`` appended, padded to the same length, ``(N, L)`` int64."""
    ended = [torch.tensor([*sentence, END]) for sentence in sentences]
    return torch.nn.utils.rnn.pad_sequence(ended, batch_first=True, padding_value=PADDING)
