"""Recurrent cells computed as in the published code, to compare with ``darts.spaces.recurrent``.

One product per time step transforms the input and the previous output. ``PlainMixedCell`` computes
all edges into a node together and one candidate at a time; ``PlainCell`` computes one node at a
time. Weights and random numbers equal the fast cells.

References:
    DARTS, arXiv:1806.09055, sections 3.1 and 3.3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from darts.spaces.recurrent import DiscreteCell, MixedCell
from darts.spaces.recurrent.cell import FUNCTIONS, locked_dropout, locked_mask
from darts.spaces.recurrent.genotype import PRIMITIVES
from darts.spaces.recurrent.supernet import ActiveColumns


def _first_state(x: Tensor, hidden: Tensor, weight: Tensor, mask: Tensor | None) -> Tensor:
    """Return state 0, ``(B, H)``.

    Args:
        x: Input, ``(B, E)``.
        hidden: Previous output, ``(B, H)``.
        weight: ``(E + H, 2 * H)``.
        mask: Dropout mask of ``hidden``, ``(B, H)``; None for no dropout.
    """
    masked = hidden if mask is None else hidden * mask
    gate, new = (torch.cat([x, masked], dim=1) @ weight).chunk(2, dim=1)
    return hidden + torch.sigmoid(gate) * (torch.tanh(new) - hidden)


class PlainMixedCell(MixedCell):
    """A supernet's cell: one product for all edges into a node, then one candidate at a time."""

    def forward(
        self, inputs: Tensor, hidden: Tensor | None, weights: Tensor, active: ActiveColumns = None
    ) -> tuple[Tensor, Tensor]:
        if active is not None:
            raise ValueError("PlainMixedCell computes all candidates; active must be None")
        hidden = self.initial_hidden(inputs, hidden)
        inputs = locked_dropout(self, inputs, self.dropouts.input)
        mask = locked_mask(self, hidden, self.dropouts.hidden)
        first = torch.cat([self.input_weight, self.hidden_weight])
        outputs = []
        for x in inputs:
            states = self._normed(_first_state(x, hidden, first, mask))[None]
            edge = 0
            for node in range(1, self.nodes + 1):
                masked = states if mask is None else states * mask
                product = masked.flatten(0, 1) @ self.node_weights[node - 1]
                gate, new = product.view(*states.shape[:2], -1).chunk(2, dim=2)
                gate = torch.sigmoid(gate)
                total = torch.zeros_like(states[0])
                for column, name in enumerate(PRIMITIVES):
                    if name == "none":
                        continue
                    candidate = states + gate * (FUNCTIONS[name](new) - states)
                    mixing = weights[edge : edge + node, column, None, None]
                    total = total + (mixing * candidate).sum(0)
                states = torch.cat([states, self._normed(total)[None]])
                edge += node
            hidden = states[1:].mean(0)
            outputs.append(hidden)
        return torch.stack(outputs), hidden

    def _normed(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(x[:, :, None, None])
        return normed[:, :, 0, 0]


class PlainCell(DiscreteCell):
    """A genotype's cell: one product per node."""

    def forward(self, inputs: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        hidden = self.initial_hidden(inputs, hidden)
        inputs = locked_dropout(self, inputs, self.dropouts.input)
        mask = locked_mask(self, hidden, self.dropouts.hidden)
        first = torch.cat([self.input_weight, self.hidden_weight])
        outputs = []
        for x in inputs:
            states = [_first_state(x, hidden, first, mask)]
            for node, (name, source) in enumerate(self.genotype.recurrent):
                state = states[source]
                masked = state if mask is None else state * mask
                gate, new = (masked @ self.node_weights[node]).chunk(2, dim=1)
                states.append(state + torch.sigmoid(gate) * (FUNCTIONS[name](new) - state))
            hidden = torch.stack([states[node] for node in self.genotype.outputs], -1).mean(-1)
            outputs.append(hidden)
        return torch.stack(outputs), hidden
