"""Texts with one class each: news by topic, or your own table.

The vocabulary comes from the training split.

References:
    Zhang, Zhao and LeCun, "Character-level Convolutional Networks for Text Classification",
    arXiv:1509.01626: AG News.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from darts.data.encodings import WordEncoding
from darts.data.source import Request
from darts.data.table_file import find_tables, read_table
from darts.data.words import Vocabulary, VocabularyOptions

Rows = list[tuple[str, str]]
"""Class and text of each document."""


@dataclass
class DocumentOptions(VocabularyOptions):
    """Options of tables of texts: names of the columns."""

    label: str = "label"
    text: str = "text"


@dataclass(frozen=True, eq=False)
class LabeledTexts:
    """A split of texts with one class each.

    Attributes:
        texts: Word indices, ``(N, L)`` int64; ``<eos>`` and padding follow each text.
        labels: Class of each text, ``(N,)`` int64.
    """

    texts: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Documents:
    """A data set of texts with one class each.

    Attributes:
        name: Name in the registry.
        vocabulary: Words of the texts, from the training split.
        classes: Names of the classes, by label.
        train, test: The splits.
        valid: Published validation split, or None.
        encoding: How the texts became word indices.
    """

    name: str
    vocabulary: Vocabulary
    classes: tuple[str, ...]
    train: LabeledTexts
    valid: LabeledTexts | None
    test: LabeledTexts
    encoding: WordEncoding


def load_documents(request: Request[DocumentOptions]) -> Documents:
    """Load ``train.csv``, ``test.csv`` and the optional ``valid.csv``, each with a header.

    Parquet files may take their places.

    Raises:
        ValueError: If a file or a column is missing; the message names the file.
    """
    options = request.options
    paths = find_tables(request.folder())
    missing = [f"{split}.csv" for split in ("train", "test") if split not in paths]
    needed = f"train.csv and test.csv with the columns {options.label} and {options.text}"
    request.files(*missing, needed=needed)
    rows = {split: _read_rows(path, options) for split, path in paths.items()}
    return encode_documents(request.name, rows, options)


def _read_rows(path: Path, options: DocumentOptions) -> Rows:
    table = read_table(path)
    table.check_columns([options.label], " for dataset.label")
    table.check_columns([options.text], " for dataset.text")
    return [*zip(table.texts(options.label), map(str, table.cells[options.text]), strict=True)]


def encode_documents(name: str, rows: dict[str, Rows], options: VocabularyOptions) -> Documents:
    """Build vocabulary and classes from the training split and encode all splits.

    Raises:
        ValueError: If a split is empty, or has a class that the training split lacks.
    """
    for split, documents in rows.items():
        if not documents:
            raise ValueError(f"{name}: split {split!r} has no texts")

    vocabulary = options.build(text for _, text in rows["train"])
    classes = tuple(sorted({label for label, _ in rows["train"]}))
    label_of = {label: index for index, label in enumerate(classes)}

    def encode(documents: Rows) -> LabeledTexts:
        unknown = next((label for label, _ in documents if label not in label_of), None)
        if unknown is not None:
            raise ValueError(f"{name}: the class {unknown!r} is not in the training split")
        return LabeledTexts(
            options.encode((text for _, text in documents), vocabulary),
            torch.tensor([label_of[label] for label, _ in documents]),
        )

    return Documents(
        name,
        vocabulary,
        classes,
        train=encode(rows["train"]),
        valid=encode(rows["valid"]) if "valid" in rows else None,
        test=encode(rows["test"]),
        encoding=WordEncoding(vocabulary.words, options.max_length, options.lowercase),
    )
