"""Cells of a kind shall agree on where the mixing weights ought to go.

References:
    Movahedi et al., "Lambda-DARTS: Mitigating Performance Collapse by Harmonizing Operation
    Selection among Cells", arXiv:2210.07998.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from darts.methods.regularizer import REGULARIZERS, Regularizer
from darts.registry import number
from darts.spaces.context import SearchContext
from darts.spaces.mixture import Mixture


@REGULARIZERS.register
@dataclass
class Alignment(Regularizer):
    """The weights also raise the mean cosine between the cells' gradients.

    With ``g_l`` the gradient of the training loss for the mixing weights of cell ``l``, ``Lambda``
    is the mean over pairs of cells of ``cos(g_l, g_m)``. Its gradient for the network's weights is
    a product of a mixed second derivative with ``u = dLambda / dg``, here a central difference:
    the losses at mixing weights moved by ``epsilon * u / |u|`` to both sides.

    Attributes:
        weight: of ``Lambda`` at the end of the search; it grows linearly from 0.
        epsilon: length of the finite difference's step.
    """

    name: str = "alignment"
    weight: float = number(0.125, low=0)
    epsilon: float = number(1e-4, above=0)

    def weight_term(
        self,
        mixture: Mixture,
        loss: Callable[[Mixture], Tensor],
        slope: Callable[[Mixture], Mapping[str, Tensor]],
        context: SearchContext,
    ) -> Tensor | None:
        weight = self.weight * context.progress
        if weight == 0:
            return None
        cells = {
            group: w if w.ndim == 3 else w.expand(context.counts[group], -1, -1)
            for group, w in mixture.items()
        }
        by_cell = mixture.replaced(cells)
        directions = {
            group: ascent(gradient) for group, gradient in slope(by_cell).items()
        }  # each (cells, edges, operations)
        length = torch.stack([u.norm() for u in directions.values()]).norm()
        if float(length) == 0:
            return None
        step = self.epsilon / length
        up, down = (
            loss(by_cell.replaced({g: w + sign * step * directions[g] for g, w in cells.items()}))
            for sign in (1, -1)
        )
        return -weight * (up - down) / (2 * step)


def agreement(gradients: Tensor) -> Tensor:
    """Mean cosine over all pairs of cells: ``(cells, ...)`` -> scalar; 0 for a single cell."""
    rows = gradients.flatten(1)
    count = len(rows)
    if count < 2:
        return rows.sum() * 0
    unit = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
    cosines = unit @ unit.T
    return (cosines.sum() - cosines.diagonal().sum()) / (count * (count - 1))


@torch.enable_grad()
def ascent(gradients: Tensor) -> Tensor:
    """The derivative of ``agreement`` for the gradients, of their shape."""
    leaf = gradients.detach().requires_grad_()
    return torch.autograd.grad(agreement(leaf), leaf)[0]
