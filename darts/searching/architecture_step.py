"""One step of the alphas, in any precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from darts.bilevel.functional import LossFunction, Reduce
from darts.training.device import autocast


def architecture_step(
    net: Any,
    loss_fn: LossFunction,
    train_batch: Any,
    valid_batch: Any,
    *,
    gradient: Callable[..., dict[str, Tensor]],
    optimizer: Optimizer,
    arch_optimizer: Optimizer,
    scaler: torch.amp.GradScaler,
    precision: str,
    device: torch.device,
    reduce: Reduce | None = None,
) -> Tensor:
    """Compute the gradient of the alphas and take one step along it.

    In fp16 the loss is scaled, so that no gradient on the way underflows, and every gradient is
    scaled back before it is used; a step whose gradient overflows is left out, and the scale
    becomes smaller.

    Args:
        net: supernet.
        loss_fn: scalar loss of a network and a batch.
        train_batch: the batch of the weight step.
        valid_batch: the batch whose loss the alphas are to lower.
        gradient: a part of ``darts.bilevel.GRADIENTS``.
        optimizer: of the weights; only read.
        arch_optimizer: of the alphas.
        scaler: of the alphas' gradients alone; disabled but in fp16.
        precision: of forward and backward passes.
        device: of the net.
        reduce: sums gradients over the ranks of a distributed run.

    Returns:
        Norm of the gradient, a scalar.
    """
    scale = scaler.scale(torch.ones((), device=device))  # one, unless enabled

    def scaled_loss(net: Any, batch: Any) -> Tensor:
        return scale * loss_fn(net, batch)

    def scaled_back(gradients: Sequence[Tensor]) -> list[Tensor]:
        total = gradients if reduce is None else reduce(gradients)
        return [gradient / scale for gradient in total]

    enabled = scaler.is_enabled()
    with autocast(precision, device):
        gradients = gradient(
            *(net, scaled_loss if enabled else loss_fn, train_batch, valid_batch, optimizer),
            reduce=scaled_back if enabled else reduce,
        )
    for name, alpha in net.alphas.items():
        # A power of two: scaled up here, and down again by the scaler that looks for overflow.
        alpha.grad = gradients[name] * scale if enabled else gradients[name]
    scaler.unscale_(arch_optimizer)
    scaler.step(arch_optimizer)
    scaler.update()
    arch_optimizer.zero_grad(set_to_none=True)
    return torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
