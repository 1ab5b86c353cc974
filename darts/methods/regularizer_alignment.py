"""Alignment of the cells of a group: their gradients of the mixing weights should agree.

References:
    Movahedi et al., "Lambda-DARTS: Mitigating Performance Collapse by Harmonizing Operation
    Selection among Cells", arXiv:2210.07998.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from darts.methods.mixture_loss import MixtureLoss
from darts.methods.regularizer import REGULARIZERS, Regularizer
from darts.ops.float32 import exact_float32
from darts.registry import number
from darts.spaces import Mixture, SearchContext


@REGULARIZERS.register
@dataclass
class Alignment(Regularizer):
    """A weight term that maximizes the mean cosine between the gradients of the cells.

    Let ``g_l`` be the gradient of the training loss with respect to the mixing weights of cell
    ``l``, and ``Lambda`` the mean of ``cos(g_l, g_m)`` over all pairs of cells. The gradient of
    ``Lambda`` with respect to the network's weights is a mixed second derivative times
    ``u = dLambda / dg``. A central difference computes it from the losses at mixing weights shifted
    by ``+- epsilon * u / |u|``.

    Attributes:
        weight: Weight of ``Lambda`` in the last epoch; it grows linearly from 0 in the first one.
        epsilon: Step length of the finite difference.
        all_groups: Whether the cells of every group are aligned. Otherwise, as in the authors'
            code, only those of the first group are: the normal cells.
    """

    name: str = "alignment"
    weight: float = number(0.125, low=0)
    epsilon: float = number(1e-4, above=0)
    all_groups: bool = False

    def weight_term(
        self, mixture: Mixture, loss: MixtureLoss, context: SearchContext
    ) -> Tensor | None:
        weight = self.weight * context.schedule
        if weight == 0:
            return None
        aligned = list(mixture) if self.all_groups else list(mixture)[:1]
        cells = {
            group: w if w.ndim == 3 else w.expand(context.counts[group], -1, -1)
            for group, w in mixture.items()
        }  # each (cells, edges, operations)
        by_cell = mixture.with_weights(cells)
        by_group = loss.gradient(by_cell)
        directions = {group: agreement_gradient(by_group[group]) for group in aligned}
        length = torch.stack([u.norm() for u in directions.values()]).norm()
        if float(length) == 0:
            return None
        step = self.epsilon / length
        shifted = (
            {**cells, **{g: cells[g] + sign * step * u for g, u in directions.items()}}
            for sign in (1, -1)
        )
        plus, minus = (loss(by_cell.with_weights(weights)) for weights in shifted)
        term: Tensor = -weight * (plus - minus) / (2 * step)
        return term


def agreement(gradients: Tensor) -> Tensor:
    """Return the mean cosine over all pairs of cells, given ``(cells, ...)``; 0 for one cell."""
    rows = gradients.flatten(1)
    count = len(rows)
    if count < 2:
        return rows.sum() * 0
    unit = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
    cosines = unit @ unit.T
    mean: Tensor = (cosines.sum() - cosines.diagonal().sum()) / (count * (count - 1))
    return mean


@torch.enable_grad()
def agreement_gradient(gradients: Tensor) -> Tensor:
    """Return the derivative of ``agreement`` with respect to the gradients, in their shape."""
    leaf = gradients.detach().requires_grad_()
    with exact_float32(leaf.device):
        return torch.autograd.grad(agreement(leaf), leaf)[0]
