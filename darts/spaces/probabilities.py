"""Tables of probabilities as rules read them that make genotypes of them."""

from __future__ import annotations

import torch
from torch import Tensor


def checked_rows(group: str, table: Tensor, shape: tuple[int, int]) -> list[list[float]]:
    """A table ``(edges, operations)`` as lists, where the first of equals can be told.

    float64 holds every narrower float exactly, so that no tie appears or vanishes.

    Raises:
        ValueError: for another shape, or values that are not finite or not within 0 and 1.
    """
    table = table.detach()
    if tuple(table.shape) != shape:
        raise ValueError(
            f"probabilities of {group} have shape {tuple(table.shape)}, not "
            f"({shape[0]} edges, {shape[1]} operations)"
        )
    if not bool(torch.isfinite(table).all()):
        raise ValueError(f"probabilities of {group} hold values that are not finite")
    low, high = float(table.min()), float(table.max())
    if low < 0 or high > 1 + 1e-3:
        raise ValueError(
            f"probabilities of {group} range from {low:.4g} to {high:.4g}, not within 0 and 1; "
            "take the softmax of the alphas first"
        )
    rows: list[list[float]] = table.to("cpu", torch.float64).tolist()
    return rows
