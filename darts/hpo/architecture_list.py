"""Lists of architectures: read from a user's file, with their true scores, or drawn at random."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from darts.config import ConfigError, one_of
from darts.data.columns import as_number
from darts.data.table_file import read_table
from darts.data.text_file import read_lines
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
        place, genotypes, scores = _read(Path(path).expanduser(), truth, truth_key)
    except OSError as error:
        raise ConfigError(f"{key} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from None
    architectures: dict[str, Architecture] = {}
    for row, (text, score) in enumerate(zip(genotypes, scores, strict=True)):
        if not text or score == "":
            continue
        try:
            genotype = parse_genotype(text)
            if genotype.space != space:
                raise ValueError(f"a genotype of space={genotype.space}, not of space={space}")
            known = None if score is None else as_number(score)
            if known is not None and not math.isfinite(known):
                raise ValueError(f"the {truth_key} {short_repr(score)} is not a number")
        except ValueError as error:
            raise ConfigError(f"{key}, {place(row)}: {error}") from None
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


def _read(
    path: Path, truth: str | None, truth_key: str
) -> tuple[Callable[[int], str], Sequence[str], Sequence[str | None]]:
    """Return the place, the genotype and the true score of each row."""
    header = next(read_lines(path), "").split(",")
    if truth is None and {name.strip('" \n') for name in header}.isdisjoint(COLUMNS):
        lines = [line.strip() for line in read_lines(path)]
        return (lambda row: f"line {row + 1}"), lines, [None] * len(lines)
    table = read_table(path)
    column = next((name for name in COLUMNS if name in table.columns), COLUMNS[0])
    table.check_columns([column])
    genotypes = table.column(column)
    if truth is None:
        return (lambda row: table.place(row, column)), genotypes, [None] * len(genotypes)
    one_of(truth_key, truth, [name for name in table.columns if name != column])
    return (lambda row: table.place(row, truth)), genotypes, table.column(truth)
