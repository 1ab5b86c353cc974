"""Tokenization, its inverse, and vocabularies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darts.data import text_file
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
