"""Which of several trials are not beaten in everything by another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def pareto(rows: Sequence[Mapping[str, Any]], objectives: Mapping[str, bool]) -> list[int]:
    """Positions, in order, of the rows on the Pareto front.

    A row is on it when no other is at least as good in all objectives and better in one. Of rows
    that are equal in all of them, each is; a row without a finite number for each is not.

    Args:
        rows: with a number under the name of each objective.
        objectives: whether higher is better, by name.

    Raises:
        ValueError: without objectives.
    """
    if not objectives:
        raise ValueError("a Pareto front needs at least one objective")
    known = [
        place for place, row in enumerate(rows) if all(known_number(row, n) for n in objectives)
    ]
    signs = np.array([1.0 if higher else -1.0 for higher in objectives.values()])
    scores = np.array([[rows[place][name] for name in objectives] for place in known], dtype=float)
    scores = scores.reshape(len(known), len(objectives)) * signs
    found = []
    for place, own in zip(known, scores, strict=True):
        beaten = (scores >= own).all(axis=1) & (scores > own).any(axis=1)
        if not beaten.any():
            found.append(place)
    return found


def known_number(row: Mapping[str, Any], name: str) -> bool:
    """Whether a row has a finite number under a name."""
    value = row.get(name)
    return isinstance(value, (int, float, np.number)) and math.isfinite(value)
