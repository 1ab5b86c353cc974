"""Formatting of numbers and genotypes for console output and reports."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import cast

from darts.spaces import AnyGenotype
from darts.spaces.describe import is_chain

# A quantity is a fraction if its name contains one of these words. format_value does not convert
# values outside [0, 1] to percent, because such a value may already be in percent.
_FRACTIONS = {
    "accuracy", "acc", "f1", "recall", "precision", "match", "top1", "top5", "wer", "cer",
    "fraction",
}  # fmt: skip


def format_duration(seconds: float | None) -> str:
    """Format seconds as h:mm:ss; unknown durations (None, NaN, infinity) as -:--:--."""
    if seconds is None or not math.isfinite(seconds):
        return "-:--:--"
    whole = round(max(seconds, 0.0))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def format_value(name: str, value: object) -> str:
    """Format a value depending on its type and on the name of its quantity.

    Fractions such as accuracies become percentages with two decimals, and seconds become h:mm:ss.
    Large numbers get thousands separators, except seeds. Other floats get four significant digits.
    A genotype becomes one line, see ``format_genotype``. None becomes "-".
    """
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()  # a numpy or torch scalar
    words = _words(name)
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        if words[-1] == "seconds":  # not seconds_per_step, which may be less than a second
            return format_duration(value)
        if is_fraction(name) and 0 <= value <= 1:
            return f"{100 * value:.2f} %"
    if isinstance(value, int):
        return str(value) if "seed" in words else f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"
    if hasattr(value, "cells"):
        return format_genotype(cast("AnyGenotype", value))
    return str(value)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def is_fraction(name: str) -> bool:
    """Return whether a quantity of this name is a fraction of one, for example an accuracy."""
    return bool(_FRACTIONS.intersection(_words(name)))


def _words(name: str) -> list[str]:
    return re.split(r"[^a-z0-9]+", name.lower())


def format_genotype(genotype: AnyGenotype) -> str:
    """Format a genotype as one line: ``operation:source`` for each edge, a slash between cells.

    The source is the number of the node from which the edge comes. An example is
    ``normal sep3:0 skip:1 ... / reduce max3:0 ...``. A chain, in which each operation follows the
    previous one, has no sources: ``blocks mb-k3-e6 skip ...``.
    """
    cells = []
    for cell in genotype.cells:
        chain = is_chain(genotype, cell)
        edges = [
            _abbreviate(name) if chain else f"{_abbreviate(name)}:{source}"
            for source, _, name in genotype.edges(cell)
        ]
        cells.append(" ".join([cell, *edges]))
    return " / ".join(cells)


def _abbreviate(operation: str) -> str:
    """Return a short form of an operation's name.

    >>> [_abbreviate(name) for name in ("sep_conv_3x3", "skip_connect", "mb_k3_e6")]
    ['sep3', 'skip', 'mb-k3-e6']
    """
    first, *others = operation.split("_")
    size = re.search(r"_(\d+)x\d+", operation)
    if size:
        return first + size.group(1)
    return "-".join([first, *(word for word in others if re.search(r"\d", word))])
