"""The second-order gradient of the alphas, through one weight step.

With ``w' = w - xi * grad_w L_train(w, alpha)``, the gradient of ``L_valid(w', alpha)`` is

    grad_alpha L_valid(w', alpha) - xi * (d2 L_train / d alpha d w) grad_w' L_valid(w', alpha).

The product with the mixed second derivative is either a finite difference (equation 8 of the paper)
or exact, by differentiating twice.

For networks with kinks (ReLU, max pooling) the two products differ: each kink that the finite
difference crosses adds a jump divided by twice the step length. ``compare_products`` measures the
difference.

References:
    DARTS, arXiv:1806.09055, section 2.3, equations 6 to 8.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import ClassVar, Generic

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from darts.methods.bilevel.arch_gradient import GRADIENTS, ArchGradient, GradientInputs
from darts.methods.bilevel.functional import (
    BatchT,
    FunctionalLoss,
    LossFunction,
    Net,
    Reduce,
    gradients,
    random_state,
    replayed,
    unreduced,
    vector_jacobian,
)
from darts.ops.float32 import exact_float32
from darts.ops.grouped_conv import differentiable_twice
from darts.registry import choice, number

PRODUCTS = ("finite_difference", "exact")


def unrolled(
    net: Net,
    loss_fn: LossFunction[Net, BatchT],
    train_batch: BatchT,
    valid_batch: BatchT,
    optimizer: Optimizer,
    *,
    hvp: str = "finite_difference",
    epsilon: float = 0.01,
    clip: float = 0.0,
    reduce: Reduce = unreduced,
) -> dict[str, Tensor]:
    """Return the gradient, by group of alphas, of the validation loss after one weight step.

    The weight step is a step of ``torch.optim.SGD``. All evaluations of the training loss use the
    same random numbers, for example in dropout; otherwise the finite difference would measure
    noise.

    Args:
        net, loss_fn, train_batch, valid_batch, optimizer, reduce: See ``GradientInputs``.
        hvp: ``"finite_difference"`` (two more evaluations of the training loss, no second
            derivative) or ``"exact"`` (differentiates twice).
        epsilon: Step length of the finite difference. The weights are shifted by
            ``+- epsilon * v / |v|``, where v is the weight gradient of the validation loss after
            the virtual step. The paper uses 0.01.
        clip: Largest norm of the training gradient in the virtual step, and of v; 0: no clipping.

    Raises:
        ValueError: If ``hvp`` is unknown, ``epsilon`` is not positive and finite, ``clip`` is
            negative, or the optimizer is not SGD.
    """
    if hvp not in PRODUCTS:
        raise ValueError(f"unknown hvp {hvp!r}; choose from {', '.join(PRODUCTS)}")
    if not 0 < epsilon < float("inf"):
        raise ValueError(f"epsilon={epsilon!r}: must be positive and finite")
    if not clip >= 0:
        raise ValueError(f"clip={clip!r}: must be >= 0")
    inputs = GradientInputs(net, loss_fn, train_batch, valid_batch, optimizer, reduce)
    return Unrolled(hvp=hvp, epsilon=epsilon, clip=clip).gradient(inputs)


@GRADIENTS.register
@dataclass
class Unrolled(ArchGradient):
    """The gradient through one virtual step; see ``unrolled`` for the options."""

    name: str = "unrolled"
    requires_sgd: ClassVar[bool] = True
    hvp: str = choice("finite_difference", *PRODUCTS)
    epsilon: float = number(0.01, above=0)
    # None: ``optimizer.clip`` for recurrent cells, whose published search clips; else no clipping.
    clip: float | None = number(None, low=0)

    def with_clip(self, clip: float) -> Unrolled:
        return self if self.clip is not None else dataclasses.replace(self, clip=clip)

    def gradient(self, inputs: GradientInputs[Net, BatchT]) -> dict[str, Tensor]:
        step = _VirtualStep(inputs, graph=self.hvp == "exact", clip=self.clip or 0.0)
        product = step.exact() if self.hvp == "exact" else step.finite_difference(self.epsilon)
        return step.loss.by_group([d - p for d, p in zip(step.direct, product, strict=True)])


def compare_products(
    net: Net,
    loss_fn: LossFunction[Net, BatchT],
    train_batch: BatchT,
    valid_batch: BatchT,
    optimizer: Optimizer,
    *,
    epsilon: float = 0.01,
    reduce: Reduce = unreduced,
) -> dict[str, float]:
    """Compare the finite difference with the exact product; arguments as in ``unrolled``.

    Returns:
        ``product_cosine`` and ``product_relative_difference`` of the two products;
        ``gradient_cosine`` of the resulting gradients of the alphas; ``product_share``, the norm of
        the exact product divided by the norm of the first term of the gradient.
    """
    inputs = GradientInputs(net, loss_fn, train_batch, valid_batch, optimizer, reduce)
    step = _VirtualStep(inputs, graph=True, clip=0.0)
    direct = _flatten(step.direct)
    exact, finite = _flatten(step.exact()), _flatten(step.finite_difference(epsilon))
    return {
        "product_cosine": _cosine(exact, finite),
        "product_relative_difference": float((finite - exact).norm() / exact.norm()),
        "gradient_cosine": _cosine(direct - exact, direct - finite),
        "product_share": float(exact.norm() / direct.norm()),
    }


class _VirtualStep(Generic[Net, BatchT]):
    """A virtual step, the gradients at its end, and the two second-order products.

    The factors of the clipping are constants in the derivative, as in the authors' code. With
    ``graph``, keep the graph of the training gradient, which the exact product needs.
    """

    def __init__(self, inputs: GradientInputs[Net, BatchT], *, graph: bool, clip: float) -> None:
        self.reduce = inputs.reduce
        self.loss = FunctionalLoss(inputs.net, inputs.loss_fn)
        self.train_batch = inputs.train_batch
        self.random_state = random_state(self.loss.alphas[0].device)
        # Leaves of a separate graph that share the values of the network's weights.
        self.weights = [w.detach().requires_grad_() for w in self.loss.weights]
        # The alphas are constants unless the training gradient will be differentiated again.
        alphas = self.loss.alphas if graph else [a.detach() for a in self.loss.alphas]
        with differentiable_twice() if graph else nullcontext():
            value = self.loss.at(self.weights, alphas, self.train_batch)
        # Operations that are not sampled have no influence on the loss and a zero gradient.
        self.gradients = gradients(value, self.weights, create_graph=graph)
        del value  # frees its graph before the next one is built
        detached = self.reduce([gradient.detach() for gradient in self.gradients])
        shrink = _clip_factor(detached, clip)
        clipped = detached if shrink is None else [shrink * gradient for gradient in detached]
        stepped, scales = sgd_step(inputs.optimizer, self.loss.weights, clipped)
        stepped = [w.requires_grad_() if w.is_leaf else w for w in stepped]
        value = self.loss.at(stepped, self.loss.alphas, inputs.valid_batch)
        direct_and_vector = self.reduce(gradients(value, [*self.loss.alphas, *stepped]))
        count = len(self.loss.alphas)
        self.direct, stepped_gradient = direct_and_vector[:count], direct_and_vector[count:]
        # The vector that is multiplied with the mixed second derivative.
        self.vector = [s * v for s, v in zip(scales, stepped_gradient, strict=True)]
        for factor in (shrink, _clip_factor(stepped_gradient, clip)):
            if factor is not None:
                self.vector = [factor * v for v in self.vector]

    def exact(self) -> Sequence[Tensor]:
        """Differentiate the training gradient, times the vector, with respect to the alphas."""
        product = vector_jacobian(self.gradients, self.vector, self.loss.alphas)
        return self.reduce(product)

    def finite_difference(self, epsilon: float) -> Sequence[Tensor]:
        """Compute the product as a central difference (equation 8) in true float32."""
        length = _flatten(self.vector).norm()
        if length.device.type == "cpu" and not length:
            return [torch.zeros_like(alpha) for alpha in self.loss.alphas]
        # Reading the length would make the CPU wait for a GPU. With a length of 0, the weights are
        # not shifted, so the difference and the product are 0.
        length = length.clamp_min(1e-30)
        plus, minus = (self._shifted_gradients(sign * epsilon / length) for sign in (1, -1))
        factor = length / (2 * epsilon)
        return self.reduce([(p - m) * factor for p, m in zip(plus, minus, strict=True)])

    def _shifted_gradients(self, factor: Tensor) -> Sequence[Tensor]:
        """Return the alphas' gradients of the training loss at weights shifted along the vector."""
        with torch.no_grad():
            # Copied into the weights' memory layout: convolutions are a third slower in others.
            weights = [
                torch.empty_like(w).copy_(w + factor * v)
                for w, v in zip(self.weights, self.vector, strict=True)
            ]
        with replayed(self.random_state), exact_float32(weights[0].device):
            value = self.loss.at(weights, self.loss.alphas, self.train_batch)
            return gradients(value, self.loss.alphas)


@torch.no_grad()
def sgd_step(
    optimizer: Optimizer, weights: Sequence[nn.Parameter], gradients: Sequence[Tensor]
) -> tuple[list[Tensor], list[float]]:
    """Return the weights after one step of ``torch.optim.SGD``, and a factor for each weight.

    The factor of a weight is s in ``d(new weight) / d(gradient) = -s``. A weight outside the
    optimizer does not change. Gradient clipping is not included, because it happens outside the
    optimizer.

    Raises:
        ValueError: If the optimizer is not SGD.
    """
    if not isinstance(optimizer, SGD):
        raise ValueError(
            f"the virtual step requires torch.optim.SGD, got {type(optimizer).__name__}; "
            "use SGD for the weights or bilevel=first_order"
        )
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    stepped: list[Tensor] = []
    scales: list[float] = []
    for weight, gradient in zip(weights, gradients, strict=True):
        group = groups.get(id(weight))
        if group is None:
            stepped.append(weight.detach())
            scales.append(0.0)
            continue
        lr, momentum = float(group["lr"]), float(group["momentum"])
        scale = -1.0 if group["maximize"] else 1.0
        direction = scale * gradient
        if group["weight_decay"]:
            direction = direction.add(weight, alpha=group["weight_decay"])
        if momentum:
            buffer = optimizer.state.get(weight, {}).get("momentum_buffer")
            # The first step of SGD fills the buffer with the gradient without dampening.
            gain = 1.0 if buffer is None else 1.0 - float(group["dampening"])
            velocity = direction if buffer is None else momentum * buffer + gain * direction
            if group["nesterov"]:
                direction = direction + momentum * velocity
                scale *= 1.0 + momentum * gain
            else:
                direction = velocity
                scale *= gain
        # Copied into the memory layout of the weight: convolutions are a third slower in others.
        stepped.append(torch.empty_like(weight).copy_(weight - lr * direction))
        scales.append(lr * scale)
    return stepped, scales


def _clip_factor(tensors: Sequence[Tensor], clip: float) -> Tensor | None:
    """Return the factor that limits the norm of all tensors together; None without a limit."""
    if clip == 0:
        return None
    length = torch.stack([torch.linalg.vector_norm(tensor) for tensor in tensors]).norm()
    factor: Tensor = (clip / (length + 1e-6)).clamp_max(1.0)
    return factor


def _flatten(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.dot(a, b) / (a.norm() * b.norm()))
