"""Training with the rounding of int8: quantization-aware fine-tuning.

In the forward pass, weights and the inputs of layers are rounded to 8 bits and scaled back. The
gradient passes the rounding unchanged (straight-through estimator) and is 0 where a value lies
outside the range. Batch norms use their running statistics, so each is a fixed scale per channel. A
range of weights per channel has the same rounding before and after such a scale is folded into the
weights.

References:
    Jacob et al., "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference", arXiv:1712.05877, section 3. Straight-through estimator:
    Bengio et al., arXiv:1308.3432.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from darts.config import ConfigError
from darts.data import Loader
from darts.spaces import NetworkBase
from darts.tasks import Objective

MOMENTUM = 0.01  # of the moving averages of ranges; section 3.1 uses values close to 0
LEVELS = 127  # of weights on each side of 0; the paper leaves out -128, too


class FakeQuantizedWeight(nn.Module):
    """Rounds weights to int8 with a scale per output channel; the range of a channel is symmetric.

    Shape: ``(D, ...) -> (D, ...)``.
    """

    def forward(self, weight: Tensor) -> Tensor:
        scale = weight.detach().flatten(1).abs().amax(dim=1) / LEVELS
        scale = scale.clamp(min=torch.finfo(weight.dtype).tiny)
        zero_point = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero_point, 0, -LEVELS, LEVELS)


class ActivationRange:
    """Rounds the input of a layer to 8 bits, with moving averages of its minimum and maximum.

    The range always contains 0, which padding needs. Call it as a forward pre-hook.
    """

    def __init__(self) -> None:
        self.low, self.high = 0.0, 0.0
        self._started = False

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        first, *others = inputs
        self.observe(float(first.detach().min()), float(first.detach().max()))
        scale = (self.high - self.low) / 255
        if not (scale > 0 and math.isfinite(scale)):
            return inputs
        zero_point = min(255, max(0, round(-self.low / scale)))
        return (torch.fake_quantize_per_tensor_affine(first, scale, zero_point, 0, 255), *others)

    def observe(self, low: float, high: float) -> None:
        """Update the range with the smallest and the largest value of a batch."""
        low, high = min(low, 0.0), max(high, 0.0)
        if self._started:
            low = (1 - MOMENTUM) * self.low + MOMENTUM * low
            high = (1 - MOMENTUM) * self.high + MOMENTUM * high
        self.low, self.high, self._started = low, high, True


@contextmanager
def fake_quantized(net: nn.Module) -> Iterator[None]:
    """Round weights and inputs of all convolutions and linear layers within a ``with`` block.

    Afterwards the weights are those that the block trained, not rounded. A convolution whose weight
    the network uses without calling the module has an input that is not rounded.
    """
    layers = [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_pre_hook(ActivationRange()) for layer in layers]
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", FakeQuantizedWeight())
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for layer in layers:
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)


def finetune(
    net: NetworkBase, loader: Loader, objective: Objective, *, epochs: int, lr: float
) -> None:
    """Train a network with rounded weights and activations, in place, by Adam at a constant rate.

    Args:
        net: Network in evaluation mode, which it stays in: statistics of batch norm are fixed and
            nothing is dropped.
        loader: Training batches.
        objective: Computes the loss.
        epochs: Number of epochs.
        lr: Learning rate.

    Raises:
        ConfigError: If a loss is not finite.
    """
    with fake_quantized(net):
        optimizer = torch.optim.Adam(net.parameters(), lr=lr)
        for epoch in range(epochs):
            for batch in loader.epoch(epoch):
                loss, _ = objective.network_loss(net, batch)
                if not loss.isfinite():
                    raise ConfigError(
                        f"finetune_lr={lr:g}: the loss of the fine-tuning is {loss.item()}; "
                        "lower it"
                    )
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
