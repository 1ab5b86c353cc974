"""Pairs of sentences from files, and their loader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from darts.data import load
from darts.data.sentence_loader import PairLoader
from darts.data.words import BEGIN, END, PADDING

CPU = torch.device("cpu")


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
    return PairLoader(
        pairs.train,
        torch.arange(50),
        batch_size=8,
        seed=seed,
        name="test",
        shuffle=shuffle,
        device=CPU,
        rank=rank,
        ranks=ranks,
    )


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


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda d: (d / "test.x").write_text("a\n"), {}, "test.x has 1 lines and .*test.y has 5"),
        (lambda d: None, {"target": "x"}, "dataset.source and dataset.target are both 'x'"),
        (
            lambda d: [(d / f"valid.{e}").write_text("") for e in "xy"],
            {},
            "split 'valid' has no pair of sentences",
        ),
    ],
)
def test_invalid_pairs_are_refused_in_one_line(
    folder: Path, change: Any, options: dict[str, str], message: str
) -> None:
    change(folder)
    with pytest.raises(ValueError, match=message) as caught:
        load("pairs", root=folder, **{"source": "x", "target": "y"} | options)
    assert "\n" not in str(caught.value)
