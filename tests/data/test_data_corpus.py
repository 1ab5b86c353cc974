"""Texts in three files: tokens, vocabulary and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from darts.data import load

TEXT = {"train": "a b a\n\nc a b\n", "valid": "b d a\n", "test": " a  c"}


def folder(path: Path, **texts: str | bytes) -> Path:
    for split, text in (TEXT | texts).items():
        content = text if isinstance(text, bytes) else text.encode()
        (path / f"{split}.txt").write_bytes(content)
    return path


def words(corpus: Any, split: str) -> list[str]:
    return [corpus.vocabulary[index] for index in getattr(corpus, split).tolist()]


def test_words_and_ends_of_lines_are_tokens(tmp_path: Path) -> None:
    corpus = load("text", root=folder(tmp_path))
    # By frequency, then by name; tokens that are not in the training split are unknown.
    assert corpus.vocabulary == ("<eos>", "a", "b", "c", "<unk>")
    assert words(corpus, "train") == ["a", "b", "a", "<eos>", "<eos>", "c", "a", "b", "<eos>"]
    assert words(corpus, "valid") == ["b", "<unk>", "a", "<eos>"]
    assert words(corpus, "test") == ["a", "c", "<eos>"]


def test_characters_are_tokens(tmp_path: Path) -> None:
    corpus = load("text", root=folder(tmp_path), level="char")
    assert "".join(words(corpus, "train")) == TEXT["train"]
    assert words(corpus, "valid") == ["b", " ", "<unk>", " ", "a", "\n"]


def test_other_scripts_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    root = folder(tmp_path, train=b"\xef\xbb\xbf" + "für 漢字\n".encode(), valid="漢字 für\n")
    corpus = load("text", root=root)
    assert words(corpus, "valid") == ["漢字", "für", "<eos>"]


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ({"train": b"\xff\xfe"}, {}, "train.txt is not UTF-8 text: byte 0"),
        ({"test": ""}, {}, "test.txt has fewer than two tokens"),
        ({"valid": "a"}, {"level": "char"}, "valid.txt has fewer than two tokens"),
    ],
)
def test_invalid_texts_and_options_are_refused_in_one_line(
    texts: dict[str, Any], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load("text", root=folder(tmp_path, **texts), **options)
    assert "\n" not in str(caught.value)


def test_missing_files_are_named(tmp_path: Path) -> None:
    (folder(tmp_path) / "valid.txt").unlink()
    with pytest.raises(ValueError, match=r"valid.txt not in .*: put them there"):
        load("text", root=tmp_path)
    with pytest.raises(
        ValueError, match=r"ptb: files are missing.*put ptb.train.txt.*dataset.root"
    ):
        load("ptb", root=tmp_path, download=False)


@pytest.mark.data("ptb")
def test_penn_treebank_has_its_published_size(real_data: Path) -> None:
    corpus = load("ptb", root=real_data, download=False)
    assert len(corpus.vocabulary) == 10_000
    sizes = tuple(len(part) for part in (corpus.train, corpus.valid, corpus.test))
    assert sizes == (929_589, 73_760, 82_430)
