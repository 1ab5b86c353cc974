"""The gradient of the alphas through one step of the weights.

With ``w' = w - xi * grad_w L_train(w, alpha)`` the gradient of ``L_valid(w', alpha)`` is

    grad_alpha L_valid(w', alpha) - xi * (d2 L_train / d alpha d w) grad_w' L_valid(w', alpha),

and the product with the mixed second derivative comes either from a finite difference (equation 8
of the paper) or exactly from a second differentiation.

On a network with kinks (ReLU, max pooling) the two products differ: each kink that the finite
perturbation crosses adds a jump divided by twice the step. ``compare_products`` measures it.

References:
    DARTS, arXiv:1806.09055, section 2.3, equations 6 to 8.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from darts.bilevel.arch_gradient import GRADIENTS, ArchGradient
from darts.bilevel.functional import FunctionalLoss, LossFunction, Reduce, gradients
from darts.bilevel.virtual_step import sgd_step
from darts.registry import choice, number

PRODUCTS = ("finite_difference", "exact")


def unrolled(
    net: Any,
    loss_fn: LossFunction,
    train_batch: Any,
    valid_batch: Any,
    optimizer: Optimizer,
    *,
    hvp: str = "finite_difference",
    epsilon: float = 0.01,
    reduce: Reduce | None = None,
) -> dict[str, Tensor]:
    """Gradient of the validation loss after one weight step, with respect to the alphas.

    The step is the one ``torch.optim.SGD`` would take: learning rate, momentum, dampening, weight
    decay, Nesterov. Random draws inside the loss (dropout, say) are the same in all evaluations of
    the training loss, without which a finite difference would measure noise.

    Args:
        net: supernet with ``alphas`` and ``weight_parameters()``; left exactly as found.
        loss_fn: scalar loss of ``(net, batch)``.
        train_batch: the batch of the weight step.
        valid_batch: the batch whose loss is differentiated.
        optimizer: the weights' SGD optimizer; only read.
        hvp: "finite_difference" (two more evaluations of the training loss, no second
            derivative) or "exact" (automatic differentiation twice).
        epsilon: length of the finite perturbation: the weights move by ``epsilon * v / |v|`` to
            both sides, v being the gradient at the stepped weights. 0.01 as published.
        reduce: sums tensors over the ranks of a distributed run, where each rank's loss is its
            part of the whole batch's. The virtual step then is that of the whole batch.

    Returns:
        ``{name: gradient}`` with the shapes of ``net.alphas``.

    Raises:
        ValueError: for an unknown product, an epsilon that is not positive, or an optimizer that
            is not SGD.
    """
    check_product(hvp, epsilon)
    step = _VirtualStep(
        net, loss_fn, train_batch, valid_batch, optimizer, graph=hvp == "exact", reduce=reduce
    )
    implicit = step.exact() if hvp == "exact" else step.finite_difference(epsilon)
    return step.loss.named([d - i for d, i in zip(step.direct, implicit, strict=True)])


@GRADIENTS.register
@dataclass
class Unrolled(ArchGradient):
    """The gradient through one weight step.

    Attributes:
        hvp: how the second-order product is computed.
        epsilon: length of the finite difference's step.
        self_check: steps between comparisons of the two products; 0: none.
    """

    name: str = "unrolled"
    mirrors_sgd: ClassVar[bool] = True
    hvp: str = choice("finite_difference", *PRODUCTS)
    epsilon: float = number(0.01, above=0)
    self_check: int = number(0, low=0)

    def __call__(self, *problem: Any, reduce: Reduce | None = None) -> dict[str, Tensor]:
        return unrolled(*problem, hvp=self.hvp, epsilon=self.epsilon, reduce=reduce)

    def reports_at(self, step: int) -> bool:
        return self.self_check > 0 and step % self.self_check == 0

    def report(self, step: int, *problem: Any, reduce: Reduce | None = None) -> dict[str, float]:
        """Every ``self_check`` steps, how far the two products are apart."""
        if not self.reports_at(step):
            return {}
        return compare_products(*problem, epsilon=self.epsilon, reduce=reduce)


def compare_products(
    net: Any,
    loss_fn: LossFunction,
    train_batch: Any,
    valid_batch: Any,
    optimizer: Optimizer,
    *,
    epsilon: float = 0.01,
    reduce: Reduce | None = None,
) -> dict[str, float]:
    """How far the finite difference is from the exact product on these batches.

    Returns:
        ``product_cosine`` and ``product_relative_difference`` of the second-derivative terms;
        ``gradient_cosine`` of the whole gradients of the alphas; ``product_share``, the norm of
        the exact product over that of the first term.
    """
    check_product("exact", epsilon)
    step = _VirtualStep(
        net, loss_fn, train_batch, valid_batch, optimizer, graph=True, reduce=reduce
    )
    direct = _flat(step.direct)
    exact, finite = _flat(step.exact()), _flat(step.finite_difference(epsilon))
    return {
        "product_cosine": _cosine(exact, finite),
        "product_relative_difference": float((finite - exact).norm() / exact.norm()),
        "gradient_cosine": _cosine(direct - exact, direct - finite),
        "product_share": float(exact.norm() / direct.norm()),
    }


def check_product(hvp: str, epsilon: float) -> None:
    """Raise ValueError unless the options of ``unrolled`` are sound."""
    if hvp not in PRODUCTS:
        raise ValueError(f"unknown hvp {hvp!r}; choose from {', '.join(PRODUCTS)}")
    if not 0 < epsilon < float("inf"):
        raise ValueError(f"epsilon must be positive and finite, got {epsilon!r}")


class _VirtualStep:
    """One weight step, the gradients at its end, and the two ways to the second-order term.

    Args:
        graph: keep the graph of the training gradient, which the exact product needs.
        reduce: sums tensors over the ranks.
    """

    def __init__(
        self,
        net: Any,
        loss_fn: LossFunction,
        train_batch: Any,
        valid_batch: Any,
        optimizer: Optimizer,
        *,
        graph: bool,
        reduce: Reduce | None,
    ) -> None:
        self.reduce: Reduce = reduce or (lambda tensors: tensors)
        self.loss = FunctionalLoss(net, loss_fn)
        self.train_batch = train_batch
        self.random_state = _random_state(self.loss.alphas[0].device)
        # Leaves of this step's own graph, sharing the values of the network's weights.
        self.weights = [w.detach().requires_grad_() for w in self.loss.weights]
        # In the step itself the alphas are constants unless it will be differentiated again.
        alphas = self.loss.alphas if graph else [a.detach() for a in self.loss.alphas]
        value = self.loss.at(self.weights, alphas, train_batch)
        # Weights off the sampled path of a supernet take no part in a loss: their gradient is zero.
        self.gradients = torch.autograd.grad(
            value, self.weights, create_graph=graph, allow_unused=True, materialize_grads=True
        )
        del value  # what its graph holds shall be free before the next one grows
        detached = self.reduce([gradient.detach() for gradient in self.gradients])
        stepped, scales = sgd_step(optimizer, self.loss.weights, detached)
        stepped = [w.requires_grad_() if w.is_leaf else w for w in stepped]
        value = self.loss.at(stepped, self.loss.alphas, valid_batch)
        direct_and_vector = self.reduce(gradients(value, [*self.loss.alphas, *stepped]))
        count = len(self.loss.alphas)
        self.direct = direct_and_vector[:count]
        # What the mixed second derivative is multiplied with, learning rate included.
        self.vector = [s * v for s, v in zip(scales, direct_and_vector[count:], strict=True)]

    def exact(self) -> Sequence[Tensor]:
        """The product by differentiating the training gradient with respect to the alphas."""
        pairs = [
            (g, v) for g, v in zip(self.gradients, self.vector, strict=True) if g.requires_grad
        ]
        product = torch.autograd.grad(
            [gradient for gradient, _ in pairs],
            self.loss.alphas,
            grad_outputs=[vector for _, vector in pairs],
            allow_unused=True,
            materialize_grads=True,
        )
        return self.reduce(product)

    def finite_difference(self, epsilon: float) -> Sequence[Tensor]:
        """The product as a central difference (equation 8), in full precision."""
        length = float(_flat(self.vector).norm())
        if length == 0:
            return [torch.zeros_like(alpha) for alpha in self.loss.alphas]
        plus = self._alpha_gradients(epsilon / length)
        minus = self._alpha_gradients(-epsilon / length)
        factor = length / (2 * epsilon)
        return self.reduce([(p - m) * factor for p, m in zip(plus, minus, strict=True)])

    def _alpha_gradients(self, factor: float) -> Sequence[Tensor]:
        """Gradient of the training loss for the alphas, the weights moved along the vector."""
        with torch.no_grad():
            # In the layout of the weights: convolutions are a third slower with another one.
            weights = [
                torch.empty_like(w).copy_(w + factor * v)
                for w, v in zip(self.weights, self.vector, strict=True)
            ]
        device = weights[0].device.type
        with _replayed(self.random_state), torch.autocast(device, enabled=False):
            value = self.loss.at(weights, self.loss.alphas, self.train_batch)
            return gradients(value, self.loss.alphas)


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.dot(a, b) / (a.norm() * b.norm()))


def _random_state(device: torch.device) -> tuple[Tensor, torch.device, Tensor | None]:
    """State of the CPU's generator and, on a GPU, of that GPU's."""
    on_device = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return torch.get_rng_state(), device, on_device


@contextmanager
def _replayed(state: tuple[Tensor, torch.device, Tensor | None]) -> Iterator[None]:
    """Draw again what was drawn from ``state`` on, and leave the generators as they were."""
    cpu, device, on_device = state
    with torch.random.fork_rng([device] if on_device is not None else []):
        torch.set_rng_state(cpu)
        if on_device is not None:
            torch.cuda.set_rng_state(on_device, device)
        yield
