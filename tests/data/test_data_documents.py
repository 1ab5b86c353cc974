"""Texts with classes from tables, and their loader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from darts.data import load
from darts.data.sentence_loader import DocumentLoader
from darts.data.words import PADDING

CPU = torch.device("cpu")


def write_tables(folder: Path, **tables: str) -> Path:
    defaults = {
        "train": 'label,text\nb,red red blue\na,"green, blue"\nb,red\n',
        "test": "label,text\na,green gray\n",
    }
    for split, text in (defaults | tables).items():
        (folder / f"{split}.csv").write_text(text)
    return folder


def test_words_and_classes_come_from_the_training_split(tmp_path: Path) -> None:
    found = load("documents", root=write_tables(tmp_path), min_count=1)
    assert found.classes == ("a", "b")
    assert found.train.labels.tolist() == [1, 0, 1]
    assert found.encoding.words[4:] == ("red", "blue", ",", "green")
    assert [found.encoding.decode(row.tolist()) for row in found.train.texts] == [
        "red red blue",
        "green, blue",
        "red",
    ]
    assert found.encoding.decode(found.test.texts[0].tolist()) == "green <unk>"
    assert found.valid is None


def test_column_names_are_options_and_a_validation_file_is_read(tmp_path: Path) -> None:
    table = "id,class,body\n1,x,one two\n2,y,three\n"
    folder = write_tables(tmp_path, train=table, test=table, valid=table)
    found = load("documents", root=folder, label="class", text="body", min_count=1)
    assert found.classes == ("x", "y")
    assert len(found.valid) == 2


def test_batches_have_texts_with_their_classes(tmp_path: Path) -> None:
    rows = [f"{'even' if n % 2 == 0 else 'odd'},{'w ' * (n % 5 + 1)}n{n}" for n in range(20)]
    table = "label,text\n" + "\n".join(rows) + "\n"
    found = load("documents", root=write_tables(tmp_path, train=table, test=table), min_count=1)
    for shuffle in (True, False):
        made = DocumentLoader(
            found.train,
            torch.arange(20),
            batch_size=6,
            seed=0,
            name="test",
            shuffle=shuffle,
            device=CPU,
        )
        numbers = []
        for texts, labels in made.epoch(0):
            assert texts.shape[0] == int((texts != PADDING).sum(0).max())
            for column, label in zip(texts.t(), labels, strict=True):
                number = int(found.encoding.decode(column.tolist()).split("n")[1])
                assert found.classes[label] == ("odd" if number % 2 else "even")
                numbers.append(number)
        assert len(numbers) == len(set(numbers)) == (18 if shuffle else 20)


def test_agnews_are_documents_or_pairs(tmp_path: Path) -> None:
    rows = [f'"{n % 4 + 1}","Title {n}","Text {n} of it"' for n in range(40)]
    (tmp_path / "test.csv").write_text("\n".join(rows) + "\n")
    found = load("agnews", root=tmp_path, min_count=1)
    assert found.classes == ("business", "sports", "technology", "world")
    assert (len(found.train), len(found.valid), len(found.test)) == (32, 4, 4)
    text = found.encoding.decode(found.train.texts[0].tolist())
    number = int(text.split()[1].rstrip("."))
    assert text == f"Title {number}. Text {number} of it"
    topics = ("world", "sports", "business", "technology")
    assert found.classes[found.train.labels[0]] == topics[number % 4]
    pairs = load("agnews", root=tmp_path, kind="pairs")
    own = [topics[int(title.split()[1]) % 4] for title in pairs.test.references]
    assert own == [found.classes[label] for label in found.test.labels]  # the same items
    assert pairs.source_encoding is pairs.target_encoding
    (tmp_path / "test.csv").write_text('"1","a","b"\n"5","a","b"\n')
    with pytest.raises(ValueError, match=r"test\.csv, line 2, column 'class': a row must have"):
        load("agnews", root=tmp_path)


@pytest.mark.parametrize(
    ("tables", "options", "message"),
    [
        ({"test": "label,text\nc,red\n"}, {}, "the class 'c' is not in the training split"),
        (
            {},
            {"text": "body"},
            "has no column 'body' for dataset.text; its columns are label, text",
        ),
        (
            {"train": 'label,text\na,"x\ny"\n,z\n'},
            {},
            "train.csv, line 4, column 'label': a value is missing",
        ),
    ],
)
def test_invalid_documents_are_refused_in_one_line(
    tables: dict[str, str], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load("documents", root=write_tables(tmp_path, **tables), **options)
    assert "\n" not in str(caught.value)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"train.csv, test.csv not in .*: put train.csv and"):
        load("documents", root=tmp_path)
    with pytest.raises(ValueError, match=r"test.csv not in .*: put test.csv of AG News"):
        load("agnews", root=tmp_path)
