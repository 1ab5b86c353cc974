"""The steps of a recurrent cell with all candidates, as far as they need no gradients.

A node has an edge from each earlier state ``s``. With the gate ``c`` of an edge, the sum of its
candidates ``m = sum_k w_k f_k(g)`` and the sum ``t`` of its mixing weights, the edge adds

    t s + c (m - t s)

to the node. All edges into a node are computed together. The tensors of all edges of a step are
parts of one tensor, so that ``darts.spaces.recurrent.mixed_gradient`` can use them together.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from darts.spaces.recurrent.genotype import PRIMITIVES

TANH, RELU, SIGMOID, IDENTITY = (
    PRIMITIVES.index(name) for name in ("tanh", "relu", "sigmoid", "identity")
)


class SequenceArguments(NamedTuple):
    """What the states of a sequence depend on.

    T, B, H and N are the numbers of steps, sequences, units and nodes.

    Attributes:
        projected: Inputs times their rows of ``W_0``, ``(T, B, 2H)``.
        hidden: Previous output of the cell, ``(B, H)``.
        hidden_weight: The other rows of ``W_0``, ``(H, 2H)``.
        node_weights: ``(N, H, 2H)``.
        weights: Mixing weights, ``(edges, 5)``, by target, then by source.
        mask: Dropout mask of the states, ``(B, H)``, without gradient, or None.
    """

    projected: Tensor
    hidden: Tensor
    hidden_weight: Tensor
    node_weights: Tensor
    weights: Tensor
    mask: Tensor | None

    def by_target(self) -> list[tuple[int, slice]]:
        """Return each node, from 1, and its edges."""
        nodes = len(self.node_weights)
        return [
            (node, slice(node * (node - 1) // 2, node * (node + 1) // 2))
            for node in range(1, nodes + 1)
        ]

    def masked(self, state: Tensor) -> Tensor:
        """Multiply states ``(..., B, H)`` by the mask, if there is one."""
        return state if self.mask is None else state * self.mask


class MixingWeights(NamedTuple):
    """Mixing weights of edges, each ``(edges, 1, 1)``."""

    tanh: Tensor
    relu: Tensor
    sigmoid: Tensor
    identity: Tensor
    total: Tensor  # their sum

    @classmethod
    def of(cls, arguments: SequenceArguments) -> MixingWeights:
        """Return the mixing weights of all edges."""
        weights = arguments.weights[:, :, None, None]
        return cls(
            weights[:, TANH],
            weights[:, RELU],
            weights[:, SIGMOID],
            weights[:, IDENTITY],
            weights[:, 1:].sum(1),  # column 0 is none
        )

    def part(self, edges: slice) -> MixingWeights:
        """Return the weights of some edges."""
        return MixingWeights(*(column[edges] for column in self))


class StepRecord(NamedTuple):
    """What the forward pass of a step stores for the backward pass.

    E is the number of edges.

    Attributes:
        sums: States before their norms, ``(N + 1, B, H)``.
        states: States after their norms, ``(N + 1, B, H)``.
        masked: States after dropout; ``states`` itself without dropout.
        first: Gate and new value of state 0, ``(2, B, H)``.
        products: States times weights: gates and candidates, ``(E, B, 2, H)``.
        sigmoids: Sigmoids of the products.
        tanhs: Hyperbolic tangents of the candidates, ``(E, B, H)``.
        mixed: ``m`` of each edge, ``(E, B, H)``.
        means: Means of the states before their norms, ``(N + 1, H)``.
        inverses: Inverse standard deviations of the states before their norms, ``(N + 1, H)``.
    """

    sums: Tensor
    states: Tensor
    masked: Tensor
    first: Tensor
    products: Tensor
    sigmoids: Tensor
    tanhs: Tensor
    mixed: Tensor
    means: Tensor
    inverses: Tensor

    @classmethod
    def empty(cls, arguments: SequenceArguments, means: Tensor, inverses: Tensor) -> StepRecord:
        """Return memory for a step, with given memory for the statistics."""
        batch, width = arguments.hidden.shape
        edges, nodes = len(arguments.weights), len(arguments.node_weights)
        new = arguments.projected.new_empty
        states = new(nodes + 1, batch, width)
        return cls(
            sums=new(nodes + 1, batch, width),
            states=states,
            masked=states if arguments.mask is None else torch.empty_like(states),
            first=new(2, batch, width),
            products=new(edges, batch, 2, width),
            sigmoids=new(edges, batch, 2, width),
            tanhs=new(edges, batch, width),
            mixed=new(edges, batch, width),
            means=means,
            inverses=inverses,
        )

    def normalize(self, state: int, mask: Tensor | None, eps: float) -> None:
        """Normalize a state with the statistics of its batch, and apply dropout."""
        torch.ops.aten.native_batch_norm.out(
            self.sums[state], None, None, None, None, True, 0.0, eps,
            out=self.states[state], save_mean=self.means[state], save_invstd=self.inverses[state],
        )  # fmt: skip
        if mask is not None:
            torch.mul(self.states[state], mask, out=self.masked[state])

    def add_node(self, node: int, edges: slice, weight: Tensor, mixing: MixingWeights) -> None:
        """Compute a node before its norm.

        Args:
            node: The node.
            edges: Its edges.
            weight: Its weights, ``(H, 2H)``.
            mixing: Mixing weights of its edges.
        """
        product = self.products[edges]  # (sources, B, 2, H)
        torch.mm(self.masked[:node].flatten(0, 1), weight, out=product.view(-1, len(weight) * 2))
        gate, sigmoid = torch.sigmoid(product, out=self.sigmoids[edges]).unbind(2)
        candidate = product[:, :, 1]
        tanh = torch.tanh(candidate, out=self.tanhs[edges])
        mixed = torch.mul(tanh, mixing.tanh, out=self.mixed[edges])
        mixed.addcmul_(sigmoid, mixing.sigmoid)
        mixed.addcmul_(candidate, mixing.identity)
        mixed.addcmul_(torch.relu(candidate), mixing.relu)
        added = (self.states[:node] * mixing.total).lerp_(mixed, gate)
        torch.sum(added, 0, out=self.sums[node])


class SequenceRecord(NamedTuple):
    """Outputs ``(T, B, H)``, statistics ``(T, N + 1, H)``, and what the steps store."""

    outputs: Tensor
    means: Tensor
    inverses: Tensor
    steps: list[StepRecord]


def run_steps(arguments: SequenceArguments, eps: float, *, keep: bool) -> SequenceRecord:
    """Compute all steps in training.

    Args:
        arguments: Arguments of the sequence.
        eps: Of the batch norm.
        keep: Whether to return what the steps store.
    """
    mixing = MixingWeights.of(arguments)
    nodes = [
        (node, edges, weight, mixing.part(edges))
        for (node, edges), weight in zip(
            arguments.by_target(), arguments.node_weights.unbind(), strict=True
        )
    ]
    batch, width = arguments.hidden.shape
    steps, mask = len(arguments.projected), arguments.mask
    outputs = arguments.projected.new_empty(steps, batch, width)
    means = arguments.projected.new_empty(steps, len(nodes) + 1, width)
    inverses = torch.empty_like(means)
    kept: list[StepRecord] = []
    previous = arguments.hidden
    for index, projected in enumerate(arguments.projected.unbind()):
        step = StepRecord.empty(arguments, means[index], inverses[index])
        product = torch.addmm(projected, arguments.masked(previous), arguments.hidden_weight)
        gate = torch.sigmoid(product[:, :width], out=step.first[0])
        new = torch.tanh(product[:, width:], out=step.first[1])
        torch.lerp(previous, new, gate, out=step.sums[0])
        step.normalize(0, mask, eps)
        for node, edges, weight, part in nodes:
            step.add_node(node, edges, weight, part)
            step.normalize(node, mask, eps)
        previous = torch.mean(step.states[1:], 0, out=outputs[index])
        if keep:
            kept.append(step)
    return SequenceRecord(outputs, means, inverses, kept)
