"""Tokenization of texts into words, and the encoding of words as indices."""

from __future__ import annotations

import functools
import itertools
import math
import re
import unicodedata
from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from darts.data.text_file import count
from darts.registry import number

# The first entries of each vocabulary: padding, unknown word, begin and end of a sentence.
SPECIAL = ("<pad>", "<unk>", "<bos>", "<eos>")
PADDING, UNKNOWN, BEGIN, END = range(len(SPECIAL))

_PADDED_LIMIT = 2**29  # word indices of a split: 4 GiB
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


def tokenize(text: str, lowercase: bool = False) -> list[str]:
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


@dataclass
class VocabularyOptions:
    """Options of data sets of sentences."""

    min_count: int = number(2, low=1)  # occurrences in the training split that a word needs
    max_vocab: int = number(20000, low=1)  # words of a vocabulary, without the special ones
    max_length: int = number(60, low=1, high=1000)  # words of a sentence; the rest is cut off
    lowercase: bool = False  # convert text to lower case

    def fit(self, texts: Iterable[str]) -> WordEncoding:
        """Return the encoding that the training texts determine."""
        found = (word for text in texts for word in tokenize(text, self.lowercase))
        counts = count(found, "the training split")
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        frequent = [word for word in ranked if counts[word] >= self.min_count]
        words = (*SPECIAL, *frequent[: self.max_vocab])
        return WordEncoding(words, self.max_length, self.lowercase)


@dataclass(frozen=True)
class WordEncoding:
    """A vocabulary, and how it turns texts into indices.

    Attributes:
        words: The vocabulary by index: the special words first, then by frequency.
        max_length: Words of a text; the rest is cut off.
        lowercase: Whether texts are converted to lower case.
    """

    words: tuple[str, ...]
    max_length: int
    lowercase: bool

    @functools.cached_property
    def _index_of(self) -> dict[str, int]:
        return {word: index for index, word in enumerate(self.words)}

    def __call__(self, texts: Iterable[str]) -> Tensor:
        """Return word indices ``(N, L)`` int64; ``END`` and padding follow each text.

        Words that are not in the vocabulary become ``UNKNOWN``.
        """
        flat, lengths = array("q"), array("q")
        for text in texts:
            words = tokenize(text, self.lowercase)[: self.max_length]
            flat.extend(self._index_of.get(word, UNKNOWN) for word in words)
            flat.append(END)
            lengths.append(len(words) + 1)
        shape = len(lengths), max(lengths)
        if math.prod(shape) > _PADDED_LIMIT:
            raise ValueError(
                f"dataset.max_length={self.max_length}: {shape[0]:,} texts of up to {shape[1] - 1} "
                "words take too much memory; set a smaller number"
            )
        padded = np.full(shape, PADDING, dtype=np.int64)
        padded[np.arange(shape[1]) < np.frombuffer(lengths, dtype=np.int64)[:, None]] = flat
        return torch.from_numpy(padded)

    def decode(self, indices: Iterable[int]) -> str:
        """Return the text before ``END``; an unknown word becomes ``<unk>``."""
        own = itertools.takewhile(lambda index: index != END, indices)
        return detokenize(self.words[index] for index in own if index not in (PADDING, BEGIN))
