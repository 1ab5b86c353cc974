"""The cell of the supernet, fast: the function of ``EdgewiseCell`` with less work.

All edges into a node are computed together: one product of the states before it, each activation
once for all of them, and their weighted sum. Since every candidate of an edge from state ``s`` has
the same gate ``c`` and bypass, the weights go to the activations alone,

    sum_k w_k (s + c (f_k(g) - s)) = s' + c (sum_k w_k f_k(g) - s'),    s' = s sum_k w_k.

References:
    DARTS, arXiv:1806.09055, sections 3.1 and 3.3: batch norm in each node while searching, without
    affine parameters; appendix A.1.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from darts.spaces.recurrent.cell import FUNCTIONS, RecurrentCell, highway, init_preserving_variance, masked
from darts.spaces.recurrent.derive import edges_of
from darts.spaces.recurrent.dropout import DropoutRates, Rows
from darts.spaces.recurrent.genotype import PRIMITIVES
from darts.spaces.recurrent.norm import SequenceNorm

ActiveColumns = Sequence[Sequence[int]] | None
"""For each edge the columns that count, or None for all."""


class Entering(NamedTuple):
    """The edges into a node that have an activation to run.

    Attributes:
        sources: the states that they come from.
        factors: by activation the weights of these edges, ``(sources, 1, 1)``.
        total: ``(sources, 1, 1)``, the sum of an edge's weights.
    """

    sources: list[int]
    factors: dict[str, Tensor]
    total: Tensor

    def mixed(self, states: Tensor, product: Tensor) -> Tensor:
        """The weighted sum of all edges and activations, ``(B, H)``.

        Args:
            states: ``(sources, B, H)``.
            product: ``(sources, B, 2H)``.
        """
        gate, new = product.chunk(2, dim=2)
        (first, weight), *others = self.factors.items()
        target = weight * FUNCTIONS[first](new)
        for name, weight in others:
            target = target + weight * FUNCTIONS[name](new)
        return highway(states * self.total, target, torch.sigmoid(gate)).sum(0)


class MixedCell(RecurrentCell):
    """All candidates of all edges of a recurrent cell.

    Args:
        width: of the input, E.
        hidden: of the states, H.
        nodes: how many follow state 0.
        dropouts: of which ``input`` and ``hidden`` are the cell's.

    Attributes:
        norm: keeps the running statistics.
        process_group: ranks that share a batch, or None.

    Raises:
        ValueError: for a size that is not positive.
    """

    process_group: Any = None

    def __init__(
        self, width: int, hidden: int, nodes: int = 8, dropouts: DropoutRates | None = None
    ) -> None:
        super().__init__(width, hidden, nodes, dropouts or DropoutRates())
        self.norm = nn.BatchNorm2d(hidden, affine=False)

    def init_preserving_variance(self) -> None:
        """Start anew with a product of the inputs that puts out about as much as it takes in.

        Between the states batch norm keeps the variance. With larger weights there, the gradient
        grows with each word that it goes back.
        """
        init_preserving_variance(self.input_weight)

    def forward(
        self,
        inputs: Tensor,
        hidden: Tensor | None,
        weights: Tensor,
        active: ActiveColumns = None,
        rows: Rows = None,
    ) -> tuple[Tensor, Tensor]:
        """Run over a sequence.

        Args:
            inputs: ``(T, B, E)``.
            hidden: ``(B, H)``, what the cell put out before; None for zeros.
            weights: mixing weights ``(edges, 5)``.
            active: columns that count; the weights of others get no gradient, and edges without
                any are not computed.
            rows: see ``darts.spaces.recurrent.dropout``.

        Returns:
            The outputs of all steps ``(T, B, H)``, and the last of them ``(B, H)``.

        Raises:
            ValueError: for a batch of one in training, which has no variance.
        """
        hidden = self.begin(inputs, hidden)
        prepared = self.prepare(inputs, hidden, rows)
        entering = entering_of(weights, active, self.nodes)
        node_weights = self.node_weights.unbind()
        outputs: list[Tensor] = []
        normalize = SequenceNorm(self.norm, self.training, self.process_group)
        for start in prepared.starts():
            states = [normalize(start(hidden))]
            for weight, edges in zip(node_weights, entering, strict=True):
                states.append(normalize(self._node(states, edges, weight, prepared.mask)))
            hidden = torch.stack(states[1:]).mean(0)
            outputs.append(hidden)
        normalize.move_running()
        return torch.stack(outputs), hidden

    @staticmethod
    def _node(
        states: list[Tensor], edges: Entering | None, weight: Tensor, mask: Tensor | None
    ) -> Tensor:
        """A node before its norm, ``(B, H)``; zeros where no edge enters."""
        if edges is None:
            return torch.zeros_like(states[0])
        before = torch.stack([states[source] for source in edges.sources])  # (sources, B, H)
        sources, batch, width = before.shape
        product = masked(before, mask).view(-1, width) @ weight
        return edges.mixed(before, product.view(sources, batch, -1))


def entering_of(weights: Tensor, active: ActiveColumns, nodes: int) -> list[Entering | None]:
    """By node the edges that enter it and count.

    Args:
        weights: mixing weights ``(edges, 5)``.
        active: see ``MixedCell.forward``.
        nodes: how many follow state 0.

    Returns:
        For each node its edges, or None where there are none.
    """
    columns = [range(len(PRIMITIVES))] * len(weights) if active is None else active
    usable = [[column for column in row if column] for row in columns]  # 0 is none
    if active is not None:
        on = torch.zeros(weights.shape, device=weights.device)
        for edge, row in enumerate(usable):
            on[edge, row] = 1
        weights = weights * on
    found: list[Entering | None] = []
    places = edges_of(nodes)
    for node in range(1, nodes + 1):
        edges = [n for n, (_, target) in enumerate(places) if target == node and usable[n]]
        if not edges:
            found.append(None)
            continue
        own = weights[edges]  # (sources, 5)
        running = sorted({column for edge in edges for column in usable[edge]})
        found.append(
            Entering(
                [places[edge][0] for edge in edges],
                {PRIMITIVES[column]: own[:, column, None, None] for column in running},
                own[:, running].sum(1)[:, None, None],
            )
        )
    return found
