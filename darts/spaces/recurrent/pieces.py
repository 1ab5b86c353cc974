"""The discrete network of the recurrent space taken apart, for what each candidate costs a token.

Every node has one product of the same size, whatever its predecessor and activation: in parameters
and multiply-accumulates all cells with as many nodes are alike. Seconds differ a little.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from darts.spaces.network_piece import NetworkPiece
from darts.spaces.recurrent.cell import FUNCTIONS, highway
from darts.spaces.recurrent.derive import GROUP, edges_of
from darts.spaces.recurrent.genotype import PRIMITIVES


class Step(nn.Module):
    """A product, an activation and the bypass: state 0, or one node.

    Shape: ``(B, inputs)`` -> ``(B, hidden)``.
    """

    def __init__(self, inputs: int, hidden: int, activation: str) -> None:
        super().__init__()
        self.activation, self.hidden = activation, hidden
        self.weight = nn.Parameter(torch.zeros(inputs, 2 * hidden))

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, {self.activation}"

    def forward(self, x: Tensor) -> Tensor:
        gate, new = (x @ self.weight).chunk(2, dim=1)
        made = FUNCTIONS[self.activation](new)
        return highway(x[:, -self.hidden :], made, torch.sigmoid(gate))


class Lookup(nn.Module):
    """Embeddings that the decoder does not share.

    Shape: ``(B,)`` -> ``(B, embedding)``.
    """

    def __init__(self, vocabulary: int, embedding: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, embedding)

    def forward(self, tokens: Tensor) -> Tensor:
        found: Tensor = self.table(tokens.long())
        return found


def pieces(nodes: int, vocabulary: int, embedding: int, hidden: int, tied: bool) -> Iterator[NetworkPiece]:
    """What a token goes through, with all candidates of all edges.

    Args:
        nodes: of the cell beside state 0.
        vocabulary: number of tokens.
        embedding: numbers in an embedding.
        hidden: numbers in a state.
        tied: whether embeddings and decoder share their weights.
    """
    if not tied:
        yield NetworkPiece(partial(Lookup, vocabulary, embedding), ())
    inputs = embedding + hidden
    yield NetworkPiece(partial(Step, inputs, hidden, "tanh"), (inputs,))
    for edge in range(len(edges_of(nodes))):
        for column, name in enumerate(PRIMITIVES):
            if name != "none":
                make = partial(Step, hidden, hidden, name)
                yield NetworkPiece(make, (hidden,), (GROUP, edge, column))
    yield NetworkPiece(partial(nn.Linear, hidden, vocabulary), (hidden,))


def expected_usage(
    probabilities: Mapping[str, Tensor], candidates: Mapping[str, Sequence[Sequence[str]]]
) -> dict[str, Tensor]:
    """How probable each candidate is to be the one of its node, of which there is one.

    Edges into a node share it out by their probability of any candidate but ``none``, which a
    genotype never carries.
    """
    chosen = torch.tensor([[name != "none" for name in row] for row in candidates[GROUP]])
    p = probabilities[GROUP]
    p = p * chosen.to(p.device)
    sizes: list[int] = []
    while sum(sizes) < len(p):
        sizes.append(len(sizes) + 1)
    parts = [part / part.sum().clamp_min(1e-12) for part in p.split(sizes)]
    return {GROUP: torch.cat(parts)}
