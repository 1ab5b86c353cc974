"""Texts with one class each: news by topic, or your own table.

References:
    Zhang, Zhao and LeCun, "Character-level Convolutional Networks for Text Classification",
    arXiv:1509.01626: AG News.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from darts.data.pairs import Pairs, encode_pairs
from darts.data.randomness import permutation
from darts.data.source import LabeledSource, Request
from darts.data.table_file import Table, find_tables, read_cells, read_table
from darts.data.words import VocabularyOptions, WordEncoding

# Class and text of each document.
Rows = list[tuple[str, str]]

TOPICS = {"1": "world", "2": "sports", "3": "business", "4": "technology"}


@dataclass
class DocumentOptions(VocabularyOptions):
    """Options of tables of texts: names of the columns."""

    label: str = "label"
    text: str = "text"


@dataclass(frozen=True, eq=False)
class LabeledTexts:
    """A split of texts: word indices ``(N, L)`` and classes ``(N,)``, both int64.

    ``<eos>`` and padding follow each text.
    """

    texts: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Documents(LabeledSource[LabeledTexts]):
    """A data set of texts; vocabulary and classes come from the training split."""

    encoding: WordEncoding


def load_documents(request: Request[DocumentOptions]) -> Documents:
    """Load ``train.csv``, ``test.csv`` and the optional ``valid.csv``, each with a header.

    Parquet files may take their places.
    """
    options = request.options
    paths = find_tables(request.folder())
    missing = [f"{split}.csv" for split in ("train", "test") if split not in paths]
    needed = f"train.csv and test.csv with the columns {options.label} and {options.text}"
    request.files(*missing, needed=needed)
    rows = {split: _read_rows(path, options) for split, path in paths.items()}
    return _encode(request.name, rows, options)


def _read_rows(path: Path, options: DocumentOptions) -> Rows:
    table = read_table(path)
    table.check_columns([options.label], " for dataset.label")
    table.check_columns([options.text], " for dataset.text")
    return [*zip(table.texts(options.label), map(str, table.cells[options.text]), strict=True)]


def load_agnews(request: Request[VocabularyOptions]) -> Pairs | Documents:
    """Load ``test.csv`` of AG News, divided into three splits that never change.

    With ``request.kind="pairs"`` the samples are pairs of description and title with a joint
    vocabulary, else texts of title and description with their topic.
    """
    needed = "test.csv of AG News (class, title, description)"
    (path,) = request.files("test.csv", needed=needed)
    cells = read_cells(path, ",")
    if cells.shape[1] != 3:
        raise ValueError(f"{request.name}: {path} must have class, title and description")
    table = Table(path, cells.set_axis(["class", "title", "description"], axis=1))
    wrong = ~table.cells["class"].isin(TOPICS) | (table.cells == "").any(axis=1)
    if wrong.any():
        raise ValueError(
            f"{request.name}: {table.place(wrong.argmax(), 'class')}: a row must have a class from "
            "1 to 4, a title and a description"
        )
    rows = table.cells.map(lambda cell: cell.replace("\\", " ")).to_numpy()
    order = permutation(len(rows), request.name, "parts").numpy()
    tenth = round(0.1 * len(rows))
    ends = [round(0.8 * len(rows)), round(0.8 * len(rows)) + tenth]
    splits = dict(zip(("train", "valid", "test"), np.split(rows[order], ends), strict=True))
    if request.kind == "pairs":
        pairs = {split: [(text, title) for _, title, text in own] for split, own in splits.items()}
        return encode_pairs(request.name, pairs, request.options, joint=True)
    documents = {
        split: [(TOPICS[topic], f"{title}. {text}") for topic, title, text in own]
        for split, own in splits.items()
    }
    return _encode(request.name, documents, request.options)


def _encode(name: str, rows: dict[str, Rows], options: VocabularyOptions) -> Documents:
    """Build vocabulary and classes from the training split and encode all splits."""
    for split, documents in rows.items():
        if not documents:
            raise ValueError(f"{name}: split {split!r} has no texts")
    encoding = options.fit(text for _, text in rows["train"])
    classes = tuple(sorted({label for label, _ in rows["train"]}))
    label_of = {label: index for index, label in enumerate(classes)}

    def encode(documents: Rows) -> LabeledTexts:
        unknown = next((label for label, _ in documents if label not in label_of), None)
        if unknown is not None:
            raise ValueError(f"{name}: the class {unknown!r} is not in the training split")
        return LabeledTexts(
            encoding(text for _, text in documents),
            torch.tensor([label_of[label] for label, _ in documents]),
        )

    train, test = encode(rows["train"]), encode(rows["test"])
    valid = encode(rows["valid"]) if "valid" in rows else None
    return Documents(name, classes, train, test, valid, encoding)
