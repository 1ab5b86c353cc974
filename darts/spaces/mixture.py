"""Mixtures: mixing weights with the masks and bypass weights that belong to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class CellMixture(NamedTuple):
    """Mixture of one cell.

    Attributes:
        weights: ``(edges, columns)``.
        bypass: ``(edges,)``, weights of the channels that bypass the operations; None if all are 1.
        active: By edge, the columns of the operations to run; None for all.
    """

    weights: Tensor
    bypass: Tensor | None = None
    active: tuple[tuple[int, ...], ...] | None = None


class Mixture(dict[str, Tensor]):
    """A dictionary of mixing weights by group, with bypass weights and masks.

    Each tensor is ``(edges, columns)``, the same for all cells of the group, or ``(cells, edges,
    columns)``. A column is a candidate, or in the last place an auxiliary skip connection.

    Args:
        bypass: By group ``(edges,)``, see ``CellMixture``.
        active: By group a mask ``(edges, columns)`` of the operations to run, preferably on the
            CPU; None for all. The mixing weights of operations that do not run get no gradient.
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
        """Return the mixture of the ``index``-th cell of a group."""
        weights = self[group]
        if weights.ndim == 3:
            weights = weights.unbind()[index]
        bypass = None if self.bypass is None else self.bypass[group]
        return CellMixture(weights, bypass, self._columns.get(group))

    def with_weights(self, weights: Mapping[str, Tensor]) -> Mixture:
        """Return a mixture with other mixing weights and the same bypass weights and masks."""
        return Mixture(weights, bypass=self.bypass, active=self.active)

    def detached(self) -> Mixture:
        """Return a mixture whose mixing and bypass weights are constants."""
        bypass = None if self.bypass is None else {g: w.detach() for g, w in self.bypass.items()}
        weights = {group: w.detach() for group, w in self.items()}
        return Mixture(weights, bypass=bypass, active=self.active)

    def with_values(self, values: Mixture) -> Mixture:
        """Return a mixture with the numbers and masks of ``values``.

        Its gradient flows to the mixing weights of this mixture, whose bypass weights it keeps.
        """
        weights = {group: w + (values[group] - w).detach() for group, w in self.items()}
        return Mixture(weights, bypass=self.bypass, active=values.active)


def consecutive_runs(indices: Sequence[int], size: int) -> Iterator[list[int]]:
    """Split sorted indices into runs of consecutive ones, each of at most ``size``."""
    run: list[int] = []
    for index in indices:
        if run and (index != run[-1] + 1 or len(run) == size):
            yield run
            run = []
        run.append(index)
    if run:
        yield run


def path_mixture(
    masks: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, int]], device: torch.device
) -> Mixture:
    """Return a mixture that runs only the operations of one architecture, each with weight 1."""
    active = {
        group: F.pad(mask, (0, shapes[group][1] - mask.shape[1])).to(device)
        for group, mask in masks.items()
    }
    return Mixture(
        {group: mask.float() for group, mask in active.items()},
        bypass={group: mask.any(1).float() for group, mask in active.items()},
        active=active,
    )
