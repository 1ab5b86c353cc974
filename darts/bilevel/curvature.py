"""How sharply the loss is curved around the alphas.

References:
    Zela et al., "Understanding and Robustifying Differentiable Architecture Search",
    arXiv:1909.09656: where the dominant eigenvalue of the alphas' Hessian grows, discretized
    architectures generalize badly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from darts.bilevel.functional import FunctionalLoss


class AlphaHessian:
    """Products with the Hessian of a loss with respect to all alphas, at the present weights.

    The loss is evaluated once, so that all products belong to the same draws of a random
    relaxation. The network and its buffers stay as they are.

    Args:
        net: supernet, in training mode.
        loss_fn: scalar loss of ``(net, batch)``.
        batch: for it.
        reduce: sums tensors over the ranks of a distributed run.
    """

    def __init__(
        self,
        net: Any,
        loss_fn: Callable[[Any, Any], Tensor],
        batch: Any,
        reduce: Callable[[Sequence[Tensor]], Sequence[Tensor]] | None = None,
    ) -> None:
        loss = FunctionalLoss(net, loss_fn)
        value = loss.at([weight.detach() for weight in loss.weights], loss.alphas, batch)
        self._alphas = loss.alphas
        self._gradients: Sequence[Tensor] = [torch.zeros_like(alpha) for alpha in self._alphas]
        if value.requires_grad:  # not where nothing passes a cell
            self._gradients = torch.autograd.grad(
                value, self._alphas, create_graph=True, allow_unused=True, materialize_grads=True
            )
        self._reduce = reduce or (lambda tensors: tensors)
        self.size = sum(alpha.numel() for alpha in self._alphas)

    @property
    def example(self) -> Tensor:
        """One of the alphas, for the type and device of vectors."""
        return self._alphas[0]

    def times(self, vector: Tensor) -> Tensor:
        """``H @ vector``; both ``(size,)``, all groups of alphas one after the other."""
        parts = vector.split([alpha.numel() for alpha in self._alphas])
        pairs = [
            (gradient, part.view_as(gradient))
            for gradient, part in zip(self._gradients, parts, strict=True)
            if gradient.requires_grad
        ]
        product: Sequence[Tensor] = [torch.zeros_like(alpha) for alpha in self._alphas]
        if pairs:
            product = torch.autograd.grad(
                [gradient for gradient, _ in pairs],
                self._alphas,
                grad_outputs=[part for _, part in pairs],
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
        return torch.cat([part.reshape(-1) for part in self._reduce(product)])


def dominant_eigenvalue(hessian: AlphaHessian, *, tolerance: float = 0.01, most: int = 40) -> float:
    """The largest eigenvalue of the alphas' Hessian, by the method of Lanczos.

    All vectors are kept and each new one is made orthogonal to them, twice, which costs nothing
    beside the products; so there are no copies of eigenvalues. The start is always the same.

    Args:
        hessian: gives the products.
        tolerance: the residual at which it ends, relative to the eigenvalue. An eigenvalue lies
            within the residual; the error itself is about its square.
        most: products at most, whatever the residual.

    Returns:
        The eigenvalue; no number where a product is none.

    References:
        Golub and Van Loan, "Matrix Computations", section 10.1 (the iteration, its residual).
    """
    dtype, device = hessian.example.dtype, hessian.example.device
    start = torch.randn(
        hessian.size, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    basis = [start / start.norm()]
    tridiagonal = torch.zeros(most + 1, most + 1, dtype=torch.float64)
    largest = math.nan
    for step in range(min(most, hessian.size)):
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
