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
    if not objectives:
        raise ValueError("objectives is empty; a Pareto front needs at least one")
    indices = [
        index for index, row in enumerate(rows) if all(has_number(row, name) for name in objectives)
    ]
    signs = np.array([1.0 if higher else -1.0 for higher in objectives.values()])
    scores = np.array(
        [[rows[index][name] for name in objectives] for index in indices], dtype=float
    )
    scores = scores.reshape(len(indices), len(objectives)) * signs
    front = []
    for index, row_scores in zip(indices, scores, strict=True):
        dominating = (scores >= row_scores).all(axis=1) & (scores > row_scores).any(axis=1)
        if not dominating.any():
            front.append(index)
    return front


def has_number(row: Mapping[str, object], name: str) -> bool:
    """Return whether ``row[name]`` exists and is a finite number."""
    value = row.get(name)
    return isinstance(value, (int, float, np.number)) and math.isfinite(value)
