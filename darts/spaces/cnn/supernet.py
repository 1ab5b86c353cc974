"""The supernet of the paper, fast: the function of ``EdgewiseSupernet`` with less work.

References:
    DARTS, arXiv:1806.09055, section 2.2, equation 2, and section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.kernels.recompute import recomputed
from darts.spaces.cnn.edgewise import EdgewiseSupernet, SupernetCell
from darts.spaces.cnn.fuse import groups_of
from darts.spaces.cnn.group import Group, State
from darts.spaces.cnn.rectified import leave_relu_out
from darts.spaces.cnn.skeleton import CellPlan


class GroupedCell(nn.Module):
    """One cell, its edges computed in groups of equal node and stride.

    Both cells that read its output take the ReLU of it first, and so do the edges between its
    nodes: cells pass on what is rectified already.

    Attributes:
        rectifies: whether the output is rectified; the classifier wants that of the last as it is.

    Shape: as ``SupernetCell``, the inputs behind their ReLU.
    """

    def __init__(self, plan: CellPlan, nodes: int, operations: Sequence[str]) -> None:
        super().__init__()
        # The same draws as the edge-wise cell, so that one seed gives one network.
        edgewise = SupernetCell(plan, nodes, operations)
        self.preprocess0, self.preprocess1 = edgewise.preprocess0, edgewise.preprocess1
        for preprocess in (self.preprocess0, self.preprocess1):
            leave_relu_out(preprocess)
        self.rectifies = True
        numbers = groups_of(plan.kind, nodes)
        self.groups = nn.ModuleList(
            Group(
                [edgewise.sources[number][0] for number in members],
                [cast(Any, edgewise.edges[number]).operations for number in members],
            )
            for members in numbers
        )
        self.targets = [edgewise.sources[members[0]][1] for members in numbers]
        self.sizes = [len(members) for members in numbers]
        self.stride = 2 if plan.kind == "reduce" else 1

    def forward(self, before_previous: Tensor, previous: Tensor, weights: Tensor) -> Tensor:
        states = [State(self.preprocess0(before_previous)), State(self.preprocess1(previous))]
        incoming: list[Tensor] = []
        for index, (group, rows) in enumerate(
            zip(self.groups, weights.split(self.sizes), strict=True)
        ):
            total = group(states, rows)
            if total is not None:
                incoming.append(total)
            if self.targets[index + 1 : index + 2] != [self.targets[index]]:  # the node's last
                if not incoming:  # of operations that put nothing out
                    size = states[0].value[:, :, :: self.stride, :: self.stride]
                    incoming = [torch.zeros_like(size)]
                states.append(State(reduce(torch.add, incoming)))
                incoming = []
        nodes = states[2:]
        return torch.cat(
            [node.view("rectified") if self.rectifies else node.value for node in nodes], dim=1
        )


class Supernet(EdgewiseSupernet):
    """The supernet of the DARTS paper.

    It has the arguments, alphas, initial weights and results of ``EdgewiseSupernet``, to rounding;
    ``fuse_state_dict`` and ``unfuse_state_dict`` carry state dicts over. What it does differently:
    see ``darts.spaces.cnn.group`` and ``darts.kernels``.
    """

    make_cell = GroupedCell

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        cast(GroupedCell, self.cells[-1]).rectifies = False
        self.recomputes = False
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

    def run_stem(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The two inputs of the first cell, behind their ReLU."""
        first, second = self.stem(images.contiguous(memory_format=torch.channels_last))
        rectified = F.relu(second)
        return rectified if first is second else F.relu(first), rectified

    def run_cell(
        self, cell: nn.Module, before_previous: Tensor, previous: Tensor, weights: Tensor
    ) -> Tensor:
        """The output of one cell, kept or computed again as asked."""
        run = partial(recomputed, cell) if self.recomputes else cell
        output: Tensor = run(before_previous, previous, weights)
        return output
