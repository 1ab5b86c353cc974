"""The number of weights that a network needs on a device."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn


def count_weights(network: nn.Module, *, statistics: bool = True) -> int:
    """Return the number of weights of a network without its auxiliary head.

    ``statistics`` says whether the statistics of norms count.
    """
    head = getattr(network, "auxiliary", None)
    omitted = {id(t) for t in _tensors(head)} if isinstance(head, nn.Module) else set()
    tensors = _tensors(network) if statistics else network.parameters()
    return sum(t.numel() for t in tensors if id(t) not in omitted)


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from (buffer for buffer in module.buffers() if buffer.is_floating_point())
