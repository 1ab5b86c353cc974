"""What the recurrent cells have in common, and the discrete one.

At each step ``t`` state 0 comes from the cell's input ``x_t`` and from its last output ``h``,

    c, g = [x_t, h] W_0,    s_0 = h + sigmoid(c) (tanh(g) - h),

and node ``i`` from its predecessor ``s``, with an activation ``f``,

    c, g = s W_i,           s_i = s + sigmoid(c) (f(g) - s).

The output is the mean of nodes.

References:
    DARTS, arXiv:1806.09055, sections 3.1 and 3.3 and appendix A.1.2 and A.2.2; ENAS,
    arXiv:1802.03268, section 2.1; the bypass: Zilly et al., "Recurrent Highway Networks",
    arXiv:1607.03474.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.spaces.cnn.skeleton import check_positive
from darts.spaces.recurrent.dropout import DropoutRates, Rows, locked_mask
from darts.spaces.recurrent.genotype import Genotype

INITIAL_RANGE = 0.04
"""All weights start uniformly between plus and minus this."""

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "identity": lambda g: g,
}


def highway(state: Tensor, new: Tensor, gate: Tensor) -> Tensor:
    """``state + gate * (new - state)``; under autocast in the precision of the state."""
    return torch.lerp(state, new.to(state.dtype), gate.to(state.dtype))


class Prepared(NamedTuple):
    """What is computed once for all steps of a sequence.

    Attributes:
        projected: ``(T, B, 2H)``, the inputs' part of the first product.
        weight: ``(H, 2H)``, that of the last output's part.
        mask: ``(B, H)`` of what goes into products, or None.
    """

    projected: Tensor
    weight: Tensor
    mask: Tensor | None

    def starts(self) -> Iterator[Callable[[Tensor], Tensor]]:
        """For each step the way from the last output ``(B, H)`` to state 0."""
        return (partial(self._start, own) for own in self.projected.unbind())

    def _start(self, own: Tensor, last: Tensor) -> Tensor:
        gate, new = torch.addmm(own, masked(last, self.mask), self.weight).chunk(2, dim=1)
        return highway(last, torch.tanh(new), torch.sigmoid(gate))


class RecurrentCell(nn.Module):
    """Weights, masks and the loop over time.

    Args:
        width: of the input, E.
        hidden: of the states, H.
        nodes: how many follow state 0, N.
        dropouts: of which ``input``, ``hidden`` and ``weight`` are the cell's.

    Attributes:
        input_weight: ``(E, 2H)``, the input's part of W_0; columns of the gate come first.
        hidden_weight: ``(H, 2H)``, the last output's part of W_0.
        node_weights: ``(N, H, 2H)``.

    Raises:
        ValueError: for a size that is not positive.
    """

    def __init__(self, width: int, hidden: int, nodes: int, dropouts: DropoutRates) -> None:
        super().__init__()
        check_positive(width=width, hidden=hidden, nodes=nodes)
        self.width, self.hidden, self.nodes, self.dropouts = width, hidden, nodes, dropouts
        self.input_weight = nn.Parameter(torch.empty(width, 2 * hidden))
        self.hidden_weight = nn.Parameter(torch.empty(hidden, 2 * hidden))
        self.node_weights = nn.Parameter(torch.empty(nodes, hidden, 2 * hidden))
        for weight in self.parameters():
            nn.init.uniform_(weight, -INITIAL_RANGE, INITIAL_RANGE)

    def init_preserving_variance(self) -> None:
        """Start anew with products that put out about as much as they take in."""
        for weight in self.parameters():
            init_preserving_variance(weight)

    def begin(self, inputs: Tensor, hidden: Tensor | None) -> Tensor:
        """The hidden state that a sequence begins with, zeros for None.

        Raises:
            ValueError: for inputs or a hidden state of another shape.
        """
        if inputs.ndim != 3 or not len(inputs) or inputs.shape[2] != self.width:
            raise ValueError(
                f"inputs must be (T, B, {self.width}) with T at least 1, got {tuple(inputs.shape)}"
            )
        if hidden is None:
            return inputs.new_zeros(inputs.shape[1], self.hidden)
        # One by one, as an export is traced with a batch of any size.
        if hidden.shape[0] != inputs.shape[1] or hidden.shape[1:] != (self.hidden,):
            raise ValueError(
                f"hidden must be ({inputs.shape[1]}, {self.hidden}), got {tuple(hidden.shape)}"
            )
        return hidden

    def masks(self, inputs: Tensor, hidden: Tensor, rows: Rows) -> tuple[Tensor, Tensor | None]:
        """The inputs with their mask on, and the mask of the states, None in evaluation."""
        if not self.training:
            return inputs, None
        own = self.dropouts
        if own.input > 0:
            inputs = inputs * locked_mask(inputs, own.input, rows)
        return inputs, locked_mask(hidden, own.hidden, rows) if own.hidden > 0 else None

    def prepare(self, inputs: Tensor, hidden: Tensor, rows: Rows) -> Prepared:
        """What the steps share."""
        inputs, mask = self.masks(inputs, hidden, rows)
        steps, batch, _ = inputs.shape
        projected = inputs.reshape(steps * batch, -1) @ self.input_weight
        weight = F.dropout(self.hidden_weight, self.dropouts.weight, self.training)
        return Prepared(projected.view(steps, batch, -1), weight, mask)


def init_preserving_variance(weight: Tensor) -> None:
    """Draw a weight ``(..., inputs, outputs)`` such that its product keeps the variance."""
    bound = math.sqrt(3 / weight.shape[-2])
    nn.init.uniform_(weight, -bound, bound)


def masked(state: Tensor, mask: Tensor | None) -> Tensor:
    """A state ``(..., B, H)`` with its mask ``(B, H)`` on."""
    return state if mask is None else state * mask


class DiscreteCell(RecurrentCell):
    """The cell of a genotype. What several nodes take from one state is one product.

    Args:
        genotype: the cell.
        width: of the input, E.
        hidden: of the states, H.
        dropouts: of which ``input``, ``hidden`` and ``weight`` are the cell's.

    Raises:
        ValueError: for a size that is not positive.
    """

    def __init__(
        self, genotype: Genotype, width: int, hidden: int, dropouts: DropoutRates | None = None
    ) -> None:
        super().__init__(width, hidden, genotype.nodes(), dropouts or DropoutRates())
        self.genotype = genotype
        # By state the nodes that take it in, those of one activation side by side.
        self.leaving: dict[int, list[tuple[str, int]]] = {}
        for source, node, name in sorted(genotype.edges(), key=lambda edge: (edge[0], edge[2])):
            self.leaving.setdefault(source, []).append((name, node))

    def forward(
        self, inputs: Tensor, hidden: Tensor | None = None, rows: Rows = None
    ) -> tuple[Tensor, Tensor]:
        """Run over a sequence.

        Args:
            inputs: ``(T, B, E)``.
            hidden: ``(B, H)``, what the cell put out before; None for zeros.
            rows: see ``darts.spaces.recurrent.dropout``.

        Returns:
            The outputs of all steps ``(T, B, H)``, and the last of them ``(B, H)``.
        """
        hidden = self.begin(inputs, hidden)
        prepared = self.prepare(inputs, hidden, rows)
        weights = self.node_weights.unbind()
        products = {
            source: joined([weights[node - 1] for _, node in leaving])
            for source, leaving in self.leaving.items()
        }
        outputs = []
        for start in prepared.starts():
            states = {0: start(hidden)}
            for source, leaving in self.leaving.items():
                seen = masked(states[source], prepared.mask)
                self._leave(states, source, leaving, seen @ products[source])
            own = [states[node] for node in self.genotype.outputs]
            hidden = torch.stack(own).mean(0) if len(own) > 1 else own[0]
            outputs.append(hidden)
        return torch.stack(outputs), hidden

    @staticmethod
    def _leave(
        states: dict[int, Tensor],
        source: int,
        leaving: list[tuple[str, int]],
        product: Tensor,
    ) -> None:
        """Add the nodes that take in a state; their product is ``(B, nodes * 2H)``."""
        gate, new = product.chunk(2, dim=1)
        state, nodes = states[source], len(leaving)
        if nodes == 1:
            name, node = leaving[0]
            states[node] = highway(state, FUNCTIONS[name](new), torch.sigmoid(gate))
            return
        gate = torch.sigmoid(gate).unflatten(1, (nodes, -1))  # (B, nodes, H)
        new = new.unflatten(1, (nodes, -1))
        first = 0
        for name, group in groupby(leaving, key=lambda pair: pair[0]):
            own = [node for _, node in group]
            here = slice(first, first + len(own))
            made = highway(state[:, None], FUNCTIONS[name](new[:, here]), gate[:, here])
            states.update(zip(own, made.unbind(1), strict=True))
            first += len(own)


def joined(weights: list[Tensor]) -> Tensor:
    """Weights ``(H, 2H)`` of several nodes as those of one product: all gates, then the rest."""
    if len(weights) == 1:
        return weights[0]
    gates, others = zip(*(weight.chunk(2, dim=1) for weight in weights), strict=True)
    return torch.cat([*gates, *others], dim=1)
