"""The supernet of the paper, fast: the function of ``EdgewiseSupernet`` with less work.

References:
    DARTS, arXiv:1806.09055, section 2.2, equation 2, and section 3.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial, reduce
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.mix import weighted_sum
from darts.ops.recompute import recomputed
from darts.spaces.cnn.edgewise import SKIP, EdgewiseSupernet, SupernetCell
from darts.spaces.cnn.fuse import fuse_state_dict, groups_of, unfuse_state_dict
from darts.spaces.cnn.group import Group, State
from darts.spaces.cnn.operations import Noise, shuffled
from darts.spaces.cnn.rectified import leave_relu_out
from darts.spaces.cnn.skeleton import CellPlan, count_nodes
from darts.spaces.mixture import CellMixture
from darts.spaces.widen import widened


class GroupedCell(nn.Module):
    """One cell, its edges computed in groups of equal node and stride.

    Both cells that read its output take the ReLU of it first, and so do the edges between its
    nodes: cells pass on what is rectified already.

    Attributes:
        rectifies: whether the output is rectified; the classifier wants that of the last as it is.

    Arguments and shape as ``SupernetCell``, the inputs behind their ReLU.
    """

    def __init__(
        self, plan: CellPlan, candidates: Sequence[Sequence[str]], partial: int = 1
    ) -> None:
        super().__init__()
        # The same draws as the edge-wise cell, so that one seed gives one network.
        edgewise = SupernetCell(plan, candidates, partial)
        self.preprocess0, self.preprocess1 = edgewise.preprocess0, edgewise.preprocess1
        for preprocess in (self.preprocess0, self.preprocess1):
            leave_relu_out(preprocess)
        self.rectifies = True
        self.partial, self.width = partial, edgewise.width
        self.members = groups_of(plan.kind, count_nodes(len(candidates)))
        self.groups = nn.ModuleList(
            Group(
                [edgewise.sources[edge][0] for edge in members],
                [candidates[edge] for edge in members],
                [cast(Any, edgewise.edges[edge]).operations for edge in members],
            )
            for members in self.members
        )
        self.targets = [edgewise.sources[members[0]][1] for members in self.members]
        self.stride = 2 if plan.kind == "reduce" else 1

    def forward(
        self, before_previous: Tensor, previous: Tensor, mixture: CellMixture, dropout: float = 0.0
    ) -> Tensor:
        states = [
            State(preprocess(x), self.width)
            for preprocess, x in ((self.preprocess0, before_previous), (self.preprocess1, previous))
        ]
        rows = mixture.weights.split([len(members) for members in self.members])
        incoming: list[Tensor] = []
        past: list[tuple[Tensor, Tensor]] = []  # what goes past the operations, with its weight
        for index, members in enumerate(self.members):
            group = cast(Group, self.groups[index])
            active = mixture.active and [mixture.active[edge] for edge in members]
            total = group(states, rows[index], active, dropout)
            if total is not None:
                incoming.append(total)
            if self.partial > 1:
                weights = torch.ones(len(members), device=previous.device)
                if mixture.bypass is not None:
                    weights = mixture.bypass[members[0] : members[-1] + 1]
                for source, weight in zip(group.sources, weights.unbind(), strict=True):
                    past.append((states[source].beside(self.stride if source < 2 else 1), weight))
            if self.targets[index + 1 : index + 2] != [self.targets[index]]:  # the node's last
                if not incoming:  # of operations that put nothing out
                    size = states[0].value[:, :, :: self.stride, :: self.stride]
                    incoming = [torch.zeros_like(size)]
                value = reduce(torch.add, incoming)
                if past:
                    value = torch.cat([value, weighted_sum(*zip(*past, strict=True))], dim=1)
                states.append(State(shuffled(value, self.partial), self.width))
                incoming, past = [], []
        return torch.cat(
            [node.rectified() if self.rectifies else node.whole for node in states[2:]], dim=1
        )


class Supernet(EdgewiseSupernet):
    """The supernet of the DARTS paper.

    It has the arguments, alphas, initial weights and results of ``EdgewiseSupernet``, to rounding;
    ``fuse_state_dict`` and ``unfuse_state_dict`` carry state dicts over. What it does differently:
    see ``darts.spaces.cnn.group`` and ``darts.ops``.
    """

    make_cell = GroupedCell

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        cast(GroupedCell, self.cells[-1]).rectifies = False
        self.recomputes = False
        self.draws = any(isinstance(module, Noise) for module in self.modules())
        # Not the images alone: beside weights in the plain layout convolutions lose a third.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def compile_regions(self) -> None:
        """Run the separable convolutions with their norms through ``torch.compile``.

        Equal regions of all cells share one compilation. The whole network at once would take many
        minutes to compile.
        """
        for module in self.modules():
            if isinstance(module, Group):
                module.compiled = True

    def recompute_cells(self) -> None:
        """Keep only what passes between cells for the backward pass, and compute the rest again."""
        self.recomputes = True

    def widened(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state dict of a supernet with narrower operations in this one's shapes."""
        own = unfuse_state_dict(self.state_dict())
        return fuse_state_dict(widened(unfuse_state_dict(state), own))

    def operation_shares(self) -> dict[str, list[tuple[nn.Parameter, int, int]]]:
        """What each operation of each edge owns: parameters, with its first row and the last's end.

        Skip connections are not among them.
        """
        return {
            f"{path}.{name}": rows
            for path, module in self.named_modules()
            if isinstance(module, Group)
            for name, rows in module.shares()
            if not name.endswith(SKIP)
        }

    def run_stem(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The two inputs of the first cell, behind their ReLU."""
        first, second = self.stem(images.contiguous(memory_format=torch.channels_last))
        rectified = F.relu(second)
        return rectified if first is second else F.relu(first), rectified

    def run_cell(
        self, cell: nn.Module, before_previous: Tensor, previous: Tensor, mixture: CellMixture
    ) -> Tensor:
        """The output of one cell, kept or computed again as asked."""
        draws = self.skip_dropout > 0 or self.draws
        run = partial(recomputed, cell, draws=draws) if self.recomputes else cell
        output: Tensor = run(before_previous, previous, mixture, self.skip_dropout)
        return output
