"""Networks in a supernet that learn from the outputs of the largest one.

References:
    Yu et al., "BigNAS", arXiv:2003.11142, section 3.1: in-place distillation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.data import Batch
from darts.data.targets import CLASSES
from darts.spaces import Mixture
from darts.training.device import precision_context

if TYPE_CHECKING:
    from darts.searching.searcher import Searcher


@contextmanager
def preserved_buffers(net: nn.Module) -> Iterator[None]:
    """Restore all buffers of a network at the end of a ``with`` block."""
    buffers = [(buffer, buffer.clone()) for buffer in net.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


def student_losses(
    searcher: Searcher, loss: Tensor, outputs: object, students: Sequence[Mixture], batch: Batch
) -> Iterator[Tensor]:
    """Yield the loss of the largest network and one loss for each student.

    All are divided by their number, so that their sum is a mean. If the samples have no classes,
    the students learn the labels. Only the largest network changes the running statistics.

    Args:
        searcher: The searcher, with the supernet.
        loss: Loss of the largest network, a scalar.
        outputs: Outputs of the largest network, for classes logits ``(B, classes)``.
        students: The mixtures of the other networks.
        batch: Training samples.
    """
    count = 1 + len(students)
    yield loss / count
    teacher = None
    if searcher.config.task.targets == CLASSES and isinstance(outputs, Tensor):
        teacher = outputs.detach().float().softmax(-1)
    objective, ranks = searcher.objective, searcher.ranks
    with preserved_buffers(searcher.net):
        for mixture in students:
            forward = partial(searcher.net, mixture=mixture)
            with precision_context(searcher.config.precision, ranks.device):
                own, logits = objective.supernet_loss(forward, batch)
            if teacher is not None:
                own = F.cross_entropy(logits.float(), teacher)
            yield ranks.loss_share(own, objective.num_samples(batch)) / count
