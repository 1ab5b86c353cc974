"""Sentences with what is to be said of each: translations, headlines.

Each side is a text file of a line a sentence, or a column of a table. Vocabularies are those of the
training part.

References:
    Elliott et al., "Multi30K: Multilingual English-German Image Descriptions", arXiv:1605.00459.
    Zhang, Zhao and LeCun, "Character-level Convolutional Networks for Text Classification",
    arXiv:1509.01626: AG News.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from darts.data.randomness import permutation
from darts.data.source import Query
from darts.data.words import END, PADDING, Vocabulary, split

__all__ = ["OPTIONS", "Pairs", "Sentences", "load_agnews", "load_multi30k", "load_pairs"]

OPTIONS = {"source": "src", "target": "tgt", "least": 2, "most": 20000, "longest": 60}
"""Options and defaults: endings of the files of both sides, how often a word occurs at least, how
many words there are at most, and how many of a sentence are read."""

NEWS_OPTIONS = {name: OPTIONS[name] for name in ("least", "most", "longest")}

MULTI30K = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
_SHARES = (("train", 0.8), ("valid", 0.1), ("test", 0.1))  # of a set that comes in one piece


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
        source, target: the words of both sides.
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


def load_agnews(query: Query) -> Pairs:
    """News: from the description to the title. `test.csv`, cut in three parts, always the same.

    Raises:
        ValueError: in one line, if the file is missing or another.
    """
    path = query.folder() / "test.csv"
    if not path.is_file():
        raise ValueError(
            f"{query.name}: {path} is not there: put AG News' test.csv (class, title, description) "
            "there, or set dataset.root to where it is"
        )
    rows: Rows = []
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.reader(file), 1):
            if len(row) != 3:
                raise ValueError(f"{query.name}: {path}, line {number}: no class, title and text")
            rows.append((row[2].replace("\\", " "), row[1].replace("\\", " ")))
    order = permutation(len(rows), query.name, "parts").tolist()
    parts: dict[str, Rows] = {}
    begin = 0
    for part, share in _SHARES:
        end = len(rows) if part == "test" else begin + round(share * len(rows))
        parts[part] = [rows[number] for number in order[begin:end]]
        begin = end
    return _made(query, parts)


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
    return _made(query, {part: _lines(*pair) for part, pair in places.items()})


def _lines(source: Path, target: Path) -> Rows:
    sides = []
    for path in (source, target):
        try:
            sides.append(path.read_text(encoding="utf-8-sig").splitlines())
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is no UTF-8 text: byte {error.start}") from None
    if len(sides[0]) != len(sides[1]):
        raise ValueError(
            f"{source} has {len(sides[0])} lines and {target} has {len(sides[1])}: a pair a line"
        )
    return [(a, b) for a, b in zip(*sides, strict=True) if split(a) and split(b)]


def _made(query: Query, parts: dict[str, Rows]) -> Pairs:
    options = {**OPTIONS, **query.options}
    empty = [part for part, rows in parts.items() if not rows]
    if empty:
        raise ValueError(f"{query.name}: the {empty[0]} part has no pair of sentences")
    sides = [
        Vocabulary.of(
            (split(row[side]) for row in parts["train"]),
            least=int(options["least"]),
            most=int(options["most"]),
        )
        for side in (0, 1)
    ]
    longest = int(options["longest"])
    made = {
        part: Sentences(
            _padded([sides[0].numbers(split(row[0])[:longest]) for row in rows]),
            _padded([sides[1].numbers(split(row[1])[:longest]) for row in rows]),
            tuple(row[1] for row in rows),
        )
        for part, rows in parts.items()
    }
    return Pairs(query.name, sides[0], sides[1], **made)


def _padded(sentences: Sequence[list[int]]) -> Tensor:
    """Sentences with their end, ``(N, longest)``."""
    ended = [torch.tensor([*sentence, END]) for sentence in sentences]
    return torch.nn.utils.rnn.pad_sequence(ended, batch_first=True, padding_value=PADDING)
