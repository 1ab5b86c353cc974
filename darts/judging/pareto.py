"""The Pareto front of trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np


def pareto_front(rows: Sequence[Mapping[str, object]], objectives: Mapping[str, bool]) -> list[int]:
    """Return the indices of the rows on the Pareto front, in order.

    A row is on the front if no other row is at least as good in all objectives and better in one.
    If several equal rows are on the front, all are returned. A row without a finite number for each
    objective is never on the front. ``objectives`` says for each name whether higher is better.
    """
    columns = [
        [row[name] if has_number(row, name) else np.nan for row in rows] for name in objectives
    ]
    signs = [1.0 if higher else -1.0 for higher in objectives.values()]
    scores = np.array(columns, dtype=float).T * signs  # NaN is neither better nor worse
    return [
        index
        for index, own in enumerate(scores)
        if np.isfinite(own).all() and not ((scores >= own).all(1) & (scores > own).any(1)).any()
    ]


def has_number(row: Mapping[str, object], name: str) -> bool:
    """Return whether ``row[name]`` exists and is a finite number."""
    value = row.get(name)
    return isinstance(value, (int, float, np.number)) and math.isfinite(value)
