"""Building blocks of a training step: optimizer, its steps and running means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from darts.config import ConfigError, WeightOptimizerConfig
from darts.methods.bilevel.functional import Reduce, unreduced
from darts.ops.float32 import exact_float32
from darts.typed_values import Count

DEPTHS = 8  # groups of parameters that ``layer_decay`` distinguishes

FACTOR = "lr_factor"  # option of such a group


class Diverged(ValueError):
    """A loss or score that is not finite; the message is one line: the problem and the advice."""

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(f"{problem}. {advice}")
        self.problem = problem


def check_weight_optimizer(config: WeightOptimizerConfig) -> None:
    """Raise ConfigError for values that have no effect together, or a rate that would rise."""
    if config.nesterov and (config.algorithm != "sgd" or config.momentum == 0):
        raise ConfigError(
            "optimizer.nesterov=true: needs optimizer.algorithm=sgd and optimizer.momentum > 0"
        )
    for name in ("cooldown", "timescale"):
        if (value := getattr(config, name)) and config.schedule != "stable":
            raise ConfigError(f"optimizer.{name}={value:g}: set optimizer.schedule=stable")
    if config.lr_min > config.lr:
        raise ConfigError(
            f"optimizer.lr_min={config.lr_min}: must not exceed optimizer.lr={config.lr}, "
            "because the schedule falls from lr to lr_min"
        )


def weight_optimizer(
    parameters: Iterable[nn.Parameter], config: WeightOptimizerConfig
) -> Optimizer:
    """Return the configured optimizer of the weights: AdamW or SGD with (Nesterov) momentum.

    With ``layer_decay``, earlier layers have lower rates.

    For AdamW, ``momentum`` is the first beta; the second is 0.999.

    References:
        Kingma and Ba, "Adam", arXiv:1412.6980; with the weight decay of Loshchilov and Hutter,
        "Decoupled Weight Decay Regularization", arXiv:1711.05101; Howard and Ruder, "Universal
        Language Model Fine-tuning for Text Classification", arXiv:1801.06146, section 3.2: lower
        rates of earlier layers.
    """
    lr, decay, momentum = config.lr, config.weight_decay, config.momentum
    parameters = list(parameters)
    groups = _layer_groups(parameters, config)
    if config.algorithm == "adam":
        on_gpu = parameters[0].device.type == "cuda"
        # The fused kernel is three times as fast for small networks. It is wrong if a parameter and
        # its moments have different layouts, as kernels of images have after a checkpoint. None,
        # unlike False, leaves PyTorch its choice of the multi-tensor loop on a GPU.
        has_images = any(parameter.dim() == 4 for parameter in parameters)
        return torch.optim.AdamW(
            groups,
            lr=lr,
            betas=(momentum, 0.999),
            weight_decay=decay,
            fused=None if on_gpu or has_images else True,
        )
    return torch.optim.SGD(
        groups, lr=lr, momentum=momentum, weight_decay=decay, nesterov=config.nesterov
    )


def _layer_groups(
    parameters: Sequence[nn.Parameter], config: WeightOptimizerConfig
) -> list[dict[str, Any]]:
    """Return the groups of parameters, with the factor of the rate of each."""
    if config.layer_decay == 1:
        return [{"params": parameters}]
    factors = [config.layer_decay**depth for depth in reversed(range(DEPTHS))]
    groups: list[dict[str, Any]] = [{"params": [], FACTOR: factor} for factor in factors]
    for number, parameter in enumerate(parameters):
        groups[number * DEPTHS // len(parameters)]["params"].append(parameter)
    return [group for group in groups if group["params"]]


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    """Set the learning rate of all parameter groups; some have a factor, see ``layer_decay``."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get(FACTOR, 1.0)


def optimizer_steps(
    losses: Tensor | Iterable[Tensor],
    updates: Sequence[tuple[Optimizer, float]],
    scaler: torch.amp.GradScaler,
    *,
    exact_term: Tensor | None = None,
    reduce: Reduce = unreduced,
) -> list[Tensor]:
    """Backpropagate a loss, or several one after the other, and take one step of each optimizer.

    Return the norms of their gradients before clipping, scalars.

    Args:
        losses: Scalars, whose gradients are added. Their graphs must not contain parameters of
            other optimizers. The graph of a loss is freed before the next one is requested.
        updates: Optimizers, each with the largest norm of its whole gradient (0: no limit).
        exact_term: Scalar to add to the losses, whose backward pass is in true float32; its forward
            pass should also be.
        reduce: Sums the gradients over the ranks before clipping, so that all ranks clip alike
            and skip the same fp16 steps.
    """
    for optimizer, _ in updates:
        optimizer.zero_grad(set_to_none=True)
    for loss in [losses] if isinstance(losses, Tensor) else losses:
        scaler.scale(loss).backward()
    if exact_term is not None:
        with exact_float32(exact_term.device):
            scaler.scale(exact_term).backward()  # type: ignore[no-untyped-call]
    norms = []
    for optimizer, clip in updates:
        used = [p for own in optimizer.param_groups for p in own["params"] if p.grad is not None]
        for p, gradient in zip(used, reduce([p.grad for p in used]), strict=True):
            p.grad = gradient
        norms.append(clipped_step(optimizer, scaler, clip))
    scaler.update()
    return norms


def clipped_step(optimizer: Optimizer, scaler: torch.amp.GradScaler, clip: float) -> Tensor:
    """Unscale and clip the gradients, take one step, and return their norm before clipping.

    ``clip`` is the largest norm of the whole gradient; 0: no limit.
    """
    scaler.unscale_(optimizer)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(parameters, clip or math.inf)
    scaler.step(optimizer)
    return norm


def require_finite(loss: float, epoch: int, step: int) -> float:
    """Return the loss of a step; raise ``Diverged`` if it is not finite."""
    if not math.isfinite(loss):
        raise Diverged(
            f"the loss became {loss} in epoch {epoch + 1}, step {step + 1}",
            "The previous checkpoint is kept. Try a smaller optimizer.lr or optimizer.clip, or "
            "precision=fp32",
        )
    return loss


@dataclass
class EpochMeans:
    """Running means of metrics over the samples of an epoch."""

    sums: dict[str, float] = field(default_factory=dict)  # by name of a metric
    samples: Count = 0

    def add(self, num_samples: int, **values: float) -> None:
        """Add the means of a batch, weighted by its number of samples."""
        self.samples += num_samples
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + num_samples * value

    def compute(self) -> dict[str, float]:
        """Return the mean of each value so far."""
        return {name: total / self.samples for name, total in self.sums.items()}
