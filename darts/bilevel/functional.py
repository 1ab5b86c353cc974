"""A loss as a function of explicit weights and alphas, leaving the network itself alone.

Values are put in the place of the network's parameters for the length of one call, and its
buffers are replaced by copies, so that batch-norm statistics move only in the copies. Nothing has
to be restored afterwards, and nothing drifts by rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

LossFunction = Callable[[Any, Any], Tensor]  # (net, batch) -> scalar
Reduce = Callable[[Sequence[Tensor]], Sequence[Tensor]]  # each tensor's sum over the ranks


class Supernet(Protocol):
    """What the bilevel gradients need of a network: alphas by name, and all other parameters."""

    @property
    def alphas(self) -> nn.ParameterDict: ...

    def weight_parameters(self) -> list[nn.Parameter]: ...


def gradients(output: Tensor, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Gradients of a scalar, zeros for what it does not depend on.

    It may depend on none: where all operations that were sampled into a node are ``none``, nothing
    passes the cell, and the loss is a constant to the alphas.
    """
    if not output.requires_grad:
        return tuple(torch.zeros_like(value) for value in inputs)
    return torch.autograd.grad(output, inputs, allow_unused=True, materialize_grads=True)


class FunctionalLoss(nn.Module):
    """``loss_fn(net, batch)`` evaluated at given weights and alphas.

    Args:
        net: the supernet.
        loss_fn: scalar loss of a network and a batch.
    """

    def __init__(self, net: Any, loss_fn: LossFunction) -> None:
        super().__init__()
        self.net = net
        self.loss_fn = loss_fn
        names = {id(parameter): name for name, parameter in self.named_parameters()}
        self.weights: list[nn.Parameter] = net.weight_parameters()
        self.alpha_groups: list[str] = list(net.alphas)
        self._weight_names = [names[id(weight)] for weight in self.weights]
        self._alpha_names = [names[id(alpha)] for alpha in net.alphas.values()]

    @property
    def alphas(self) -> list[Tensor]:
        """The network's own alphas, in the order of ``alpha_groups``."""
        return list(self.net.alphas.values())

    def forward(self, batch: Any) -> Tensor:
        return self.loss_fn(self.net, batch)

    def at(self, weights: Sequence[Tensor], alphas: Sequence[Tensor], batch: Any) -> Tensor:
        """The loss at ``weights`` and ``alphas``, given in the order of the network's own."""
        values: dict[str, Tensor] = {name: b.clone() for name, b in self.named_buffers()}
        values.update(zip(self._weight_names, weights, strict=True))
        values.update(zip(self._alpha_names, alphas, strict=True))
        return functional_call(self, values, (batch,))

    def named(self, gradients: Sequence[Tensor]) -> dict[str, Tensor]:
        """Gradients of the alphas by group."""
        return dict(zip(self.alpha_groups, gradients, strict=True))
