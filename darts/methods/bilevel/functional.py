"""A loss as a function of explicit weights and alphas, without side effects on the network.

For the duration of a call, the given values replace the parameters of the network, the running
statistics of batch norms in training mode are removed, and copies replace all other buffers. The
parameters themselves are never modified, so no rounding errors accumulate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Generic, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from darts.ops.sync_batch_norm import SyncedBatchNorm2d
from darts.spaces import Mixture


class AlphaNetwork(Protocol):
    """A module with alphas by group; ``darts.spaces.SupernetBase`` is one."""

    @property
    def alphas(self) -> nn.ParameterDict: ...

    def weight_parameters(self) -> list[nn.Parameter]: ...  # all parameters except the alphas

    def modules(self) -> Iterator[nn.Module]: ...


Net = TypeVar("Net", bound=AlphaNetwork)
BatchT = TypeVar("BatchT")


# Scalar loss of a network and a batch. It must not change the mode of the network.
LossFunction = Callable[[Net, BatchT], Tensor]

# Returns the sum of each tensor over the ranks of a run.
Reduce = Callable[[Sequence[Tensor]], Sequence[Tensor]]


def unreduced(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return the tensors: the ``Reduce`` of a run with one rank."""
    return tensors


class MixtureLoss(Protocol):
    """The training loss of one batch as a function of the mixture, without side effects.

    Perturbations and regularizers evaluate it; ``darts.searching.mixture_loss`` implements it.
    """

    def __call__(self, mixture: Mixture) -> Tensor:
        """Return the loss, a scalar, differentiable with respect to the weights of the supernet.

        In a distributed run, it is this rank's share of the loss.
        """

    def value(self, mixture: Mixture) -> float:
        """Return the loss as a number, summed over the ranks."""

    def gradient(self, mixture: Mixture) -> Mapping[str, Tensor]:
        """Return the gradient with respect to the mixing weights by group, summed over ranks."""

    def evaluating(self) -> AbstractContextManager[None]:
        """Return a context in which the supernet is in evaluation mode."""


def gradients(
    output: Tensor, inputs: Sequence[Tensor], *, create_graph: bool = False
) -> tuple[Tensor, ...]:
    """Return the gradients of a scalar; zeros for inputs that it does not depend on.

    The output may depend on none of the inputs: if all operations sampled into a node are ``none``,
    the output of the cell is constant.
    """
    ones = [torch.ones_like(output)]
    return vector_jacobian([output], ones, inputs, create_graph=create_graph)


def vector_jacobian(
    outputs: Sequence[Tensor],
    vectors: Sequence[Tensor],
    inputs: Sequence[Tensor],
    *,
    create_graph: bool = False,
    retain_graph: bool | None = None,
) -> tuple[Tensor, ...]:
    """Return the gradients of the sum of all ``output * vector``; zeros for unused inputs."""
    pairs = [(o, v) for o, v in zip(outputs, vectors, strict=True) if o.requires_grad]
    if not pairs:
        return tuple(torch.zeros_like(value) for value in inputs)
    return torch.autograd.grad(
        [output for output, _ in pairs],
        inputs,
        grad_outputs=[vector for _, vector in pairs],
        create_graph=create_graph,
        retain_graph=retain_graph,
        materialize_grads=True,
    )


# Modules whose running statistics training does not read. Of subclasses, the forward pass is
# unknown.
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, SyncedBatchNorm2d)
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class FunctionalLoss(Generic[Net, BatchT]):
    """``loss_fn(net, batch)`` evaluated at given weights and alphas.

    It works like ``torch.func.functional_call`` but finds the modules that hold the tensors only
    once for the evaluations of one gradient. The modules of the network must not change in between.
    """

    def __init__(self, net: Net, loss_fn: LossFunction[Net, BatchT]) -> None:
        self.net = net
        self.loss_fn = loss_fn
        self.weights: list[nn.Parameter] = net.weight_parameters()
        # A tensor that several modules share has several places.
        self._places = [
            (module, cast("dict[str, Tensor | None]", holder), name, tensor)
            for module in net.modules()
            for holder in (module._parameters, module._buffers)
            for name, tensor in holder.items()
            if tensor is not None
        ]

    @property
    def alphas(self) -> list[Tensor]:
        """The network's own alphas, in the order of their groups."""
        return list(self.net.alphas.values())

    def at(self, weights: Sequence[Tensor], alphas: Sequence[Tensor], batch: BatchT) -> Tensor:
        """Return the loss, a scalar; weights and alphas have the order of the network's own."""
        own = [*self.weights, *self.alphas]
        values = dict(zip(map(id, own), [*weights, *alphas], strict=True))
        try:
            for module, holder, name, tensor in self._places:
                if module.training and type(module) in BATCH_NORMS and name in STATISTICS:
                    holder[name] = None
                    continue
                if not isinstance(tensor, nn.Parameter) and id(tensor) not in values:
                    values[id(tensor)] = tensor.clone()
                holder[name] = values.get(id(tensor), tensor)
            return self.loss_fn(self.net, batch)
        finally:
            for _, holder, name, tensor in self._places:
                holder[name] = tensor

    def by_group(self, gradients: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return gradients of the alphas, given in the order of their groups, by group."""
        return dict(zip(self.net.alphas, gradients, strict=True))


# State of the CPU generator, a device, and the generator state of that device if it is a GPU.
RandomState = tuple[Tensor, torch.device, Tensor | None]


def random_state(device: torch.device) -> RandomState:
    """Return the state of the generators that a loss on the device may use."""
    on_device = None
    if device.type == "cuda":
        on_device = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        on_device = torch.mps.get_rng_state()
    return torch.get_rng_state(), device, on_device


@contextmanager
def replayed(state: RandomState) -> Iterator[None]:
    """Draw the random numbers that follow ``state`` again, then restore the generators."""
    before = random_state(state[1])
    try:
        _restore(state)
        yield
    finally:
        _restore(before)


def _restore(state: RandomState) -> None:
    cpu, device, on_device = state
    torch.set_rng_state(cpu)
    if on_device is not None and device.type == "cuda":
        torch.cuda.set_rng_state(on_device, device)
    elif on_device is not None:
        torch.mps.set_rng_state(on_device)
