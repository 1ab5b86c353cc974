"""Operations of a bundle as branches that stop at each batch norm.

A branch is a generator that computes up to its next norm, requests the norm, and continues with the
normalized and rectified result. In one process the branches run one after the other. If ranks share
a batch, they run together: the ranks exchange one message for the norms of all branches that have
the same number of norms before them.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.batch_norm import NormInput, normalize, normalize_together
from darts.spaces.cnn.edge_copies import Copies
from darts.spaces.cnn.node_sums import NodeSums

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class NormRequest(NamedTuple):
    """A batch norm that a branch needs.

    Attributes:
        copies: The edges.
        y: What to normalize, ``(B, edges * C, H, W)``.
        norm: The stacked batch norm.
        is_last: Whether the branch ends here. If so, the result, times the mixing weights, is added
            to the nodes; otherwise the branch continues with it after ReLU.
    """

    copies: Copies
    y: Tensor
    norm: nn.BatchNorm2d
    is_last: bool

    @property
    def scale(self) -> Tensor | None:
        """The mixing weight of each channel, or None before the end of the branch."""
        channels = self.y.shape[1] // self.copies.count
        return self.copies.channel_scale(channels) if self.is_last else None


Branch: TypeAlias = Generator[NormRequest, Tensor, None]


def run_branches(
    branches: Sequence[Branch], sums: NodeSums, group: ProcessGroup | None, *, training: bool
) -> None:
    """Run branches to their ends and add the results to the sums of the nodes.

    Args:
        branches: The branches.
        sums: Sums of the nodes.
        group: Ranks that share the batch; None for one process.
        training: Whether norms use the statistics of the batch instead of the running ones.
    """
    if group is not None and training:
        _run_together(branches, sums, group)
        return
    for branch in branches:
        request = next(branch)
        while not request.is_last:
            request = branch.send(F.relu_(_normalize(request, training)))
        copies, y, norm, _ = request
        if training:
            sums.add_normalized(copies, y, norm.eps, copies.running_stats(norm))
        else:
            sums.add(copies, _normalize(request, training))


def _normalize(request: NormRequest, training: bool) -> Tensor:
    copies, y, norm, _ = request
    if training:
        return normalize(y, request.scale, norm.eps, copies.running_stats(norm))
    return copies.normalize_by_running_stats(y, norm, request.scale)


def _run_together(branches: Sequence[Branch], sums: NodeSums, group: ProcessGroup) -> None:
    """Run branches norm by norm, with one message between the ranks for each."""
    waiting = [(branch, next(branch)) for branch in branches]
    while waiting:
        inputs = [
            NormInput(r.y, r.scale, r.norm.eps, r.copies.running_stats(r.norm)) for _, r in waiting
        ]
        outputs = normalize_together(inputs, group)
        continued = []
        for (branch, request), output in zip(waiting, outputs, strict=True):
            if request.is_last:
                sums.add(request.copies, output)
            else:
                continued.append((branch, branch.send(F.relu(output))))
        waiting = continued
