"""The supernet of NAS-Bench-201, fast: the function of ``EdgewiseSupernet`` with less work.

What the edges that leave one node share is computed once: its ReLU, its average pooling, and as
one convolution those of all edges, see ``darts.spaces.nas201.parallel``. Identities and pools are
summed without storing a product, and ``none`` costs nothing. Where only some operations are active,
no others are run.

References:
    Dong and Yang, "NAS-Bench-201", arXiv:2001.00326, sections 2.1 and 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial, reduce
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.pool import avg_pool3x3
from darts.ops.recomputation import recompute
from darts.ops.sums import weighted_sum
from darts.spaces.mixture import CellMixture
from darts.spaces.nas201.edgewise import (
    EdgewiseSupernet,
    SupernetCell,
    drop_elements,
    generator_from,
    halves,
    shuffle,
)
from darts.spaces.nas201.fuse import fuse_state_dict, unfuse_state_dict
from darts.spaces.nas201.genotype import EDGES, NODES, OUTGOING
from darts.spaces.nas201.parallel import ParallelConvNorm
from darts.spaces.widening import widened

_ORDER = [number for numbers in OUTGOING for number in numbers]
_SIZES = [len(numbers) for numbers in OUTGOING]


class SharedCell(nn.Module):
    """One cell, the edges that leave a node computed together.

    Arguments and shape: as ``SupernetCell``.
    """

    def __init__(
        self, channels: int, operations: Sequence[str], partial: int, auxiliary_skip: bool
    ) -> None:
        super().__init__()
        # The same draws as the edge-wise cell, so that one seed gives one network.
        edgewise = SupernetCell(channels, operations, partial, auxiliary_skip)
        self.partial = partial
        self.names = cast(Any, edgewise.edges[0]).names
        self.leaving = nn.ModuleList(
            nn.ModuleDict(
                {
                    str(column): ParallelConvNorm(
                        [cast(Any, edgewise.edges[n]).operations[column] for n in numbers]
                    )
                    for column, name in enumerate(self.names)
                    if name.startswith("nor_conv")
                }
            )
            for numbers in OUTGOING
        )

    def forward(
        self, x: Tensor, mixture: CellMixture, skip_dropout: float, seed: int | None
    ) -> Tensor:
        """The output of the cell's last node, as ``SupernetCell.forward``."""
        weights, bypass, active = mixture
        columns = tuple(range(weights.shape[1]))
        chosen = (columns,) * len(EDGES) if active is None else active
        scales = weights[_ORDER].split(_SIZES)
        factors = [row.unbind() for row in weights.unbind()]
        generator = generator_from(seed, x.device)
        seen: list[Tensor] = []  # of each node what the operations see
        rests: list[Tensor] = []  # and what is led past them
        pools: dict[int, Tensor] = {}
        incoming: list[list[Tensor]] = [[] for _ in range(NODES)]
        for source in range(NODES - 1):
            first, rest = self._halves(x)
            seen.append(first)
            rests.append(rest)
            for target, y in self._convolved(source, first, scales[source], chosen):
                incoming[target].append(y)
            target = source + 1  # it is complete now but for what has no weights
            terms: list[Tensor] = []
            shares: list[Tensor] = []
            for number, (before, node) in enumerate(EDGES):
                for column in chosen[number] if node == target else ():
                    name = self.names[column]
                    if name == "none" or name.startswith("nor_conv"):
                        continue
                    value = seen[before]
                    if name == "avg_pool_3x3":
                        if before not in pools:
                            pools[before] = avg_pool3x3(value)
                        value = pools[before]
                    elif name == "skip_connect":
                        value = drop_elements(value, skip_dropout, generator)
                    terms.append(value)
                    shares.append(factors[number][column])
            if terms:
                incoming[target].append(weighted_sum(terms, shares))
            mixed = reduce(torch.add, incoming[target] or [torch.zeros_like(first)])
            x = self._joined(mixed, rests, target, bypass)
        return x

    def _halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the operations see, without gaps, and the rest."""
        if self.partial == 1:
            return x, x
        first, rest = halves(x, self.partial)
        return first.contiguous(memory_format=torch.channels_last), rest

    def _joined(
        self, mixed: Tensor, rests: Sequence[Tensor], target: int, bypass: Tensor | None
    ) -> Tensor:
        """A node from the sum of its mixed edges and what was led past them."""
        if self.partial == 1:
            return mixed
        if bypass is None:
            passed = reduce(torch.add, rests)
        else:
            numbers = [number for number, (_, node) in enumerate(EDGES) if node == target]
            passed = weighted_sum(rests, bypass[numbers].unbind())
        x = shuffle(torch.cat([mixed, passed], dim=1), self.partial)
        return x.contiguous(memory_format=torch.channels_last)

    def _convolved(
        self, source: int, x: Tensor, scales: Tensor, chosen: Sequence[Sequence[int]]
    ) -> list[tuple[int, Tensor]]:
        """Weighted convolutions of one node: ``(target, (B, C, H, W))``, some targets repeated."""
        numbers = OUTGOING[source]
        rectified: Tensor | None = None
        sums: dict[tuple[int, int], Tensor] = {}
        for key, convolution in cast(nn.ModuleDict, self.leaving[source]).items():
            column = int(key)
            for start, stop in _runs([column in chosen[number] for number in numbers]):
                rectified = F.relu(x) if rectified is None else rectified
                run = slice(start, stop)
                y = convolution(rectified, scales[run, column], run)
                # Nothing keeps a norm's output for its backward pass, so the sum may overwrite it.
                # Summed before they are cut apart, the norms share one gradient, joined once.
                sums[start, stop] = sums[start, stop].add_(y) if (start, stop) in sums else y
        return [
            (EDGES[numbers[start + place]][1], y)
            for (start, stop), together in sums.items()
            for place, y in enumerate(together.chunk(stop - start, dim=1))
        ]


def _runs(wanted: Sequence[bool]) -> list[tuple[int, int]]:
    """Begin and end of each run of True."""
    padded = [False, *wanted, False]
    bounds = [place for place in range(len(padded) - 1) if padded[place] != padded[place + 1]]
    return list(zip(bounds[::2], bounds[1::2], strict=True))


class Supernet(EdgewiseSupernet):
    """The supernet of the NAS-Bench-201 space.

    It has the arguments, alphas, initial weights and results of ``EdgewiseSupernet``, to rounding;
    ``fuse_state_dict`` and ``unfuse_state_dict`` carry state dicts over. An operation that is not
    active has a gradient of zeros where that of another edge leaving the node has some.
    """

    make_cell = SharedCell

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.recomputes = False
        # Not the images alone: beside weights in the plain layout convolutions lose a third.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def operation_rows(self) -> dict[str, list[tuple[nn.Parameter, int, int]]]:
        """What each convolution of each edge owns: its parameter, first row and last row's end."""
        shares = {}
        for path, module in self.named_modules():
            if isinstance(module, ParallelConvNorm):
                each = len(module.weight) // module.edges
                for edge in range(module.edges):
                    rows = (module.weight, edge * each, (edge + 1) * each)
                    shares[f"{path}.{edge}"] = [rows]
        return shares

    def widened(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state dict of a supernet with narrower operations in this one's shapes."""
        own = unfuse_state_dict(self.state_dict())
        return fuse_state_dict(widened(unfuse_state_dict(state), own))

    def recompute_cells(self) -> None:
        """Keep only what passes between cells for the backward pass, and compute the rest again."""
        self.recomputes = True

    def run_cell(
        self, cell: nn.Module, x: Tensor, mixture: CellMixture, seed: int | None
    ) -> Tensor:
        """The output of one cell, kept or computed again as asked."""
        run: Any = partial(recompute, cell) if self.recomputes else cell
        output: Tensor = run(x, mixture, self.skip_dropout, seed)
        return output

    def forward(self, images: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """Logits of a batch, as ``EdgewiseSupernet.forward``."""
        return super().forward(images.contiguous(memory_format=torch.channels_last), weights)
