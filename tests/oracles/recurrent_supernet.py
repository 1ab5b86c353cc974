"""The oracle of ``MixedCell``: edge by edge, activation by activation and step by step.

It defines the continuous relaxation of the space. Weights, buffers and random draws are those of
``MixedCell``.

References:
    DARTS, arXiv:1806.09055, sections 3.1 and 3.3 and appendix A.1.2.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from darts.spaces.recurrent.cell import locked_mask
from darts.spaces.recurrent.genotype import PRIMITIVES
from darts.spaces.recurrent.supernet import ActiveColumns, MixedCell, Supernet

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "identity": lambda x: x,
}


class EdgewiseCell(MixedCell):
    """All candidates of all edges of a recurrent cell; see ``MixedCell``."""

    def forward(
        self, inputs: Tensor, hidden: Tensor | None, weights: Tensor, active: ActiveColumns = None
    ) -> tuple[Tensor, Tensor]:
        steps, batch, _ = inputs.shape
        if hidden is None:
            hidden = torch.zeros(batch, self.hidden, dtype=inputs.dtype, device=inputs.device)
        input_mask = locked_mask(self, inputs, self.dropouts.input)
        hidden_mask = locked_mask(self, hidden, self.dropouts.hidden)
        if input_mask is None:
            input_mask = torch.ones_like(inputs[0])
        if hidden_mask is None:
            hidden_mask = torch.ones_like(hidden)
        outputs = []
        for step in range(steps):
            hidden = self.step(inputs[step] * input_mask, hidden, hidden_mask, weights, active)
            outputs.append(hidden)
        return torch.stack(outputs), hidden

    def step(
        self, x: Tensor, hidden: Tensor, mask: Tensor, weights: Tensor, active: ActiveColumns
    ) -> Tensor:
        """Compute one step, ``(B, E)`` and ``(B, H)`` -> ``(B, H)``."""
        first_weight = torch.cat([self.input_weight, self.hidden_weight])  # (E + H, 2H)
        product = torch.cat([x, hidden * mask], dim=1) @ first_weight
        gate, new = torch.sigmoid(product[:, : self.hidden]), torch.tanh(product[:, self.hidden :])
        states = [self.batch_norm(hidden + gate * (new - hidden))]
        edge = 0
        for node in range(1, self.nodes + 1):
            total = torch.zeros_like(states[0])
            for state in states[:node]:
                product = (state * mask) @ self.node_weights[node - 1]
                gate, new = torch.sigmoid(product[:, : self.hidden]), product[:, self.hidden :]
                for column, name in enumerate(PRIMITIVES):
                    if name == "none" or (active is not None and column not in active[edge]):
                        continue
                    output = state + gate * (FUNCTIONS[name](new) - state)
                    total = total + weights[edge, column] * output
                edge += 1
            states.append(self.batch_norm(total))
        return torch.stack(states[1:]).mean(0)

    def batch_norm(self, x: Tensor) -> Tensor:
        normalized: Tensor = self.norm(x[:, :, None, None])
        return normalized[:, :, 0, 0]


class EdgewiseSupernet(Supernet):
    """The supernet with ``EdgewiseCell``; the arguments are those of ``Supernet``."""

    cell_class = EdgewiseCell
