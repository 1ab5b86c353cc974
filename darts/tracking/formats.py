"""Formats of numbers and genotypes in console output and reports."""

from __future__ import annotations

import math
import re
from typing import cast

from darts.spaces import AnyGenotype
from darts.spaces.describe import is_chain

# A quantity is a fraction if its name contains one of these words. Values outside [0, 1] are never
# treated as fractions, so that a score that is already in percent is not multiplied again.
_FRACTIONS = {"accuracy", "acc", "f1", "recall", "top1", "top5", "wer", "cer", "fraction"}


def format_duration(seconds: float | None) -> str:
    """Format seconds as h:mm:ss; unknown durations (None, NaN, infinity) as -:--:--."""
    if seconds is None or not math.isfinite(seconds):
        return "-:--:--"
    whole = round(max(seconds, 0.0))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def format_value(name: str, value: object) -> str:
    """Format the value of the quantity `name`.

    Fractions such as accuracies become percentages with two decimals, seconds become h:mm:ss,
    large numbers get thousands separators, other floats have four significant digits. A genotype
    takes one line, see `format_genotype`.
    """
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()  # a numpy or torch scalar
    words = _words(name)
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        if words[-1] == "seconds":  # but not seconds_per_step, which is short
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


def is_fraction(name: str) -> bool:
    """Return whether the quantity `name` is a fraction of one, such as an accuracy."""
    return bool(_FRACTIONS.intersection(_words(name)))


def _words(name: str) -> list[str]:
    return re.split(r"[^a-z0-9]+", name.lower())


def format_genotype(genotype: AnyGenotype) -> str:
    """Format a genotype in one line: operation:source for each edge, cells separated by slashes.

    For example `normal sep3:0 skip:1 ... / reduce max3:0 ...`. In a chain, where each operation
    follows the previous one, sources are omitted: `blocks mb-k3-e6 skip ...`.
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
    """sep_conv_3x3 -> sep3, skip_connect -> skip, mb_k3_e6 -> mb-k3-e6."""
    first, *others = operation.split("_")
    size = re.search(r"_(\d+)x\d+", operation)
    if size:
        return first + size.group(1)
    return "-".join([first, *(word for word in others if re.search(r"\d", word))])
