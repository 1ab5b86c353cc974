"""Derivation of a NAS-Bench-201 genotype: the strongest operation of each edge.

References:
    Dong and Yang, "NAS-Bench-201", arXiv:2001.00326, section 5: all edges are kept, and ``none``
    competes with the other operations.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from darts.spaces.deriving import Candidates, best_operations, check_groups
from darts.spaces.nas201.genotype import EDGES, Genotype


def derive(probabilities: Mapping[str, Tensor], candidates: Candidates) -> Genotype:
    """Keep the most probable operation of each edge, which may be ``none``.

    Args:
        probabilities: ``{"cell": (6, columns)}``, on any device.
        candidates: ``{"cell": the operation of each column, by edge}``.

    Returns:
        The genotype. Ties go to the lower column.

    Raises:
        ValueError: groups or shapes that do not match the candidates, or values that are not finite
            or not within 0 and 1.
    """
    check_groups("candidates", candidates, Genotype.cells)
    names = candidates["cell"]
    widths = {len(row) for row in names}
    if len(names) != len(EDGES) or len(widths) != 1 or not min(widths):
        raise ValueError(
            f"candidates of cell must be {len(EDGES)} rows of equal length, at least 1"
        )
    return Genotype.from_operations(*best_operations(probabilities, candidates)["cell"])
