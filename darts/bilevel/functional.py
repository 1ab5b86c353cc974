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


class FunctionalLoss:
    """``loss_fn(net, batch)`` evaluated at given weights and alphas.

    Like ``torch.func.functional_call``, but where the network's tensors are held is looked up once
    for all evaluations.

    Args:
        net: the supernet, whose modules stay the same from here on.
        loss_fn: scalar loss of a network and a batch.
    """

    def __init__(self, net: Any, loss_fn: LossFunction) -> None:
        self.net = net
        self.loss_fn = loss_fn
        self.weights: list[nn.Parameter] = net.weight_parameters()
        self.alpha_groups: list[str] = list(net.alphas)
        self._buffers = list(net.buffers())
        holders = [h for m in net.modules() for h in (m._parameters, m._buffers)]
        # A tensor that is tied has several places.
        self._places: list[tuple[dict[str, Any], str, Tensor]] = [
            (holder, name, tensor)
            for holder in holders
            for name, tensor in holder.items()
            if tensor is not None
        ]

    @property
    def alphas(self) -> list[Tensor]:
        """The network's own alphas, in the order of ``alpha_groups``."""
        return list(self.net.alphas.values())

    def at(self, weights: Sequence[Tensor], alphas: Sequence[Tensor], batch: Any) -> Tensor:
        """The loss at ``weights`` and ``alphas``, given in the order of the network's own."""
        own = [*self.weights, *self.alphas]
        values = dict(zip(map(id, own), [*weights, *alphas], strict=True))
        values.update((id(buffer), buffer.clone()) for buffer in self._buffers)
        try:
            for holder, name, tensor in self._places:
                holder[name] = values.get(id(tensor), tensor)
            return self.loss_fn(self.net, batch)
        finally:
            for holder, name, tensor in self._places:
                holder[name] = tensor

    def named(self, gradients: Sequence[Tensor]) -> dict[str, Tensor]:
        """Gradients of the alphas by group."""
        return dict(zip(self.alpha_groups, gradients, strict=True))
