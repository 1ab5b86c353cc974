"""What a supernet is told to compute: mixing weights, and what goes with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class CellMixture(NamedTuple):
    """The share of one cell.

    Attributes:
        weights: ``(edges, columns)``.
        bypass: ``(edges,)``, the weights of what partial channels lead past the operations, or
            None for ones.
        active: for each edge the columns of the operations to run, or None for all of them.
    """

    weights: Tensor
    bypass: Tensor | None = None
    active: tuple[tuple[int, ...], ...] | None = None


class Mixture(dict[str, Tensor]):
    """Mixing weights by group of alphas, a dictionary like any other, with two things beside it.

    Each tensor is ``(edges, columns)``, or ``(cells, edges, columns)`` with a slice for each cell
    of the group. A column is a candidate operation; the last one is the auxiliary skip connection
    in a supernet that has it.

    Args:
        weights: the mixing weights.
        bypass: by group ``(edges,)``, see ``CellMixture``.
        active: by group a mask ``(edges, columns)``. Operations that are off are not run, and their
            weights get no gradient.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        *,
        bypass: Mapping[str, Tensor] | None = None,
        active: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__(weights)
        self.bypass = bypass
        self.active = active
        self._columns = {
            group: tuple(tuple(row.nonzero()[:, 0].tolist()) for row in mask.cpu())
            for group, mask in (active or {}).items()
        }

    def of_cell(self, group: str, index: int) -> CellMixture:
        """The share of the ``index``-th cell of a group."""
        weights = self[group]
        if weights.ndim == 3:
            weights = weights.unbind()[index]
        bypass = None if self.bypass is None else self.bypass[group]
        return CellMixture(weights, bypass, self._columns.get(group))

    def check(self, shapes: Mapping[str, tuple[int, int]]) -> None:
        """Raise ValueError unless each group has its ``(edges, columns)``."""
        for group, shape in shapes.items():
            found = tuple(self[group].shape) if group in self else "nothing"
            if found == "nothing" or found[-2:] != shape:
                raise ValueError(f"mixing weights of {group} have shape {found}, not {shape}")

    def replaced(self, weights: Mapping[str, Tensor]) -> Mixture:
        """The same with other weights."""
        return Mixture(weights, bypass=self.bypass, active=self.active)


def as_mixture(weights: Mapping[str, Tensor]) -> Mixture:
    """A plain dictionary of mixing weights as a mixture."""
    return weights if isinstance(weights, Mixture) else Mixture(weights)


def path_of(
    masks: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, int]], device: torch.device
) -> Mixture:
    """The mixture that runs the operations of one architecture alone, each with weight one.

    Args:
        masks: by group ``(edges, operations)``, what the architecture uses, see ``Space.mask``.
        shapes: of the supernet's mixing weights; an auxiliary skip connection is left out.
        device: of the weights.
    """
    active = {
        group: torch.nn.functional.pad(mask, (0, shapes[group][1] - mask.shape[1])).to(device)
        for group, mask in masks.items()
    }
    return Mixture(
        {group: mask.float() for group, mask in active.items()},
        bypass={group: mask.any(1).float() for group, mask in active.items()},
        active=active,
    )
