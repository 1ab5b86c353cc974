"""The architecture step: one optimizer step of the alphas, in any precision."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from darts.config import SearchConfig
from darts.data import Batch
from darts.methods.bilevel import ArchGradient
from darts.methods.bilevel.functional import LossFunction, Reduce
from darts.methods.stages import StagePosition
from darts.spaces import SupernetBase
from darts.training.device import autocast


def updates_alphas(config: SearchConfig, position: StagePosition, epoch: int) -> bool:
    """Return whether a search takes architecture steps in an epoch."""
    progress = position.progress(epoch)
    return config.bilevel.updates_alphas and progress >= config.arch_optimizer.warmup


def architecture_step(
    net: SupernetBase,
    loss_fn: LossFunction[SupernetBase, Batch],
    train_batch: Batch,
    valid_batch: Batch,
    *,
    gradient: ArchGradient,
    optimizer: Optimizer,
    arch_optimizer: Optimizer,
    scaler: torch.amp.GradScaler,
    precision: str,
    device: torch.device,
    clip: float = 0.0,
    reduce: Reduce | None = None,
) -> Tensor:
    """Compute the hypergradient and take one optimizer step of the alphas.

    In fp16 the loss is scaled up so that no intermediate gradient underflows. Every gradient is
    divided by the scale before it is used. A step whose gradient overflows is skipped, and the
    scale is reduced.

    Args:
        net: Supernet.
        loss_fn: Scalar loss of a supernet and a batch.
        train_batch: Batch of the weight step.
        valid_batch: Batch whose loss the alphas minimize.
        gradient: Component that computes the hypergradient.
        optimizer: Optimizer of the weights; only read.
        arch_optimizer: Optimizer of the alphas.
        scaler: Scaler for the gradients of the alphas; disabled except in fp16.
        precision: Precision of forward and backward passes.
        device: Device of the supernet.
        clip: Maximum norm of the whole hypergradient; 0 disables clipping.
        reduce: Sums gradients over the ranks of a distributed run.

    Returns:
        Norm of the hypergradient before clipping, a scalar.
    """
    scale = scaler.scale(torch.ones((), device=device))  # 1 if the scaler is disabled

    def scaled_loss(net: SupernetBase, batch: Batch) -> Tensor:
        scaled: Tensor = scale * loss_fn(net, batch)
        return scaled

    def unscale(gradients: Sequence[Tensor]) -> list[Tensor]:
        total = gradients if reduce is None else reduce(gradients)
        return [gradient / scale for gradient in total]

    enabled = scaler.is_enabled()
    with autocast(precision, device):
        gradients = gradient(
            net,
            scaled_loss if enabled else loss_fn,
            train_batch,
            valid_batch,
            optimizer,
            reduce=unscale if enabled else reduce,
        )
    for name, alpha in net.alphas.items():
        # The scaler looks for overflows while it unscales, so the gradients are scaled again. This
        # is exact, because the scale is a power of two.
        alpha.grad = gradients[name] * scale if enabled else gradients[name]
    scaler.unscale_(arch_optimizer)
    norm = torch.nn.utils.clip_grad_norm_(list(net.alphas.values()), clip or math.inf)
    scaler.step(arch_optimizer)
    scaler.update()
    arch_optimizer.zero_grad(set_to_none=True)
    return norm
