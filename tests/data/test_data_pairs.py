"""Texts with classes and pairs of sentences, and their loaders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from load_errors import load_error

from darts.data import load
from darts.data.loader import LoaderOptions
from darts.data.sentence_loader import DocumentLoader, PairLoader
from darts.data.words import BEGIN, END, PADDING

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
        options = LoaderOptions(6, 0, "test", shuffle=shuffle, drop_last=shuffle, device=CPU)
        made = DocumentLoader(found.train, torch.arange(20), options)
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
    load_error(r"test\.csv, line 2, column 'class': a row must have", "agnews", root=tmp_path)


def test_wrong_documents_are_refused(tmp_path: Path) -> None:
    root = write_tables(tmp_path, test="label,text\nc,red\n")
    load_error("the class 'c' is not in the training split", "documents", root=root)
    root = write_tables(tmp_path, train='label,text\na,"x\ny"\n,z\n')
    load_error("train.csv, line 4, column 'label': a value", "documents", root=root)


def test_missing_files_are_named(tmp_path: Path) -> None:
    load_error(r"train.csv, test.csv not in .*: put train.csv and", "documents", root=tmp_path)
    load_error(r"test.csv not in .*: put test.csv of AG News", "agnews", root=tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Source sentences of 1 to 7 words; a target has the same words reversed, in capitals."""
    for split, count in (("train", 50), ("valid", 7), ("test", 5)):
        lines = [" ".join(f"w{(n * 3 + i) % 11}" for i in range(n % 7 + 1)) for n in range(count)]
        (tmp_path / f"{split}.x").write_text("\n".join(lines) + "\n")
        turned = [" ".join(reversed(line.split())).upper() for line in lines]
        (tmp_path / f"{split}.y").write_text("\n".join(turned) + "\n")
    return tmp_path


def load_xy(folder: Path, **options: Any) -> Any:
    return load("pairs", root=folder, source="x", target="y", **options)


def test_both_sides_are_read(folder: Path) -> None:
    pairs = load_xy(folder)
    assert (len(pairs.train), len(pairs.valid)) == (50, 7)
    assert pairs.train.references[2] == "W8 W7 W6"
    assert pairs.source_encoding.decode(pairs.train.sources[2].tolist()) == "w6 w7 w8"
    assert pairs.target_encoding.decode(pairs.train.targets[2].tolist()) == "W8 W7 W6"
    row = pairs.train.sources[2].tolist()
    assert row[3:] == [END, *[PADDING] * (len(row) - 4)]


def test_lines_end_at_newlines_only(tmp_path: Path) -> None:
    """``str.splitlines`` also splits at other characters, which would misalign the sides."""
    sources = ["one\u2028two", "three\x0c", "four"]
    targets = ["eins zwei", "drei\x85x", "vier"]
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.x").write_bytes("\r\n".join(sources).encode())
        (tmp_path / f"{split}.y").write_bytes(("\n".join(targets) + "\n").encode())
    pairs = load_xy(tmp_path, min_count=1)
    assert pairs.train.references == tuple(targets)
    found = [pairs.source_encoding.decode(row.tolist()) for row in pairs.train.sources]
    assert found == ["one two", "three", "four"]


def test_evaluation_batches_are_not_sorted_by_length(folder: Path) -> None:
    made = [batch.sources.shape[0] for batch in batches(load_xy(folder), shuffle=False).epoch(0)]
    assert made != sorted(made)
    assert made == [b.sources.shape[0] for b in batches(load_xy(folder), shuffle=False).epoch(3)]


def test_a_joint_vocabulary_in_lower_case_is_shared(folder: Path) -> None:
    pairs = load_xy(folder, joint=True, lowercase=True)
    assert pairs.source_encoding is pairs.target_encoding
    assert all(word == word.lower() for word in pairs.source_encoding.words)
    assert pairs.train.targets[2].tolist()[:3] == pairs.train.sources[2].tolist()[2::-1]
    assert pairs.train.references[2] == "W8 W7 W6"  # references keep their case
    apart = load_xy(folder, joint=True)
    assert len(apart.source_encoding.words) - 4 == 2 * (len(pairs.source_encoding.words) - 4)
    small = load_xy(folder, max_vocab=3, max_length=2)
    assert len(small.source_encoding.words) == 4 + 3
    assert small.train.sources.shape[1] == 3  # two words and the end


@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_have_complete_pairs_and_minimal_padding(folder: Path, shuffle: bool) -> None:
    pairs = load_xy(folder)
    made = batches(pairs, shuffle=shuffle)
    references: list[str] = []
    for batch in made.epoch(0):
        assert batch.sources.shape[0] == int((batch.sources != PADDING).sum(0).max())
        assert torch.equal(batch.inputs[1:], batch.targets[:-1])
        assert bool((batch.inputs[0] == BEGIN).all())
        for column, text in enumerate(batch.references):
            assert pairs.target_encoding.decode(batch.targets[:, column].tolist()) == text
            source = pairs.source_encoding.decode(batch.sources[:, column].tolist())
            assert source.upper().split() == text.split()[::-1]
        references += batch.references
    if shuffle:
        assert len(references) == 48  # six batches of eight
    else:
        assert sorted(references) == sorted(pairs.train.references)


def batches(pairs: Any, *, shuffle: bool, seed: int = 0, rank: int = 0, ranks: int = 1) -> Any:
    options = LoaderOptions(8, seed, "test", shuffle, drop_last=shuffle, device=CPU)
    options = replace(options, rank=rank, ranks=ranks)
    return PairLoader(pairs.train, torch.arange(50), options)


def test_the_order_depends_on_seed_and_epoch_alone(folder: Path) -> None:
    pairs = load_xy(folder)

    def order(epoch: int, seed: int = 0) -> list[tuple[str, ...]]:
        return [batch.references for batch in batches(pairs, shuffle=True, seed=seed).epoch(epoch)]

    assert order(1) == order(1)
    assert order(0) != order(1)
    assert order(1) != order(1, seed=1)
    stream = batches(pairs, shuffle=True).stream(5)
    assert [next(stream).references for _ in range(3)] == [order(0)[5], *order(1)[:2]]


def test_shares_of_ranks_make_the_whole_batch(folder: Path) -> None:
    pairs = load_xy(folder)
    whole = batches(pairs, shuffle=True).batch(2, 1)
    parts = [batches(pairs, shuffle=True, rank=r, ranks=3).batch(2, 1) for r in range(3)]
    assert sum((part.references for part in parts), ()) == whole.references


def test_invalid_pairs_are_refused_in_one_line(folder: Path) -> None:
    message = "dataset.source and dataset.target are both 'x'"
    load_error(message, "pairs", root=folder, source="x", target="x")
    for side in "xy":
        (folder / f"valid.{side}").write_text("")
    keys = {"root": folder, "source": "x", "target": "y"}
    load_error("split 'valid' has no pair of sentences", "pairs", **keys)
    (folder / "test.x").write_text("a\n")
    load_error("test.x has 1 lines and .*test.y has 5", "pairs", **keys)
