"""The few lines that every training loop here shares."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Diverged(ValueError):
    """The loss is no number any more; the message is one line."""


def cosine(epoch: int, epochs: int, high: float, low: float) -> float:
    """Learning rate of an epoch, counted from 0, on a half cosine from ``high`` to ``low``.

    References:
        Loshchilov and Hutter, "SGDR", arXiv:1608.03983, equation 5, without restarts.
    """
    return low + 0.5 * (high - low) * (1 + math.cos(math.pi * epoch / epochs))


def weight_optimizer(parameters: Iterable[nn.Parameter], config: Any) -> Optimizer:
    """The optimizer of a configuration's ``optimizer``.

    References:
        Kingma and Ba, "Adam", arXiv:1412.6980; with the weight decay of Loshchilov and Hutter,
        "Decoupled Weight Decay Regularization", arXiv:1711.05101.
    """
    common = {"lr": config.lr, "weight_decay": config.weight_decay}
    if config.kind == "adam":
        return torch.optim.AdamW(parameters, betas=(config.momentum, 0.999), **common)
    return torch.optim.SGD(parameters, momentum=config.momentum, **common)


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    """Give all parameter groups this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def optimizer_step(
    loss: Tensor,
    optimizer: Optimizer,
    scaler: torch.amp.GradScaler,
    *,
    clip: float,
    reduce: Callable[[Sequence[Tensor]], Sequence[Tensor]] | None = None,
) -> Tensor:
    """One step of the optimizer down the gradient of the loss.

    Args:
        loss: scalar with a graph to the optimizer's parameters.
        optimizer: of the parameters to move; other parameters must not be in the graph.
        scaler: scales the loss in fp16, else passes it through.
        clip: largest norm of the whole gradient; 0 for no limit.
        reduce: sums the gradients over the ranks of a distributed run, before all that follows, so
            that all ranks clip, and skip a step in fp16, alike.

    Returns:
        The norm of the gradient before clipping, a scalar.
    """
    optimizer.zero_grad(set_to_none=True)
    scaler.scale(loss).backward()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if reduce is not None:
        used = [p for p in parameters if p.grad is not None]
        for p, gradient in zip(used, reduce([p.grad for p in used]), strict=True):
            p.grad = gradient
    scaler.unscale_(optimizer)
    norm = torch.nn.utils.clip_grad_norm_(parameters, clip or math.inf)
    scaler.step(optimizer)
    scaler.update()
    return norm


def require_finite(loss: float | Tensor, epoch: int, step: int) -> float:
    """The loss as a number.

    Raises:
        Diverged: when it is infinite or not a number; epoch and step are counted from 0.
    """
    value = float(loss)
    if not math.isfinite(value):
        raise Diverged(
            f"the loss became {value} in epoch {epoch + 1}, step {step + 1}; the checkpoint before "
            "it is kept. Try a smaller optimizer.lr, optimizer.clip, or precision=fp32"
        )
    return value


class Means:
    """Running means over the samples of an epoch, which a checkpoint within it can hold."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.samples = 0

    def add(self, samples: int, **values: float) -> None:
        """Add a batch's means, weighted by its number of samples."""
        self.samples += samples
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + samples * value

    def compute(self) -> dict[str, float]:
        """Mean of each value so far."""
        return {name: total / self.samples for name, total in self.sums.items()}

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"sums": dict(self.sums), "samples": self.samples}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict``."""
        self.sums, self.samples = dict(state["sums"]), state["samples"]
