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
from darts.data.text_file import read_lines
from darts.data.words import VocabularyOptions, WordEncoding, tokenize

# File name by split.
MULTI30K = {"train": "train", "valid": "val", "test": "test_2016_flickr"}

# Source and target sentence of each pair.
Rows = list[tuple[str, str]]


@dataclass
class PairOptions(VocabularyOptions):
    """Options of data sets of sentence pairs."""

    source: str = "src"  # file extension of the input sentences, for example de
    target: str = "tgt"  # file extension of the output sentences, for example en
    joint: bool = False  # one vocabulary for both sides


@dataclass(frozen=True, eq=False)
class SentencePairs:
    """A split of sentence pairs.

    ``sources`` ``(N, S)`` and ``targets`` ``(N, T)`` are word indices int64; ``<eos>`` and padding
    follow each sentence. ``references`` are the target sentences as text.
    """

    sources: Tensor
    targets: Tensor
    references: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.references)


@dataclass(frozen=True, eq=False)
class Pairs:
    """A data set of sentence pairs; a joint encoding is the same object on both sides."""

    name: str
    source_encoding: WordEncoding
    target_encoding: WordEncoding
    train: SentencePairs
    valid: SentencePairs
    test: SentencePairs


def load_pairs(request: Request[PairOptions]) -> Pairs:
    """Load ``train.src`` and ``train.tgt``, and the same files of ``valid`` and ``test``.

    The options ``source`` and ``target`` set other file extensions. Pairs with an empty sentence
    are dropped.
    """
    return _load_files(request, {split: split for split in ("train", "valid", "test")})


def load_multi30k(request: Request[PairOptions]) -> Pairs:
    """Load image captions from the files that ``MULTI30K`` names; extensions are languages."""
    return _load_files(request, MULTI30K)


def _load_files(request: Request[PairOptions], file_names: dict[str, str]) -> Pairs:
    options = request.options
    if options.source == options.target:
        raise ValueError(
            f"{request.name}: dataset.source and dataset.target are both {options.source!r}; set "
            "two different file extensions"
        )
    names = file_names.values()
    sources = request.files(*(f"{name}.{options.source}" for name in names))
    targets = request.files(*(f"{name}.{options.target}" for name in names))
    rows = dict(zip(file_names, map(_read_rows, sources, targets), strict=True))
    return encode_pairs(request.name, rows, options, joint=options.joint)


def _read_rows(source: Path, target: Path) -> Rows:
    # str.splitlines would also split at characters other than newlines.
    sides = [[line.rstrip("\n") for line in read_lines(path)] for path in (source, target)]
    if len(sides[0]) != len(sides[1]):
        raise ValueError(
            f"{source} has {len(sides[0])} lines and {target} has {len(sides[1])}; each line must "
            "have its translation"
        )
    return [(a, b) for a, b in zip(*sides, strict=True) if tokenize(a) and tokenize(b)]


def encode_pairs(
    name: str, rows: dict[str, Rows], options: VocabularyOptions, *, joint: bool
) -> Pairs:
    """Build the vocabularies from the training split and encode all splits."""
    empty = [split for split, pairs in rows.items() if not pairs]
    if empty:
        raise ValueError(f"{name}: split {empty[0]!r} has no pair of sentences")

    sources, targets = zip(*rows["train"], strict=True)
    if joint:
        source = target = options.fit(sources + targets)
    else:
        source, target = options.fit(sources), options.fit(targets)

    def encode(pairs: Rows) -> SentencePairs:
        sources, targets = zip(*pairs, strict=True)
        return SentencePairs(source(sources), target(targets), targets)

    splits = {split: encode(pairs) for split, pairs in rows.items()}
    return Pairs(name, source, target, **splits)
