"""Texts with a class each: news by topic, or anybody's own table.

The vocabulary is that of the training part.

References:
    Zhang, Zhao and LeCun, "Character-level Convolutional Networks for Text Classification",
    arXiv:1509.01626: AG News.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from darts.data.pairs import padded
from darts.data.source import Query
from darts.data.words import Vocabulary, split

__all__ = ["OPTIONS", "Documents", "Labeled", "Rows", "load_documents", "made"]

OPTIONS = {
    "label": "label",
    "text": "text",
    "min_count": 2,
    "max_vocab": 20000,
    "max_length": 60,
    "lowercase": False,
}
"""Options and defaults: the columns of class and text, how often a word occurs at least, how many
words there are at most, how many of a text are read, and whether capitals are small letters."""

Rows = list[tuple[str, str]]
"""Class and text of each document."""


@dataclass(frozen=True, eq=False)
class Labeled:
    """One part of a set.

    Attributes:
        texts: numbers of words, ``(N, L)`` int64, each text ended and then padded.
        labels: ``(N,)`` int64.
    """

    texts: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Documents:
    """A set of texts in three parts.

    Attributes:
        name: in the registry.
        words: of the texts.
        classes: their names, by label.
        train, test: its parts.
        valid: a validation part of the publisher's own, or None.
    """

    name: str
    words: Vocabulary
    classes: tuple[str, ...]
    train: Labeled
    valid: Labeled | None
    test: Labeled


def load_documents(query: Query) -> Documents:
    """A folder with `train.csv`, `test.csv` and perhaps `valid.csv`, with a header each.

    Raises:
        ValueError: in one line that names the file, if one is missing or lacks a column.
    """
    options = {**OPTIONS, **query.options}
    root = query.folder()
    found: dict[str, Rows] = {}
    for part in ("train", "valid", "test"):
        path = root / f"{part}.csv"
        if path.is_file():
            found[part] = _rows(path, str(options["label"]), str(options["text"]))
        elif part != "valid":
            raise ValueError(
                f"{query.name}: {path} is not there: put train.csv and test.csv with the columns "
                f"{options['label']} and {options['text']} there, or set dataset.root"
            )
    return made(query, found)


def _rows(path: Path, label: str, text: str) -> Rows:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            for key, name in (("label", label), ("text", text)):
                if name not in columns:
                    raise ValueError(
                        f"{path} has no column {name!r} for dataset.{key}; its columns are "
                        f"{', '.join(columns) or 'none'}"
                    )
            found = []
            for row in reader:
                if row[label] is None or row[text] is None:
                    raise ValueError(
                        f"{path}, line {reader.line_num}: {label} or {text} is missing"
                    )
                found.append((row[label], row[text]))
            return found
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no UTF-8 text") from None
    except csv.Error as error:
        raise ValueError(f"{path}, behind line {reader.line_num}: {error}") from None


def made(query: Query, parts: dict[str, Rows]) -> Documents:
    """Numbers for words and classes.

    Raises:
        ValueError: in one line, if a part has no text, or a class is not in the training part.
    """
    options = {**OPTIONS, **query.options}
    for part, rows in parts.items():
        if not rows:
            raise ValueError(f"{query.name}: the {part} part has no text")
    lower = bool(options["lowercase"])
    words = Vocabulary.of(
        (split(text, lowercase=lower) for _, text in parts["train"]),
        min_count=int(options["min_count"]),
        max_vocab=int(options["max_vocab"]),
    )
    classes = tuple(sorted({label for label, _ in parts["train"]}))
    numbers = {label: number for number, label in enumerate(classes)}
    longest = int(options["max_length"])

    def labeled(rows: Rows) -> Labeled:
        unknown = next((label for label, _ in rows if label not in numbers), None)
        if unknown is not None:
            raise ValueError(f"{query.name}: the class {unknown!r} is not in the training part")
        return Labeled(
            padded([words.numbers(split(text, lowercase=lower)[:longest]) for _, text in rows]),
            torch.tensor([numbers[label] for label, _ in rows]),
        )

    valid = labeled(parts["valid"]) if "valid" in parts else None
    train, test = labeled(parts["train"]), labeled(parts["test"])
    return Documents(query.name, words, classes, train, valid, test)
