"""Pairs of a source and a target sentence: translations, headlines.

Each side is a text file with one sentence per line. Vocabularies come from the training split.

References:
    Elliott et al., "Multi30K: Multilingual English-German Image Descriptions", arXiv:1605.00459.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from darts.data.source import Request
from darts.data.words import Vocabulary, VocabularyOptions, pad, tokenize

__all__ = ["PairOptions", "Pairs", "SentencePairs", "encode_pairs", "load_multi30k", "load_pairs"]

MULTI30K = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
"""File name by split."""

Rows = list[tuple[str, str]]
"""Source and target sentence of each pair."""


@dataclass(frozen=True)
class PairOptions(VocabularyOptions):
    """Options of data sets of sentence pairs.

    Attributes:
        source, target: file name endings of the two sides.
        joint: whether both sides share one vocabulary.
    """

    source: str
    target: str
    joint: bool


@dataclass(frozen=True, eq=False)
class SentencePairs:
    """A split of sentence pairs.

    Attributes:
        sources: word indices of the source sentences, ``(N, S)`` int64, ended and padded.
        targets: word indices of the target sentences, ``(N, T)`` int64, ended and padded.
        references: the target sentences as text.
    """

    sources: Tensor
    targets: Tensor
    references: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.references)


@dataclass(frozen=True, eq=False)
class Pairs:
    """A data set of sentence pairs.

    Attributes:
        name: name in the registry.
        source, target: vocabularies of both sides; the same object if they are joint.
        train, valid, test: the splits.
    """

    name: str
    source: Vocabulary
    target: Vocabulary
    train: SentencePairs
    valid: SentencePairs
    test: SentencePairs


def load_pairs(request: Request[PairOptions]) -> Pairs:
    """Load a folder with ``train.src``, ``train.tgt`` and the same of ``valid`` and ``test``.

    Raises:
        ValueError: if a file is missing or not UTF-8, or the two sides have different lengths; the
            message names the file.
    """
    return _load_files(request, {split: split for split in ("train", "valid", "test")})


def load_multi30k(request: Request[PairOptions]) -> Pairs:
    """Load image captions; files are ``train``, ``val`` and ``test_2016_flickr`` by language.

    Raises:
        ValueError: as ``load_pairs``.
    """
    return _load_files(request, MULTI30K)


def _load_files(request: Request[PairOptions], file_names: dict[str, str]) -> Pairs:
    options = request.options
    root = request.folder()
    if options.source == options.target:
        raise ValueError(
            f"{request.name}: dataset.source and dataset.target are both {options.source!r}; set "
            "two different file name endings"
        )
    endings = (options.source, options.target)
    paths = {
        split: [root / f"{name}.{ending}" for ending in endings]
        for split, name in file_names.items()
    }
    missing = [path.name for pair in paths.values() for path in pair if not path.is_file()]
    if missing:
        raise ValueError(
            f"{request.name}: {', '.join(missing)} not in {root}: put them there, or set "
            "dataset.root to their folder"
        )
    rows = {split: _read_rows(source, target) for split, (source, target) in paths.items()}
    return encode_pairs(request.name, rows, options, joint=options.joint)


def _read_rows(source: Path, target: Path) -> Rows:
    sides: list[list[str]] = []
    for path in (source, target):
        try:
            # Iterate instead of splitlines, which also splits at other characters than newlines.
            with path.open(encoding="utf-8-sig") as file:
                sides.append([line.rstrip("\n") for line in file])
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8 text: byte {error.start}") from None
    if len(sides[0]) != len(sides[1]):
        raise ValueError(
            f"{source} has {len(sides[0])} lines and {target} has {len(sides[1])}; each line must "
            "have its translation"
        )
    return [(a, b) for a, b in zip(*sides, strict=True) if tokenize(a) and tokenize(b)]


def encode_pairs(
    name: str, rows: dict[str, Rows], options: VocabularyOptions, *, joint: bool
) -> Pairs:
    """Build the vocabularies from the training split and encode all splits.

    Args:
        name: name of the data set.
        rows: sentences by split: train, valid, test.
        options: options of the vocabularies.
        joint: whether both sides share one vocabulary.

    Raises:
        ValueError: if a split is empty.
    """
    empty = [split for split, pairs in rows.items() if not pairs]
    if empty:
        raise ValueError(f"{name}: the {empty[0]} split has no pair of sentences")

    def words(pairs: Rows, side: int) -> list[list[str]]:
        return [tokenize(pair[side], lowercase=options.lowercase) for pair in pairs]

    def vocabulary(sentences: list[list[str]]) -> Vocabulary:
        return Vocabulary.build(sentences, min_count=options.min_count, max_vocab=options.max_vocab)

    sources, targets = words(rows["train"], 0), words(rows["train"], 1)
    if joint:
        source = target = vocabulary(sources + targets)
    else:
        source, target = vocabulary(sources), vocabulary(targets)

    def encode(pairs: Rows) -> SentencePairs:
        length = options.max_length
        return SentencePairs(
            pad([source.encode(sentence[:length]) for sentence in words(pairs, 0)]),
            pad([target.encode(sentence[:length]) for sentence in words(pairs, 1)]),
            tuple(pair[1] for pair in pairs),
        )

    return Pairs(
        name,
        source,
        target,
        train=encode(rows["train"]),
        valid=encode(rows["valid"]),
        test=encode(rows["test"]),
    )
