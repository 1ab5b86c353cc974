"""Regularizers, which add terms to the losses of a search.

References:
    Chen et al., "DrNAS", arXiv:2006.10355, equation 3: the distance to the anchor ``beta = 1``.
    Ye et al., "Beta-DARTS", arXiv:2203.01665, section 3.2: the log of the softmax denominator.
    Chu et al., "Fair DARTS", arXiv:1911.12126, equation 4 (the zero-one loss of squares).
    Movahedi et al., "Lambda-DARTS: Mitigating Performance Collapse by Harmonizing Operation
    Selection among Cells", arXiv:2210.07998: the alignment of the cells of a group.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Dirichlet, kl_divergence

from darts.methods.bilevel.functional import MixtureLoss
from darts.methods.relaxation_sampled import concentration
from darts.ops.float32 import exact_float32
from darts.registry import Registry, number
from darts.spaces import ByGroup, Mixture, SearchContext

REGULARIZERS: Registry[Regularizer] = Registry("regularizer", "darts.methods")


@REGULARIZERS.register
@dataclass
class Regularizer:
    """The regularizer ``none``, which has no terms; others override one or both methods."""

    name: str = "none"

    def alpha_term(self, alphas: ByGroup, context: SearchContext) -> Tensor | None:
        """Return a scalar to add to the loss of the alphas, differentiable in them, or None."""
        return None

    def weight_term(
        self, mixture: Mixture, loss: MixtureLoss, context: SearchContext
    ) -> Tensor | None:
        """Return a scalar to add to the loss of the weights, differentiable in them, or None.

        ``loss`` is the training loss of the step's batch, in float32.
        """
        return None


@REGULARIZERS.register
@dataclass
class Anchor(Regularizer):
    """A term that keeps Dirichlet distributions close to the uniform one.

    It is ``weight`` times the sum over edges of the KL divergence from ``Dirichlet(1, ..., 1)``.
    """

    name: str = "anchor"
    weight: float = number(1e-3, low=0)

    def alpha_term(self, alphas: ByGroup, context: SearchContext) -> Tensor:
        terms = []
        for group in context.candidates:
            beta = concentration(alphas[group])
            # The validation of the arguments would wait for a GPU.
            uniform = Dirichlet(torch.ones_like(beta), validate_args=False)
            terms.append(kl_divergence(Dirichlet(beta, validate_args=False), uniform).sum())
        return self.weight * torch.stack(terms).sum()


@REGULARIZERS.register
@dataclass
class BetaDecay(Regularizer):
    """A term that keeps the denominator of the softmax of the alphas small.

    It is the mean of ``logsumexp(alpha)`` over all edges, times a weight that grows linearly with
    the epoch: from 0 to ``weight`` in ``epochs`` epochs, and on afterwards. As in the authors'
    code, the growth per epoch does not depend on the length of the search.
    """

    name: str = "beta_decay"
    weight: float = number(50.0, low=0)
    epochs: int = number(100, low=1)

    def alpha_term(self, alphas: ByGroup, context: SearchContext) -> Tensor:
        values = torch.cat([alphas[group].logsumexp(-1) for group in context.candidates])
        return self.weight * context.epoch / self.epochs * values.mean()


@REGULARIZERS.register
@dataclass
class ZeroOne(Regularizer):
    """A term that pushes every sigmoid toward 0 or 1, so that discretization changes little.

    It is ``-weight`` times the mean of ``(sigmoid(alpha) - 1/2) ** 2``.
    """

    name: str = "zero_one"
    weight: float = number(10.0, low=0)

    def alpha_term(self, alphas: ByGroup, context: SearchContext) -> Tensor:
        values = torch.cat([alphas[group].sigmoid().flatten() for group in context.candidates])
        return -self.weight * (values - 0.5).square().mean()


@REGULARIZERS.register
@dataclass
class Alignment(Regularizer):
    """A weight term that maximizes the mean cosine between the gradients of the cells.

    Let ``g_l`` be the gradient of the training loss with respect to the mixing weights of cell
    ``l``, and ``Lambda`` the mean of ``cos(g_l, g_m)`` over all pairs of cells. The gradient of
    ``Lambda`` with respect to the network's weights is a mixed second derivative times
    ``u = dLambda / dg``. A central difference computes it from the losses at mixing weights shifted
    by ``+- epsilon * u / |u|``.
    """

    name: str = "alignment"
    weight: float = number(0.125, low=0)  # in the last epoch; it grows linearly from 0
    epsilon: float = number(1e-4, above=0)
    # Whether the cells of all groups are aligned, or only the normal cells as in the authors' code.
    all_groups: bool = False

    def weight_term(
        self, mixture: Mixture, loss: MixtureLoss, context: SearchContext
    ) -> Tensor | None:
        weight = self.weight * context.schedule_position
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
