"""Lists of architectures: read from a user's file, with their true scores, or drawn at random."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from darts.config import ConfigError
from darts.judging.benchmark import read_compressed
from darts.spaces import AnyGenotype, Space, parse_genotype
from darts.spaces.genotype_text import short_repr

COLUMNS = ("genotype", "architecture", "arch")  # possible names of the column of genotypes

_TRIES = 100


@dataclass(frozen=True)
class Architecture:
    """An architecture and its true score, larger is better; None if it is unknown."""

    genotype: AnyGenotype
    truth: float | None = None


def read_architectures(
    path: str,
    *,
    truth: str | None,
    space: str,
    path_key: str = "genotypes",
    truth_key: str = "truth",
) -> list[Architecture]:
    """Read a file with one genotype per line, or a CSV file with a column of genotypes.

    A row without a true score, such as the row of a failed trial, is left out. If several rows have
    the same architecture, the last one counts.

    Args:
        path: The file, plain or gzip-compressed. A CSV file has a header with one of ``COLUMNS``.
        truth: Name of the column with the true scores; None to read none.
        space: Name of the space that all architectures must belong to.
        path_key, truth_key: Keys of ``path`` and ``truth`` in messages.
    """
    key = f"{path_key}={path!r}"
    try:
        text = read_compressed(Path(path).expanduser())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{key} cannot be read: {reason}") from None
    architectures: dict[str, Architecture] = {}
    for place, genotype_text, truth_text in _entries(text, truth, key, truth_key):
        try:
            genotype = parse_genotype(genotype_text)
            if genotype.space != space:
                raise ValueError(f"a genotype of space={genotype.space}, not of space={space}")
            known = None if truth_text is None else _number(truth_text, truth_key)
        except ValueError as error:
            raise ConfigError(f"{place}: {error}") from None
        architectures[str(genotype)] = Architecture(genotype, known)
    if len(architectures) < 2:
        needed = "at least 2 different architectures" + (f" with {truth}" if truth else "")
        raise ConfigError(f"{key}: {needed} are needed, and it has {len(architectures)}")
    return list(architectures.values())


def random_architectures(space: Space, count: int, seed: int) -> list[AnyGenotype]:
    """Draw ``count`` different architectures, or fewer if the space seems to have no more.

    Drawing ends early after ``_TRIES`` draws in a row without a new architecture.
    """
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, AnyGenotype] = {}
    failures = 0
    while len(found) < count and failures < _TRIES:
        genotype = space.random(generator)
        failures = failures + 1 if str(genotype) in found else 0
        found[str(genotype)] = genotype
    return list(found.values())


def _entries(
    text: str, truth: str | None, key: str, truth_key: str
) -> Iterator[tuple[str, str, str | None]]:
    """Yield place, genotype and truth of each architecture that is not without its truth."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        header = list(reader.fieldnames or ())
        column = next((name for name in COLUMNS if name in header), None)
        if column is None and truth is None:
            lines = enumerate(map(str.strip, text.splitlines()), 1)
            yield from ((f"{key}, line {number}", line, None) for number, line in lines if line)
            return
        if column is None:
            raise ConfigError(
                f"{truth_key}={truth}: {key} needs a header with a column {' or '.join(COLUMNS)}"
            )
        if truth is not None and truth not in header:
            choices = ", ".join(name for name in header if name != column)
            raise ConfigError(
                f"{truth_key}={truth}: {key} has no such column; choose from {choices}"
            )
        for row in reader:
            place = f"{key}, line {reader.line_num}"
            if None in row or None in row.values():
                raise ConfigError(f"{place}: expected {len(header)} fields, as in the header")
            if truth is None or row[truth]:
                yield place, row[column], None if truth is None else row[truth]
    except csv.Error as error:
        raise ConfigError(f"{key}, line {reader.line_num}: {error}") from None


def _number(text: str, truth_key: str) -> float:
    try:
        value = float(text[:100])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"the {truth_key} {short_repr(text)} is not a number")
    return value
