"""Recurrent cells computed as published, to hold those of ``darts.spaces.recurrent`` against.

Input and last output go through one product at each step; the search cell takes all edges into a
node together and its candidates one after the other, the discrete cell its nodes. Weights and
random draws are those of the fast cells.

References:
    DARTS, arXiv:1806.09055, sections 3.1 and 3.3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from darts.spaces.recurrent import DiscreteCell, SearchCell
from darts.spaces.recurrent.cell import FUNCTIONS
from darts.spaces.recurrent.dropout import Rows
from darts.spaces.recurrent.genotype import PRIMITIVES
from darts.spaces.recurrent.search_cell import Active


def _first(x: Tensor, hidden: Tensor, weight: Tensor, mask: Tensor | None) -> Tensor:
    seen = hidden if mask is None else hidden * mask
    gate, new = (torch.cat([x, seen], dim=1) @ weight).chunk(2, dim=1)
    return hidden + torch.sigmoid(gate) * (torch.tanh(new) - hidden)


class PlainSearchCell(SearchCell):
    """All edges into a node in one product, their candidates one by one."""

    def forward(
        self,
        inputs: Tensor,
        hidden: Tensor | None,
        weights: Tensor,
        active: Active = None,
        rows: Rows = None,
    ) -> tuple[Tensor, Tensor]:
        if active is not None:
            raise ValueError("the plain cell runs all candidates")
        hidden = self.begin(inputs, hidden)
        inputs, mask = self.masks(inputs, hidden, rows)
        first = torch.cat([self.input_weight, self.hidden_weight])
        outputs = []
        for x in inputs:
            states = self._normed(_first(x, hidden, first, mask))[None]
            edge = 0
            for node in range(1, self.nodes + 1):
                seen = states if mask is None else states * mask
                product = seen.flatten(0, 1) @ self.node_weights[node - 1]
                gate, new = product.unflatten(0, states.shape[:2]).chunk(2, dim=2)
                gate = torch.sigmoid(gate)
                total = torch.zeros_like(states[0])
                for column, name in enumerate(PRIMITIVES):
                    if name == "none":
                        continue
                    passed = states + gate * (FUNCTIONS[name](new) - states)
                    own = weights[edge : edge + node, column, None, None]
                    total = total + (own * passed).sum(0)
                states = torch.cat([states, self._normed(total)[None]])
                edge += node
            hidden = states[1:].mean(0)
            outputs.append(hidden)
        return torch.stack(outputs), hidden

    def _normed(self, x: Tensor) -> Tensor:
        found: Tensor = self.norm(x[:, :, None, None])
        return found[:, :, 0, 0]


class PlainCell(DiscreteCell):
    """Node by node, each with a product of its own."""

    def forward(
        self, inputs: Tensor, hidden: Tensor | None = None, rows: Rows = None
    ) -> tuple[Tensor, Tensor]:
        hidden = self.begin(inputs, hidden)
        inputs, mask = self.masks(inputs, hidden, rows)
        first = torch.cat([self.input_weight, self.hidden_weight])
        outputs = []
        for x in inputs:
            states = [_first(x, hidden, first, mask)]
            for node, (name, source) in enumerate(self.genotype.recurrent):
                state = states[source]
                seen = state if mask is None else state * mask
                gate, new = (seen @ self.node_weights[node]).chunk(2, dim=1)
                states.append(state + torch.sigmoid(gate) * (FUNCTIONS[name](new) - state))
            hidden = torch.stack([states[node] for node in self.genotype.outputs], -1).mean(-1)
            outputs.append(hidden)
        return torch.stack(outputs), hidden
