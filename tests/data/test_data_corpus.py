"""Texts: tokens, vocabularies, errors in files, and windows with the state between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from load_errors import load_error

from darts.data import IGNORE_INDEX, WindowLoader, load, text_file
from darts.data.loader import LoaderOptions
from darts.data.words import (
    BEGIN,
    END,
    PADDING,
    SPECIAL,
    UNKNOWN,
    VocabularyOptions,
    WordEncoding,
    detokenize,
    tokenize,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Two men, talking.", ["Two", "men", ",", "talking", "."]),
        ("A man's T-shirt", ["A", "man's", "T-shirt"]),
        ("Mädchen (blau) 3.5", ["Mädchen", "(", "blau", ")", "3", ".", "5"]),
        ("हिन्दी भाषा, cafe\u0301", ["हिन्दी", "भाषा", ",", "cafe\u0301"]),
        ("  ", []),
    ],
)
def test_sentences_become_words_and_punctuation_marks(text: str, words: list[str]) -> None:
    assert tokenize(text) == words


@given(st.text(max_size=60))
def test_tokenization_loses_only_spaces(text: str) -> None:
    assert "".join(tokenize(text)) == "".join(text.split())
    assert tokenize(detokenize(tokenize(text))) == tokenize(text)


def test_a_vocabulary_has_the_most_frequent_words() -> None:
    texts = ["b a a", "c b a", "d"]
    assert VocabularyOptions(min_count=1).fit(texts).words == (*SPECIAL, "a", "b", "c", "d")
    assert VocabularyOptions(min_count=2).fit(texts).words == (*SPECIAL, "a", "b")
    assert VocabularyOptions(min_count=1, max_vocab=1).fit(texts).words == (*SPECIAL, "a")


def test_too_many_different_words_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_file, "DISTINCT_LIMIT", 3)
    VocabularyOptions().fit(["a b c", "a"])
    with pytest.raises(ValueError, match="the training split has more than 3 different words"):
        VocabularyOptions().fit(["a b c", "d"])


def test_decoding_stops_at_the_end() -> None:
    encoding = WordEncoding((*SPECIAL, "A", "man", "."), max_length=4, lowercase=False)
    numbers = encoding(["A tall man. A", "man"]).tolist()
    assert numbers == [[4, UNKNOWN, 5, 6, END], [5, END, PADDING, PADDING, PADDING]]
    assert encoding.decode([BEGIN, *numbers[0], PADDING, 5]) == "A <unk> man."


def test_detokenization_joins_numbers() -> None:
    for text in ("2,000.50 m, 7.", "rank 5, 6", "1, 2.5"):
        assert detokenize(tokenize(text)) == text


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


def test_texts_of_less_than_two_tokens_are_refused(tmp_path: Path) -> None:
    load_error("test.txt has fewer than two tokens", "text", root=folder(tmp_path, test=""))
    root = folder(tmp_path, valid="a")
    load_error("valid.txt has fewer than two tokens", "text", root=root, level="char")


def test_missing_files_are_named(tmp_path: Path) -> None:
    (folder(tmp_path) / "valid.txt").unlink()
    load_error(r"valid.txt not in .*: put them there", "text", root=tmp_path)
    message = r"ptb: files are missing.*put ptb.train.txt.*dataset.root"
    load_error(message, "ptb", root=tmp_path, download=False)


@pytest.mark.data("ptb")
def test_penn_treebank_has_its_published_size(real_data: Path) -> None:
    corpus = load("ptb", root=real_data, download=False)
    assert len(corpus.vocabulary) == 10_000
    sizes = tuple(len(part) for part in (corpus.train, corpus.valid, corpus.test))
    assert sizes == (929_589, 73_760, 82_430)


def windows(count: int, columns: int, length: int, *, shift: bool, seed: int = 0) -> WindowLoader:
    device = torch.device("cpu")
    options = LoaderOptions(columns, seed, "test", shuffle=shift, drop_last=True, device=device)
    return WindowLoader(torch.arange(count), options, length)


@pytest.mark.parametrize("count", [2, 24, 25])
@pytest.mark.parametrize("columns", [1, 2, 5])
@pytest.mark.parametrize("length", [1, 3, 7])
def test_evaluation_has_each_later_token_once(count: int, columns: int, length: int) -> None:
    made = windows(count, columns, length, shift=False)
    found = list(made.epoch(0))
    assert len(found) == len(made)
    pairs = [
        (int(token), int(target))
        for window in found
        for token, target in zip(window.tokens.flatten(), window.targets.flatten(), strict=True)
        if target != IGNORE_INDEX
    ]
    assert sorted(pairs) == [(number, number + 1) for number in range(count - 1)]
    assert max(len(window.tokens) for window in found) <= length


def test_training_windows_are_consecutive_in_each_column() -> None:
    made = windows(100, 3, 5, shift=True)
    offsets = set()
    for epoch in range(12):
        found = list(made.epoch(epoch))
        assert len(found) == len(made) == (33 - 4) // 5
        whole = torch.cat([window.tokens for window in found])
        assert bool((whole[1:] == whole[:-1] + 1).all())
        assert all(bool((w.targets == w.tokens + 1).all()) for w in found)
        assert all(w.tokens.shape == (5, 3) for w in found)
        offsets.add(int(whole[0, 0]))
    assert offsets <= set(range(5))
    assert len(offsets) > 2  # epochs begin at different tokens


def test_a_window_starts_with_the_state_after_the_previous_one() -> None:
    made = windows(50, 2, 4, shift=False)
    found = made.epoch(0)
    first = next(found)
    assert first.carry.state is None
    first.carry.after = torch.ones(2, 3)
    second = next(found)
    assert torch.equal(second.carry.state, torch.ones(2, 3))
    assert second.carry.after is None
    second.carry.after = torch.full((2, 3), 2.0)
    assert next(made.epoch(1)).carry.state is None  # epochs start with zeros
    assert made.batch(0, 3).carry.state is None  # so does random access


def test_a_resumed_loader_restores_the_state() -> None:
    made = windows(90, 2, 4, shift=True)
    stream = made.epoch(0)
    next(stream).carry.after = torch.ones(2, 3)
    next(stream).carry.after = torch.full((2, 3), 5.0)
    again = windows(90, 2, 4, shift=True)
    again.load_state_dict(made.state_dict())
    window = next(again.epoch(0, 2))
    assert torch.equal(window.tokens, next(stream).tokens)
    assert torch.equal(window.carry.state, torch.full((2, 3), 5.0))


def test_a_text_that_is_too_short_is_refused() -> None:
    line = "20 tokens in 4 columns are too few for windows of 5; choose"
    with pytest.raises(ValueError, match=line):
        windows(20, 4, 5, shift=True)
