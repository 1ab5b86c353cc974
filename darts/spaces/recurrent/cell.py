"""Recurrent cells: their base class, and the discrete cell of a genotype.

At step ``t`` the cell computes state 0 from its input ``x_t`` and its previous output ``h``,

    c, g = [x_t, h] W_0,    s_0 = h + sigmoid(c) (tanh(g) - h),

and node ``i`` from an earlier state ``s``, with an activation ``f``,

    c, g = s W_i,           s_i = s + sigmoid(c) (f(g) - s).

The cell's output is the mean of its nodes, or of some of them in a genotype.

References:
    DARTS, arXiv:1806.09055, sections 3.1 and 3.3 and appendices A.1.2 and A.2.2; ENAS,
    arXiv:1802.03268, section 2.1; highway bypass: Zilly et al., "Recurrent Highway Networks",
    arXiv:1607.03474. Dropout with one mask for all steps of a sequence: Gal and Ghahramani, "A
    Theoretically Grounded Application of Dropout in Recurrent Neural Networks", arXiv:1512.05287;
    Merity et al., "Regularizing and Optimizing LSTM Language Models", arXiv:1708.02182, sections 2
    and 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.spaces.rank_dropout import apply_mask, dropout_mask
from darts.spaces.recurrent.genotype import Genotype

INITIAL_RANGE = 0.04  # initial weights are uniform between minus and plus this value

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "identity": lambda g: g,
}


@dataclass(frozen=True)
class DropoutRates:
    """Dropout rates in training. All but ``word`` and ``weight`` have one mask per sequence.

    The comments name the rates of the published code.
    """

    word: float = 0.0  # dropoute: words of the vocabulary, at all positions in the batch
    embedding: float = 0.0  # dropouti: dimensions of the embeddings
    input: float = 0.0  # dropoutx: dimensions of the cell's input
    hidden: float = 0.0  # dropouth: dimensions of the states that the cell multiplies with weights
    output: float = 0.0  # dropout: dimensions of the cell's output
    weight: float = 0.0  # hidden-to-hidden weights, the same for all sequences of a batch


NO_DROPOUT = DropoutRates()


@dataclass(frozen=True)
class ModelSettings:
    """Sizes and options of supernets and networks of the space.

    Attributes:
        embedding, hidden: Sizes of an embedding and of a hidden state.
        tied: Whether (target) embedding and output layer share their weights.
    """

    embedding: int
    hidden: int
    dropouts: DropoutRates = NO_DROPOUT
    tied: bool = True


def locked_mask(module: nn.Module, x: Tensor, probability: float) -> Tensor | None:
    """Draw a mask ``(B, D)`` that all steps of ``x``, ``(T, B, D)`` or ``(B, D)``, share."""
    return dropout_mask(module, x, x.shape[-2:], probability)


def locked_dropout(module: nn.Module, x: Tensor, probability: float) -> Tensor:
    """Drop the same dimensions of ``x``, ``(T, B, D)``, at every step."""
    return apply_mask(x, locked_mask(module, x, probability))


def highway(state: Tensor, new: Tensor, gate: Tensor) -> Tensor:
    """Return ``state + gate * (new - state)``, under autocast in the precision of ``state``."""
    return torch.lerp(state, new.to(state.dtype), gate.to(state.dtype))


class SequenceInput(NamedTuple):
    """What a cell computes once for all steps of a sequence; see ``RecurrentCell`` for E and H."""

    projected: tuple[Tensor, ...]  # by step, inputs times the first E rows of W_0, (B, 2H)
    weight: Tensor  # the last H rows of W_0, (H, 2H), after weight dropout
    mask: Tensor | None  # dropout mask of the states, (B, H)

    def state0(self, projected: Tensor, previous: Tensor) -> Tensor:
        """Return state 0 of one step, ``(B, H)``; ``previous`` is the previous output."""
        product = torch.addmm(projected, apply_mask(previous, self.mask), self.weight)
        gate, new = product.chunk(2, dim=1)
        return highway(previous, torch.tanh(new), torch.sigmoid(gate))


class RecurrentCell(nn.Module):
    """Base class of recurrent cells: weights and dropout masks.

    The cell applies the dropout rates ``input``, ``hidden`` and ``weight``. E is the size of the
    input, an embedding, H the size of the states. The rows of ``W_0`` for the input are one
    parameter, the rows for the previous output another one; the columns of gates come first.
    """

    def __init__(self, settings: ModelSettings, nodes: int) -> None:
        super().__init__()
        self.hidden = hidden = settings.hidden
        self.nodes, self.dropouts = nodes, settings.dropouts
        self.input_weight = nn.Parameter(torch.empty(settings.embedding, 2 * hidden))
        self.hidden_weight = nn.Parameter(torch.empty(hidden, 2 * hidden))
        self.node_weights = nn.Parameter(torch.empty(nodes, hidden, 2 * hidden))
        for weight in self.parameters():
            nn.init.uniform_(weight, -INITIAL_RANGE, INITIAL_RANGE)

    def init_preserving_variance(self) -> None:
        """Redraw all weights so that products keep the variance of their inputs."""
        for weight in self.parameters():
            init_preserving_variance(weight)

    def initial_hidden(self, inputs: Tensor, hidden: Tensor | None) -> Tensor:
        return inputs.new_zeros(inputs.shape[1], self.hidden) if hidden is None else hidden

    def prepare(self, inputs: Tensor, hidden: Tensor) -> SequenceInput:
        """Apply dropout to ``inputs``, ``(T, B, E)``, and compute what all steps share."""
        inputs = locked_dropout(self, inputs, self.dropouts.input)
        mask = locked_mask(self, hidden, self.dropouts.hidden)
        steps, batch, _ = inputs.shape
        projected = inputs.reshape(steps * batch, -1) @ self.input_weight
        weight = F.dropout(self.hidden_weight, self.dropouts.weight, self.training)
        return SequenceInput(projected.view(steps, batch, -1).unbind(), weight, mask)


def init_preserving_variance(weight: Tensor) -> None:
    """Draw ``weight``, ``(..., inputs, outputs)``, so that ``x @ weight`` keeps the variance."""
    bound = math.sqrt(3 / weight.shape[-2])
    nn.init.uniform_(weight, -bound, bound)


class DiscreteCell(RecurrentCell):
    """The cell of a genotype; all nodes with the same source share one matrix product."""

    def __init__(self, genotype: Genotype, settings: ModelSettings) -> None:
        super().__init__(settings, genotype.nodes())
        self.genotype = genotype
        # By source, the (activation, node) pairs that read it.
        self.successors: dict[int, list[tuple[str, int]]] = {}
        for source, node, name in sorted(genotype.edges()):
            self.successors.setdefault(source, []).append((name, node))

    def forward(self, inputs: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run the cell over inputs ``(T, B, E)``, from an output ``(B, H)``; None for zeros.

        Return the outputs of all steps ``(T, B, H)``, and the last output ``(B, H)``.
        """
        hidden = self.initial_hidden(inputs, hidden)
        prepared = self.prepare(inputs, hidden)
        weights = self.node_weights.unbind()
        joint_weights = {
            source: concat_weights([weights[node - 1] for _, node in successors])
            for source, successors in self.successors.items()
        }
        outputs = []
        for projected in prepared.projected:
            states = {0: prepared.state0(projected, hidden)}
            for source, weight in joint_weights.items():
                state, successors = states[source], self.successors[source]
                product = apply_mask(state, prepared.mask) @ weight  # (B, nodes * 2H)
                gate, new = product.chunk(2, dim=1)
                gates, values = (x.chunk(len(successors), 1) for x in (gate.sigmoid(), new))
                for (name, node), own, value in zip(successors, gates, values, strict=True):
                    states[node] = highway(state, FUNCTIONS[name](value), own)
            hidden = torch.stack([states[node] for node in self.genotype.outputs]).mean(0)
            outputs.append(hidden)
        return torch.stack(outputs), hidden


def concat_weights(weights: list[Tensor]) -> Tensor:
    """Concatenate node weights ``(H, 2H)`` to ``(H, nodes * 2H)``: first the gates of all nodes."""
    gates, others = zip(*(weight.chunk(2, dim=1) for weight in weights), strict=True)
    return torch.cat([*gates, *others], dim=1)
