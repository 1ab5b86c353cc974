"""Softmax over the operations of each edge.

References:
    DARTS, arXiv:1806.09055, equation 2.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def softmax(alphas: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Mixing weights that are positive and sum to one on each edge.

    Shape: each ``(edges, operations)`` -> the same.
    """
    return {name: alpha.softmax(-1) for name, alpha in alphas.items()}
