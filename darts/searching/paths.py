"""The path of one genotype in a supernet: its operations, statistics of batch norm, and its score.

References:
    Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling",
    arXiv:1904.00420, section 3.4: calibration of batch norm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from darts.data import Batch
from darts.searching.searcher import Searcher
from darts.searching.students import preserved_buffers
from darts.spaces import AnyGenotype, ByGroup, SearchContext, SupernetBase
from darts.spaces.mixture import path_mixture
from darts.tasks import Forward
from darts.training.device import precision_context, random_states, restore_random_states


def path_masks(
    genotype: AnyGenotype, probabilities: ByGroup, context: SearchContext
) -> dict[str, Tensor]:
    """Return the masks ``(edges, operations)`` of a genotype by group.

    They follow from the probabilities if the space derives this genotype from them, because a
    genotype does not record everything, for example which layers of a supernet are skipped.
    """
    if context.derive(probabilities).to_json() == genotype.to_json():
        return context.derived_mask(probabilities)
    return context.space.mask(genotype, context.candidates)


@torch.no_grad()
def path_score(
    searcher: Searcher, masks: ByGroup, calibration: Sequence[Batch], batches: Iterable[Batch]
) -> dict[str, float]:
    """Return the metrics of the path of one genotype, by name.

    The operations of the path have the mixing weight 1, as in the discrete network. Batch norm uses
    statistics of the path, which come from the calibration batches.
    """
    with preserved_state(searcher.net):
        return searcher.evaluate(batches, calibrate(searcher, masks, calibration))


@runtime_checkable
class _RunningNorm(Protocol):
    """A batch norm with running statistics."""

    momentum: float | None

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]: ...


@torch.no_grad()
def calibrate(searcher: Searcher, masks: ByGroup, batches: Iterable[Batch]) -> Forward:
    """Replace the running statistics of batch norm by the mean of the statistics of some batches.

    Return the forward pass of the path with the operations in the masks.

    A batch norm that each batch updates several times, for example in a recurrent cell, is an
    exception: from the second batch on it uses its own momentum, so that the weight of earlier
    batches decays as in training.

    All ranks have equally many batches. The supernet is left in training mode.
    """
    net, device = searcher.net, searcher.ranks.device
    forward = partial(net, mixture=path_mixture(masks, net.shapes, device))
    norms = [
        (module, module.momentum, _num_updates(module))
        for module in net.modules()
        if isinstance(module, _RunningNorm)
        and module.momentum is not None
        and list(module.buffers(recurse=False))
    ]
    net.train()
    try:
        for number, batch in enumerate(batches, 1):
            for norm, momentum, start in norms:
                repeated = _num_updates(norm) - start > number - 1
                norm.momentum = momentum if repeated else 1 / number
            with precision_context(searcher.config.precision, device):
                searcher.objective.supernet_loss(forward, batch)
    finally:
        for norm, momentum, _ in norms:
            norm.momentum = momentum
    return forward


def _num_updates(norm: _RunningNorm) -> int:
    count: Tensor | None = getattr(norm, "num_batches_tracked", None)
    return 0 if count is None else int(count.max())  # a fused batch norm counts for each edge


@contextmanager
def preserved_state(net: SupernetBase) -> Iterator[None]:
    """Disable skip dropout and drop path inside the context; at its end, restore the supernet.

    Both rates, the buffers, the training mode and all random states are restored.
    """
    device = next(net.parameters()).device
    random, training = random_states(device), net.training
    rates = net.skip_dropout, net.drop_path
    net.skip_dropout = net.drop_path = 0.0
    try:
        with preserved_buffers(net):
            yield
    finally:
        net.train(training)
        net.skip_dropout, net.drop_path = rates
        restore_random_states(random, device)
