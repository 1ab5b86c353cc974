"""How numbers and genotypes are written for people to read."""

from __future__ import annotations

import math
import re
from typing import Any

from darts.spaces.describe import is_chain

# Quantities by the words of their names. A value outside 0 to 1 is never taken for a fraction, so
# that a score already in percent is not multiplied again.
_FRACTIONS = {"accuracy", "acc", "f1", "recall", "top1", "top5", "wer", "cer", "fraction"}


def format_duration(seconds: float | None) -> str:
    """Write seconds as h:mm:ss; None, NaN and infinity, which are unknown, as -:--:--."""
    if seconds is None or not math.isfinite(seconds):
        return "-:--:--"
    whole = round(max(seconds, 0.0))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def format_value(name: str, value: Any) -> str:
    """Write the value of the quantity `name`.

    Fractions such as accuracies become percentages with two decimals, seconds h:mm:ss, large
    numbers get thousands separators, other floats four significant digits. A genotype is written
    in short.
    """
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()  # a numpy or torch scalar
    words = _words(name)
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        if words[-1] == "seconds":  # unlike seconds_per_step, which is short
            return format_duration(value)
        if is_fraction(name) and 0 <= value <= 1:
            return f"{100 * value:.2f} %"
    if isinstance(value, int):
        return str(value) if "seed" in words else f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"
    if hasattr(value, "cells"):
        return format_genotype(value)
    return str(value)


def is_fraction(name: str) -> bool:
    """Whether the quantity of that name is a share of one, such as an accuracy."""
    return bool(_FRACTIONS.intersection(_words(name)))


def _words(name: str) -> list[str]:
    return re.split(r"[^a-z0-9]+", name.lower())


def format_genotype(genotype: Any) -> str:
    """Write a genotype in one line, operation:source by operation:source, a part a cell.

    For example `normal sep3:0 skip:1 ... / reduce max3:0 ...`. In a chain, where each operation
    follows the one before, the sources are left out: `blocks mb-k3-e6 skip ...`.

    Args:
        genotype: of any space.
    """
    parts = []
    for cell in genotype.cells:
        chain = is_chain(genotype, cell)
        edges = [
            _short(name) if chain else f"{_short(name)}:{source}"
            for source, _, name in genotype.edges(cell)
        ]
        parts.append(" ".join([cell, *edges]))
    return " / ".join(parts)


def _short(operation: str) -> str:
    """sep_conv_3x3 -> sep3, skip_connect -> skip, mb_k3_e6 -> mb-k3-e6."""
    first, *others = operation.split("_")
    size = re.search(r"_(\d+)x\d+", operation)
    if size:
        return first + size.group(1)
    return "-".join([first, *(part for part in others if re.search(r"\d", part))])
