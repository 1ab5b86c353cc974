"""Words of sentences: how a text is cut into them, and which numbers they have."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

__all__ = ["BEGIN", "END", "PADDING", "SPECIAL", "UNKNOWN", "Vocabulary", "join", "split"]

SPECIAL = ("<pad>", "<unk>", "<bos>", "<eos>")
"""The first entries of every vocabulary: behind the end, unknown, before the first word, end."""
PADDING, UNKNOWN, BEGIN, END = range(len(SPECIAL))

_IN_NUMBER = re.compile(r"(?<=\d)(\.|,(?=\s+\d{3}\b))\s+(?=\d)")
_NO_SPACE_BEFORE = re.compile(r"\s+([.,!?;:%)\]}…»])")
_NO_SPACE_AFTER = re.compile(r"([(\[{«])\s+")


@functools.cache
def _word() -> re.Pattern[str]:
    """A word or a mark.

    Apostrophes and hyphens inside a word belong to it, as the tokenizer of SacreBLEU has it, and so
    do the vowel signs and accents of their own that follow a letter in many scripts.
    """
    signs = "".join(c for c in map(chr, range(0x300, 0x1F000)) if unicodedata.category(c)[0] == "M")
    letter = rf"[\w{re.escape(signs)}]"
    return re.compile(rf"{letter}+(?:['’\-]{letter}+)*|[^\w\s]")


def split(text: str, *, lowercase: bool = False) -> list[str]:
    """The words and marks of a sentence, in small letters if asked.

    >>> split("A man's T-shirt, (blue).")
    ['A', "man's", 'T-shirt', ',', '(', 'blue', ')', '.']
    """
    return _word().findall(text.lower() if lowercase else text)


def join(words: Iterable[str]) -> str:
    """Words as people write them: no space before a full stop, none in a number.

    >>> join(["A", "man", ",", "(", "1", ".", "80", "m", ")", "."])
    'A man, (1.80 m).'
    """
    text = _NO_SPACE_BEFORE.sub(r"\1", " ".join(words))
    return _IN_NUMBER.sub(r"\1", _NO_SPACE_AFTER.sub(r"\1", text))


class Vocabulary:
    """Words by number: the special ones first, then the most frequent.

    Args:
        words: all of them, in the order of their numbers, the special ones first.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self._numbers = {word: number for number, word in enumerate(self.words)}

    @classmethod
    def of(
        cls, sentences: Iterable[Sequence[str]], *, min_count: int, max_vocab: int
    ) -> Vocabulary:
        """The words that occur at least so often, at most so many of them beside the special ones.

        Args:
            sentences: in words.
            min_count: occurrences that a word needs.
            max_vocab: words.
        """
        counts = Counter(word for sentence in sentences for word in sentence)
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        return cls([*SPECIAL, *[word for word in ranked if counts[word] >= min_count][:max_vocab]])

    def __len__(self) -> int:
        return len(self.words)

    def numbers(self, sentence: Sequence[str]) -> list[int]:
        """Of each word; ``UNKNOWN`` for others."""
        return [self._numbers.get(word, UNKNOWN) for word in sentence]

    def text(self, numbers: Iterable[int]) -> str:
        """What people read, up to the end; an unknown word stays visible."""
        words = []
        for number in numbers:
            if number == END:
                break
            if number not in (PADDING, BEGIN):
                words.append(self.words[number])
        return join(words)
