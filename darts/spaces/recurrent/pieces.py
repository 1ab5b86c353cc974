"""Pieces of the recurrent language model, for the cost of each candidate per token.

Every node has one matrix product of the same size, whatever its source and activation. All
cells with the same number of nodes therefore have the same parameters and MACs; their latencies
differ slightly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from darts.spaces.deriving import Candidates
from darts.spaces.network import NetworkPiece
from darts.spaces.recurrent.cell import FUNCTIONS, highway
from darts.spaces.recurrent.derive import GROUP, edges_of
from darts.spaces.recurrent.genotype import PRIMITIVES


class CellState(nn.Module):
    """The computation of one state of a cell, ``(B, inputs)`` -> ``(B, hidden)``.

    It consists of a matrix product, an activation, and the bypass of the last ``hidden`` inputs.
    """

    def __init__(self, inputs: int, hidden: int, activation: str) -> None:
        super().__init__()
        self.activation, self.hidden = activation, hidden
        self.weight = nn.Parameter(torch.zeros(inputs, 2 * hidden))

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, {self.activation}"

    def forward(self, x: Tensor) -> Tensor:
        gate, new = (x @ self.weight).chunk(2, dim=1)
        new = FUNCTIONS[self.activation](new)
        return highway(x[:, -self.hidden :], new, torch.sigmoid(gate))


class Lookup(nn.Module):
    """An embedding table that is not tied to the decoder, ``(B,)`` -> ``(B, embedding)``."""

    def __init__(self, vocab_size: int, embedding: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocab_size, embedding)

    def forward(self, tokens: Tensor) -> Tensor:
        embeddings: Tensor = self.table(tokens.long())
        return embeddings


def pieces(
    nodes: int, vocab_size: int, embedding: int, hidden: int, tied: bool
) -> Iterator[NetworkPiece]:
    """Yield the modules that process one token, with all candidates of all edges."""
    if not tied:
        yield NetworkPiece(partial(Lookup, vocab_size, embedding), ())
    inputs = embedding + hidden
    yield NetworkPiece(partial(CellState, inputs, hidden, "tanh"), (inputs,))
    for edge in range(len(edges_of(nodes))):
        for column, name in enumerate(PRIMITIVES):
            if name != "none":
                make = partial(CellState, hidden, hidden, name)
                yield NetworkPiece(make, (hidden,), (GROUP, edge, column))
    yield NetworkPiece(partial(nn.Linear, hidden, vocab_size), (hidden,))


def expected_usage(
    probabilities: Mapping[str, Tensor], candidates: Candidates
) -> dict[str, Tensor]:
    """Return for each candidate the probability that its node uses it, ``(edges, operations)``.

    The probabilities of all candidates into a node, except ``none``, are normalized to sum to one,
    because a genotype keeps one candidate per node and never ``none``.
    """
    usable = torch.tensor([[name != "none" for name in row] for row in candidates[GROUP]])
    p = probabilities[GROUP]
    p = p * usable.to(p.device)
    fan_ins: list[int] = []  # number of edges into each node
    while sum(fan_ins) < len(p):
        fan_ins.append(len(fan_ins) + 1)
    normalized = [rows / rows.sum().clamp_min(1e-12) for rows in torch.split(p, fan_ins)]
    return {GROUP: torch.cat(normalized)}
