"""The best choice within limits of costs that are sums over the decisions.

This is the multiple-choice knapsack problem, which an integer program solves exactly.

References:
    Kellerer, Pferschy and Pisinger, "Knapsack Problems", 2004, chapter 11.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import block_diag, csr_array


def best_choice(
    scores: Sequence[np.ndarray],
    costs: Sequence[np.ndarray],
    limits: np.ndarray,
    excluded: Sequence[Sequence[int]] = (),
) -> tuple[int, ...] | None:
    """Return the option of each decision with the largest sum of scores within the limits.

    Args:
        scores: For each decision, the scores of its options ``(options,)``.
        costs: For each decision, the costs of its options ``(options, costs)``.
        limits: Largest sum of each cost ``(costs,)``; the solver may exceed it by about a
            millionth.
        excluded: Choices that are not allowed.

    Returns:
        None if no choice is within the limits.
    """
    sizes = np.array([len(own) for own in scores])
    starts = np.cumsum(sizes) - sizes
    table = np.concatenate(costs).T
    scale = np.maximum(np.abs(table).max(axis=1), 1e-300)  # the solver's tolerance is absolute
    constraints = [
        LinearConstraint(block_diag([np.ones((1, size)) for size in sizes], "csr"), 1, 1),
        LinearConstraint(table / scale[:, None], ub=limits / scale),
    ]
    if excluded:
        rows = np.repeat(np.arange(len(excluded)), len(sizes))
        columns = (np.array(excluded) + starts).reshape(-1)
        taken = csr_array((np.ones(len(rows)), (rows, columns)), (len(excluded), sizes.sum()))
        constraints.append(LinearConstraint(taken, ub=len(sizes) - 1))
    solved = milp(
        -np.concatenate(scores),
        integrality=np.ones(sizes.sum()),
        bounds=Bounds(0, 1),
        constraints=constraints,
        options={"mip_rel_gap": 0},
    )
    if solved.x is None:
        return None
    return tuple(int(own.argmax()) for own in np.split(solved.x, starts[1:]))
