"""The weight step that the optimizer would take, computed without taking it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer


@torch.no_grad()
def sgd_step(
    optimizer: Optimizer, weights: Sequence[nn.Parameter], gradients: Sequence[Tensor]
) -> tuple[list[Tensor], list[float]]:
    """Weights after one step of ``torch.optim.SGD``, and how far each moves per unit of gradient.

    Learning rate, momentum (with the optimizer's own buffers), dampening, weight decay and
    Nesterov's variant are those of the parameter's group. A weight the optimizer does not hold
    stays where it is. Gradient clipping is no part of the step: it is applied outside the
    optimizer, and the published method leaves it out here as well.

    Args:
        optimizer: an SGD optimizer, only read.
        weights: its parameters, each of any shape.
        gradients: the gradient of each.

    Returns:
        The new weights, and for each weight the factor s in
        ``d(new weight) / d(gradient) = -s``.

    Raises:
        ValueError: when the optimizer is not SGD.
    """
    if not isinstance(optimizer, SGD):
        raise ValueError(
            f"the unrolled step mirrors torch.optim.SGD, got {type(optimizer).__name__}; "
            "use SGD for the weights or bilevel=first_order"
        )
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    moved: list[Tensor] = []
    scales: list[float] = []
    for weight, gradient in zip(weights, gradients, strict=True):
        group = groups.get(id(weight))
        if group is None:
            moved.append(weight.detach())
            scales.append(0.0)
            continue
        lr, momentum = float(group["lr"]), float(group["momentum"])
        sign = -1.0 if group["maximize"] else 1.0
        direction = sign * gradient
        if group["weight_decay"]:
            direction = direction.add(weight, alpha=group["weight_decay"])
        scale = sign
        if momentum:
            buffer = optimizer.state.get(weight, {}).get("momentum_buffer")
            # SGD fills the buffer at its first step with the plain gradient, undampened.
            fresh = 1.0 if buffer is None else 1.0 - float(group["dampening"])
            velocity = direction if buffer is None else momentum * buffer + fresh * direction
            if group["nesterov"]:
                direction = direction + momentum * velocity
                scale *= 1.0 + momentum * fresh
            else:
                direction = velocity
                scale *= fresh
        # Into the weight's own layout: convolutions are a third slower with another one.
        moved.append(torch.empty_like(weight).copy_(weight - lr * direction))
        scales.append(lr * scale)
    return moved, scales
