"""Sentences with what is to be said of each: translations, headlines.

Each side is a text file of a line a sentence. Vocabularies are those of the training part.

References:
    Elliott et al., "Multi30K: Multilingual English-German Image Descriptions", arXiv:1605.00459.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from darts.data.source import Query
from darts.data.words import END, PADDING, Vocabulary, split

__all__ = ["OPTIONS", "Pairs", "Sentences", "load_multi30k", "load_pairs", "made", "padded"]

OPTIONS = {
    "source": "src",
    "target": "tgt",
    "joint": False,
    "min_count": 2,
    "max_vocab": 20000,
    "max_length": 60,
    "lowercase": False,
}
"""Options and defaults: endings of the files of both sides, whether both have one vocabulary, how
often a word occurs at least, how many words there are at most, how many of a sentence are read,
and whether capitals are read as small letters."""

MULTI30K = {"train": "train", "valid": "val", "test": "test_2016_flickr"}


@dataclass(frozen=True, eq=False)
class Sentences:
    """One part of a set.

    Attributes:
        sources: numbers of words, ``(N, S)`` int64, each sentence ended and then padded.
        targets: the same of the other side, ``(N, T)``.
        references: the other side as it was written.
    """

    sources: Tensor
    targets: Tensor
    references: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.references)


@dataclass(frozen=True, eq=False)
class Pairs:
    """A set of pairs in three parts.

    Attributes:
        name: in the registry.
        source, target: the words of both sides; one vocabulary may be both.
        train, valid, test: its parts.
    """

    name: str
    source: Vocabulary
    target: Vocabulary
    train: Sentences
    valid: Sentences
    test: Sentences


Rows = list[tuple[str, str]]


def load_pairs(query: Query) -> Pairs:
    """A folder with `train.src`, `train.tgt`, and the same of `valid` and `test`, UTF-8.

    Raises:
        ValueError: in one line that names the file, if one is missing or no text, or the two sides
            are not equally long.
    """
    return _from_files(query, {part: part for part in ("train", "valid", "test")})


def load_multi30k(query: Query) -> Pairs:
    """Captions of pictures, `train`, `val` and `test_2016_flickr` with a language as ending.

    Raises:
        ValueError: as `load_pairs`.
    """
    return _from_files(query, MULTI30K)


def _from_files(query: Query, names: dict[str, str]) -> Pairs:
    options = {**OPTIONS, **query.options}
    root = query.folder()
    endings = [str(options[side]) for side in ("source", "target")]
    if endings[0] == endings[1]:
        raise ValueError(f"{query.name}: dataset.source and dataset.target are both {endings[0]!r}")
    places = {
        part: [root / f"{name}.{ending}" for ending in endings] for part, name in names.items()
    }
    missing = [path.name for pair in places.values() for path in pair if not path.is_file()]
    if missing:
        raise ValueError(
            f"{query.name}: {', '.join(missing)} not in {root}: put them there, or set "
            "dataset.root to where they are"
        )
    return made(query, {part: _lines(*pair) for part, pair in places.items()})


def _lines(source: Path, target: Path) -> Rows:
    sides: list[list[str]] = []
    for path in (source, target):
        try:
            with path.open(encoding="utf-8-sig") as file:  # splitlines knows more ends of lines
                sides.append([line.rstrip("\n") for line in file])
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is no UTF-8 text: byte {error.start}") from None
    if len(sides[0]) != len(sides[1]):
        raise ValueError(
            f"{source} has {len(sides[0])} lines and {target} has {len(sides[1])}: a pair a line"
        )
    return [(a, b) for a, b in zip(*sides, strict=True) if split(a) and split(b)]


def made(query: Query, parts: dict[str, Rows]) -> Pairs:
    """Numbers for the words of both sides, by the training part.

    Raises:
        ValueError: in one line, if a part is empty.
    """
    options = {**OPTIONS, **query.options}
    empty = [part for part, rows in parts.items() if not rows]
    if empty:
        raise ValueError(f"{query.name}: the {empty[0]} part has no pair of sentences")
    lower = bool(options["lowercase"])
    least, most = int(options["min_count"]), int(options["max_vocab"])
    texts = [[split(row[side], lowercase=lower) for row in parts["train"]] for side in (0, 1)]
    if options["joint"]:
        sides = [Vocabulary.of(texts[0] + texts[1], min_count=least, max_vocab=most)] * 2
    else:
        sides = [Vocabulary.of(own, min_count=least, max_vocab=most) for own in texts]
    longest = int(options["max_length"])

    def numbers(rows: Rows, side: int) -> Tensor:
        texts = (split(row[side], lowercase=lower)[:longest] for row in rows)
        return padded([sides[side].numbers(text) for text in texts])

    made = {
        part: Sentences(numbers(rows, 0), numbers(rows, 1), tuple(row[1] for row in rows))
        for part, rows in parts.items()
    }
    return Pairs(query.name, sides[0], sides[1], **made)


def padded(sentences: Sequence[list[int]]) -> Tensor:
    """Sentences with their end, ``(N, longest)``."""
    ended = [torch.tensor([*sentence, END]) for sentence in sentences]
    return torch.nn.utils.rnn.pad_sequence(ended, batch_first=True, padding_value=PADDING)
