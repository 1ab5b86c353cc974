"""The virtual step: the weights after an optimizer step that is computed but not taken."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer


@torch.no_grad()
def sgd_step(
    optimizer: Optimizer, weights: Sequence[nn.Parameter], gradients: Sequence[Tensor]
) -> tuple[list[Tensor], list[float]]:
    """Return the weights after one step of ``torch.optim.SGD``, and a factor for each weight.

    Learning rate, momentum (with the optimizer's buffers), dampening, weight decay and Nesterov
    momentum are those of the parameter group. A weight outside the optimizer does not change.
    Gradient clipping is not included, because it happens outside the optimizer. The factor of a
    weight is s in ``d(new weight) / d(gradient) = -s``.

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
        sign = -1.0 if group["maximize"] else 1.0
        direction = sign * gradient
        if group["weight_decay"]:
            direction = direction.add(weight, alpha=group["weight_decay"])
        scale = sign
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
