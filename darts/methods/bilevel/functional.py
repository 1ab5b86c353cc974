"""A loss as a function of explicit weights and alphas, without side effects on the network.

For the duration of a call, the given values replace the parameters of the network, the running
statistics of batch norms in training mode are removed, and copies replace all other buffers. The
parameters themselves are never modified, so no rounding errors accumulate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from darts.ops.sync_batch_norm import SyncedBatchNorm2d


class AlphaNetwork(Protocol):
    """A module with alphas by group; ``darts.spaces.SupernetBase`` is one."""

    @property
    def alphas(self) -> nn.ParameterDict: ...

    def weight_parameters(self) -> list[nn.Parameter]: ...  # all parameters except the alphas

    def modules(self) -> Iterator[nn.Module]: ...


Net = TypeVar("Net", bound=AlphaNetwork)
BatchT = TypeVar("BatchT")


LossFunction = Callable[[Net, BatchT], Tensor]
"""Scalar loss of a network and a batch. It must not change the mode of the network."""

Reduce = Callable[[Sequence[Tensor]], Sequence[Tensor]]
"""Sums each tensor over the ranks."""


def gradients(output: Tensor, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the gradients of a scalar; zeros for inputs that it does not depend on.

    The output may depend on none of the inputs: if all operations sampled into a node are ``none``,
    the output of the cell is constant.
    """
    if not output.requires_grad:
        return tuple(torch.zeros_like(value) for value in inputs)
    return torch.autograd.grad(output, inputs, allow_unused=True, materialize_grads=True)


BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, SyncedBatchNorm2d)


def _is_running_statistic(module: nn.Module, name: str) -> bool:
    """Return whether a module in training mode does not read a buffer.

    Subclasses of batch norm, whose forward pass is unknown, keep their buffers.
    """
    names = ("running_mean", "running_var", "num_batches_tracked")
    return type(module) in BATCH_NORMS and name in names


class FunctionalLoss(Generic[Net, BatchT]):
    """``loss_fn(net, batch)`` evaluated at given weights and alphas.

    It works like ``torch.func.functional_call`` but finds the modules that hold the tensors only
    once for all evaluations. The modules of the network must not change afterwards.

    Attributes:
        weights: The network's own weights.
        alpha_groups: Names of the groups of alphas.
    """

    def __init__(self, net: Net, loss_fn: LossFunction[Net, BatchT]) -> None:
        self.net = net
        self.loss_fn = loss_fn
        self.weights: list[nn.Parameter] = net.weight_parameters()
        self.alpha_groups: list[str] = list(net.alphas)
        # A tensor that several modules share has several places.
        self._parameters = [
            (cast("dict[str, Tensor | None]", module._parameters), name, parameter)
            for module in net.modules()
            for name, parameter in module._parameters.items()
            if parameter is not None
        ]
        self._buffers = [
            (module, name, buffer)
            for module in net.modules()
            for name, buffer in module._buffers.items()
            if buffer is not None
        ]

    @property
    def alphas(self) -> list[Tensor]:
        """The network's own alphas in the order of ``alpha_groups``."""
        return list(self.net.alphas.values())

    def at(self, weights: Sequence[Tensor], alphas: Sequence[Tensor], batch: BatchT) -> Tensor:
        """Return the loss, a scalar. Weights and alphas have the order of the attributes."""
        own = [*self.weights, *self.alphas]
        values = dict(zip(map(id, own), [*weights, *alphas], strict=True))
        copies: dict[int, Tensor] = {}
        try:
            for holder, name, parameter in self._parameters:
                holder[name] = values.get(id(parameter), parameter)
            for module, name, buffer in self._buffers:
                if _is_running_statistic(module, name) and module.training:
                    module._buffers[name] = None
                    continue
                if id(buffer) not in copies:
                    copies[id(buffer)] = buffer.clone()
                module._buffers[name] = copies[id(buffer)]
            return self.loss_fn(self.net, batch)
        finally:
            for holder, name, parameter in self._parameters:
                holder[name] = parameter
            for module, name, buffer in self._buffers:
                module._buffers[name] = buffer

    def by_group(self, gradients: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return gradients of the alphas, given in the order of ``alpha_groups``, by group."""
        return dict(zip(self.alpha_groups, gradients, strict=True))
