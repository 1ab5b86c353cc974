"""Curvature of the loss around the alphas.

References:
    Zela et al., "Understanding and Robustifying Differentiable Architecture Search",
    arXiv:1909.09656: where the dominant eigenvalue of the Hessian of the alphas grows, discretized
    architectures generalize badly.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from darts.methods.bilevel.functional import (
    BatchT,
    FunctionalLoss,
    LossFunction,
    Net,
    Reduce,
    gradients,
    unreduced,
    vector_jacobian,
)
from darts.ops.float32 import exact_float32
from darts.ops.grouped_conv import differentiable_twice


class AlphaHessian:
    """Products with the Hessian of a loss with respect to all alphas, at the current weights.

    All computations are in true float32. The loss is evaluated once, so that all products use the
    same samples of a random relaxation. The supernet and its buffers do not change. ``reduce`` sums
    tensors over the ranks of a distributed run.
    """

    def __init__(
        self,
        net: Net,
        loss_fn: LossFunction[Net, BatchT],
        batch: BatchT,
        reduce: Reduce = unreduced,
    ) -> None:
        loss = FunctionalLoss(net, loss_fn)
        self._alphas = loss.alphas
        self.dtype, self.device = self._alphas[0].dtype, self._alphas[0].device
        with exact_float32(self.device), differentiable_twice():
            value = loss.at([weight.detach() for weight in loss.weights], loss.alphas, batch)
            self._gradients = gradients(value, self._alphas, create_graph=True)
        self._reduce = reduce
        self.size = sum(alpha.numel() for alpha in self._alphas)

    def times(self, vector: Tensor) -> Tensor:
        """Return ``H @ vector``; both ``(size,)``, the concatenation of all groups of alphas."""
        by_group = torch.split(vector, [alpha.numel() for alpha in self._alphas])
        vectors = [v.view_as(alpha) for v, alpha in zip(by_group, self._alphas, strict=True)]
        with exact_float32(self.device):
            product = vector_jacobian(self._gradients, vectors, self._alphas, retain_graph=True)
        return torch.cat([values.reshape(-1) for values in self._reduce(product)])


def dominant_eigenvalue(
    hessian: AlphaHessian,
    *,
    tolerance: float = 0.01,
    max_products: int = 40,
    before_product: Callable[[int, int], None] | None = None,
) -> float:
    """Return the dominant eigenvalue of the Hessian of the alphas, by the Lanczos method.

    It is the largest eigenvalue; negative ones of larger magnitude do not count. It is NaN if a
    product contains NaN or infinity. The start vector is always the same.

    All basis vectors are kept, and each new vector is orthogonalized against them twice, so that no
    spurious copies of eigenvalues appear. This costs little compared with the products.

    The iteration stops at a residual of ``tolerance``, relative to the eigenvalue. The error of the
    eigenvalue is at most the residual, and typically about its square. ``before_product`` is called
    before each product with the number of completed products and their maximum number; it may raise
    to end the iteration.

    References:
        Golub and Van Loan, "Matrix Computations", section 10.1 (the iteration, its residual).
    """
    dtype, device = hessian.dtype, hessian.device
    start = torch.randn(
        hessian.size, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    basis = [start / start.norm()]
    tridiagonal = torch.zeros(max_products + 1, max_products + 1, dtype=torch.float64)
    largest = math.nan
    total = min(max_products, hessian.size)
    for step in range(total):
        if before_product is not None:
            before_product(step, total)
        product = hessian.times(basis[-1].to(device, dtype)).detach().cpu().double()
        tridiagonal[step, step] = basis[-1] @ product
        vectors = torch.stack(basis)  # (step + 1, size)
        for _ in range(2):
            product = product - vectors.T @ (vectors @ product)
        length = float(product.norm())
        if not math.isfinite(length):
            return math.nan
        values, combinations = torch.linalg.eigh(tridiagonal[: step + 1, : step + 1])
        largest = float(values[-1])
        residual = length * abs(float(combinations[-1, -1]))
        if residual <= tolerance * abs(largest):
            break
        tridiagonal[step, step + 1] = tridiagonal[step + 1, step] = length
        basis.append(product / length)
    return largest
