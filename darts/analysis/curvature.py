"""How sharply the loss is curved around the alphas.

References:
    Zela et al., "Understanding and Robustifying Differentiable Architecture Search",
    arXiv:1909.09656: where the dominant eigenvalue of the alphas' Hessian grows, discretised
    architectures generalise badly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
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
        self._gradients = torch.autograd.grad(
            value, self._alphas, create_graph=True, allow_unused=True, materialize_grads=True
        )
        self._reduce = reduce or (lambda tensors: tensors)
        self.size = sum(alpha.numel() for alpha in self._alphas)

    def times(self, vector: Tensor) -> Tensor:
        """``H @ vector``; both ``(size,)``, all groups of alphas one after the other."""
        parts = vector.split([alpha.numel() for alpha in self._alphas])
        pairs = [
            (gradient, part.view_as(gradient))
            for gradient, part in zip(self._gradients, parts, strict=True)
            if gradient.requires_grad
        ]
        product = torch.autograd.grad(
            [gradient for gradient, _ in pairs],
            self._alphas,
            grad_outputs=[part for _, part in pairs],
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        return torch.cat([part.reshape(-1) for part in self._reduce(product)])


def dominant_eigenvalue(hessian: AlphaHessian) -> float:
    """The largest eigenvalue of the alphas' Hessian, by the method of Lanczos."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    example = hessian._alphas[0]

    def product(vector: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        given = torch.from_numpy(np.ascontiguousarray(vector.reshape(-1)))
        found = hessian.times(given.to(example.device, example.dtype))
        return found.detach().cpu().double().numpy()

    shape = (hessian.size, hessian.size)
    operator = LinearOperator(shape, matvec=product, dtype=np.float64)
    # A start of its own: ARPACK's would be another one in each run.
    start = np.random.default_rng(0).standard_normal(hessian.size)
    values = eigsh(operator, k=1, which="LA", v0=start, tol=1e-4, return_eigenvectors=False)
    return float(values[0])
