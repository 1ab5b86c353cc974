"""Fast supernet: the function of ``EdgewiseSupernet`` with less work.

References:
    DARTS, arXiv:1806.09055, section 2.2, equation 2, and section 3.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial, reduce
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.recomputation import recompute
from darts.ops.sums import weighted_sum
from darts.spaces.cnn.edge_bundle import EdgeBundle, Separate
from darts.spaces.cnn.edgewise import SKIP, EdgewiseSupernet, MixedOperation, SupernetCell
from darts.spaces.cnn.operations import remove_leading_relu, shuffle_channels
from darts.spaces.cnn.skeleton import CellPlan, count_nodes
from darts.spaces.cnn.stacking import bundles_of, concatenated, separated
from darts.spaces.cnn.state import State
from darts.spaces.mixture import CellMixture
from darts.spaces.supernet import ParameterRows, widen


class BundledCell(nn.Module):
    """One cell; its edges run in bundles of one node and one stride.

    The next two cells and the convolutions between the nodes all read a node after ReLU. The cell
    computes this ReLU once per node: cells read and return rectified states.

    Arguments and shape are those of ``SupernetCell``.

    Attributes:
        rectifies: Whether the output is rectified; False in the last cell, whose output the
            classifier reads.
        has_noise: Whether a candidate draws random numbers.
        members: The edges of each bundle.
        targets: The node that each bundle enters.
        groups: The bundles; the name is part of the state dict.
    """

    def __init__(
        self, plan: CellPlan, candidates: Sequence[Sequence[str]], partial: int = 1
    ) -> None:
        super().__init__()
        # Draws the same initial weights as the edge-wise cell.
        edgewise = SupernetCell(plan, candidates, partial)
        self.preprocess0, self.preprocess1 = edgewise.preprocess0, edgewise.preprocess1
        for preprocess in (self.preprocess0, self.preprocess1):
            remove_leading_relu(preprocess)
        self.rectifies = not plan.is_last
        self.has_noise = any("noise" in row for row in candidates)
        self.partial, self.width = partial, edgewise.width
        self.members = bundles_of(plan.group, count_nodes(len(candidates)))
        self.groups = nn.ModuleList(
            EdgeBundle(
                [edgewise.connections[edge][0] for edge in members],
                [candidates[edge] for edge in members],
                [cast(MixedOperation, edgewise.edges[edge]).operations for edge in members],
            )
            for members in self.members
        )
        self.targets = [edgewise.connections[members[0]][1] for members in self.members]
        self.stride = plan.node_stride

    def forward(
        self, before_previous: Tensor, previous: Tensor, mixture: CellMixture, dropout: float = 0.0
    ) -> Tensor:
        states = [
            State(preprocess(x), self.width)
            for preprocess, x in ((self.preprocess0, before_previous), (self.preprocess1, previous))
        ]
        rows = torch.split(mixture.weights, [len(members) for members in self.members])
        incoming: list[Tensor] = []
        bypassing: list[Tensor] = []
        bypass_weights: list[Tensor] = []
        for index, members in enumerate(self.members):
            bundle = cast(EdgeBundle, self.groups[index])
            active = mixture.active and [mixture.active[edge] for edge in members]
            total = bundle(states, rows[index], active, dropout)
            if total is not None:
                incoming.append(total)
            if self.partial > 1:
                weights = torch.ones(len(members), device=previous.device)
                if mixture.bypass is not None:
                    weights = mixture.bypass[members[0] : members[-1] + 1]
                for source, weight in zip(bundle.sources, weights.unbind(), strict=True):
                    bypassing.append(states[source].bypass(self.stride if source < 2 else 1))
                    bypass_weights.append(weight)
            if self.targets[index + 1 : index + 2] != [self.targets[index]]:  # last bundle
                if not incoming:  # no active operation has an output
                    subsampled = states[0].value[:, :, :: self.stride, :: self.stride]
                    incoming = [torch.zeros_like(subsampled)]
                value = reduce(torch.add, incoming)
                if bypassing:
                    value = torch.cat([value, weighted_sum(bypassing, bypass_weights)], dim=1)
                states.append(State(shuffle_channels(value, self.partial), self.width))
                incoming, bypassing, bypass_weights = [], [], []
        return torch.cat(
            [node.rectified_whole() if self.rectifies else node.whole for node in states[2:]], dim=1
        )


class Supernet(EdgewiseSupernet):
    """The supernet of the DARTS paper.

    It has the arguments, alphas, initial weights and, up to rounding, the results of
    ``EdgewiseSupernet``. ``fuse_state_dict`` and ``unfuse_state_dict`` convert state dicts. See
    ``darts.spaces.cnn.edge_bundle`` and ``darts.ops`` for the differences.
    """

    make_cell = BundledCell
    memory_format = torch.channels_last
    supports_recomputation = True

    def compile_regions(self) -> None:
        """Run the separable convolutions with their norms through ``torch.compile``.

        Equal regions of all cells share one compilation. Compiling the whole network would take
        many minutes.
        """
        for module in self.modules():
            if isinstance(module, EdgeBundle):
                module.compiled = True

    def widened(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        new = self.state_dict()
        wide: dict[str, Tensor] = {}
        # Each copy in a stacked operation repeats its own channels.
        for prefix, count in self._stacked_operations().items():
            before, after = (
                separated({name: s[name] for name in new if name.startswith(prefix)}, count)
                for s in (state, new)
            )
            wide |= concatenated([widen(*pair) for pair in zip(before, after, strict=True)])
        others = {name: tensor for name, tensor in new.items() if name not in wide}
        return wide | widen(state, others)

    def _stacked_operations(self) -> dict[str, int]:
        """Return the number of copies in each stacked operation, by prefix in the state dict."""
        return {
            f"{path}.operations.{index}.": len(owners)
            for path, module in self.named_modules()
            if isinstance(module, EdgeBundle)
            for index, (_, _, owners) in enumerate(module.owners)
            if not isinstance(module.operations[index], Separate)
            and module.operations[index].state_dict()
        }

    def operation_rows(self) -> dict[str, list[ParameterRows]]:
        return {
            f"{path}.{name}": rows
            for path, module in self.named_modules()
            if isinstance(module, EdgeBundle)
            for name, rows in module.operation_rows()
            if not name.endswith(SKIP)
        }

    def run_stem(self, images: Tensor) -> tuple[Tensor, Tensor]:
        first, second = self.stem(images.contiguous(memory_format=torch.channels_last))
        rectified = F.relu(second)
        return rectified if first is second else F.relu(first), rectified

    def run_cell(
        self, cell: nn.Module, before_previous: Tensor, previous: Tensor, mixture: CellMixture
    ) -> Tensor:
        random = self.skip_dropout > 0 or cast(BundledCell, cell).has_noise
        run = partial(recompute, cell, random=random) if self.recomputes else cell
        output: Tensor = run(before_previous, previous, mixture, self.skip_dropout)
        return output
