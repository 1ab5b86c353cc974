"""The gradient of the steps in ``darts.spaces.recurrent.mixed_steps``.

The gradients of gates and candidates are the gradient of their node times slopes that
do not depend on this gradient. A GPU therefore computes the slopes of all edges of a step together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from darts.spaces.recurrent.mixed_steps import (
    IDENTITY,
    RELU,
    SIGMOID,
    TANH,
    MixingWeights,
    SequenceArguments,
    SequenceRecord,
    StepRecord,
)

_aten = torch.ops.aten


class SequenceGradients(NamedTuple):
    """Gradients of ``SequenceArguments``; those that are not needed are None."""

    projected: Tensor
    hidden: Tensor
    hidden_weight: Tensor | None
    node_weights: Tensor | None
    weights: Tensor | None


class _Slopes(NamedTuple):
    """Derivatives of what the edges of a step add to their nodes.

    Attributes:
        products: With respect to gates and candidates, ``(E, B, 2, H)``.
        sources: With respect to the states on the bypass, ``(E, B, H)``.
    """

    products: Tensor
    sources: Tensor

    @classmethod
    def of(cls, step: StepRecord, edges: slice, sources: Tensor, mixing: MixingWeights) -> _Slopes:
        """Compute the slopes of some edges.

        Args:
            step: What the forward pass stores.
            edges: The edges.
            sources: Their sources, ``(edges, B, H)``.
            mixing: Their mixing weights.
        """
        gate, sigmoid = step.sigmoids[edges].unbind(2)
        slope = _aten.tanh_backward(mixing.tanh, step.tanhs[edges])
        slope.add_(_aten.sigmoid_backward(mixing.sigmoid, sigmoid))
        slope.add_(_aten.threshold_backward(mixing.relu, step.products[edges, :, 1], 0))
        slope.add_(mixing.identity)
        products = torch.empty_like(step.products[edges])
        torch.mul(gate, slope, out=products[:, :, 1])
        difference = torch.addcmul(step.mixed[edges], sources, mixing.total, value=-1)
        _aten.sigmoid_backward.grad_input(difference, gate, grad_input=products[:, :, 0])
        return cls(products, torch.addcmul(mixing.total, gate, mixing.total, value=-1))

    def part(self, edges: slice) -> _Slopes:
        """Return the slopes of some edges."""
        return _Slopes(self.products[edges], self.sources[edges])


class SequenceBackward:
    """The backward pass of a sequence.

    Args:
        arguments: Arguments of the sequence.
        record: What the forward pass returned.
        eps: Of the batch norm.
        need_weights: Whether to compute the gradients of ``hidden_weight`` and ``node_weights``.
        need_mixing: Whether to compute the gradient of ``weights``.
    """

    def __init__(
        self,
        arguments: SequenceArguments,
        record: SequenceRecord,
        eps: float,
        *,
        need_weights: bool,
        need_mixing: bool,
    ) -> None:
        self.arguments, self.steps, self.eps = arguments, record.steps, eps
        self.mixing, self.nodes = MixingWeights.of(arguments), arguments.by_target()
        self.transposed = arguments.node_weights.transpose(1, 2).unbind()
        self.previous = torch.cat([arguments.hidden.unsqueeze(0), record.outputs[:-1]])
        self.states = torch.empty_like(record.steps[0].states)  # their gradients in a step
        self.node_weights = torch.zeros_like(arguments.node_weights) if need_weights else None
        edges, new = record.steps[0].mixed, record.outputs.new_empty
        self.mixing_terms = new(5, *edges.shape) if need_mixing else None
        self.mixing_sums = new(len(self.steps), 5, len(edges)) if need_mixing else None

    def run(self, gradient: Tensor) -> SequenceGradients:
        """Return all gradients for that of the outputs, ``(T, B, H)``."""
        gates, news = torch.stack([step.first for step in self.steps], dim=1)  # (T, B, H) each
        kept = 1 - gates
        slopes = torch.stack(
            [(news - self.previous) * gates * kept, gates * (1 - news.square())], dim=2
        )
        first = torch.empty_like(slopes)  # gradients of the products of state 0, (T, B, 2, H)
        hidden = torch.zeros_like(gradient[0])
        weight = self.arguments.hidden_weight.t()
        for index in reversed(range(len(first))):
            state0 = self._run_step(gradient[index] + hidden, index)
            torch.mul(state0.unsqueeze(1), slopes[index], out=first[index])
            hidden = state0 * kept[index]
            self._add_product(hidden, first[index].flatten(1), weight)
        projected = first.flatten(2)
        hidden_weight = None
        if self.node_weights is not None:
            masked = self.arguments.masked(self.previous).flatten(0, 1)
            hidden_weight = masked.t() @ projected.flatten(0, 1)
        return SequenceGradients(
            projected, hidden, hidden_weight, self.node_weights, self._mixing_gradient()
        )

    def _run_step(self, output: Tensor, index: int) -> Tensor:
        """Return the gradient of state 0 before its norm, for that of the output, ``(B, H)``."""
        step = self.steps[index]
        # The output is the mean of the nodes.
        torch.div(output, len(self.nodes), out=self.states[0])
        self.states[1:].copy_(self.states[0])
        self.states[0].zero_()
        gradients: list[Tensor] = []  # of all nodes before their norms, from the last one
        for (node, _), slopes in zip(reversed(self.nodes), self._slopes(step), strict=True):
            gradient = self._before_norm(node, step)
            gradients.append(gradient)
            product = slopes.products.mul_(gradient.unsqueeze(1)).flatten(0, 1).flatten(1)
            self.states[:node].addcmul_(gradient, slopes.sources)
            states = self.states[:node].flatten(0, 1)
            self._add_product(states, product, self.transposed[node - 1])
            if self.node_weights is not None:
                masked = step.masked[:node].flatten(0, 1)
                self.node_weights[node - 1].addmm_(masked.t(), product)
        if self.mixing_sums is not None:
            self._add_mixing_terms(gradients[::-1], index)
        return self._before_norm(0, step)

    def _slopes(self, step: StepRecord) -> Iterator[_Slopes]:
        """Yield the slopes of the edges into each node, from the last node to the first."""
        if step.sums.device.type == "cpu":
            # The slopes of one node fit into the cache, those of all nodes do not.
            for node, edges in reversed(self.nodes):
                yield _Slopes.of(step, edges, step.states[:node], self.mixing.part(edges))
            return
        every = _Slopes.of(step, slice(None), self._sources(step), self.mixing)
        for _, edges in reversed(self.nodes):
            yield every.part(edges)

    def _sources(self, step: StepRecord) -> Tensor:
        """Return the source of each edge, ``(E, B, H)``."""
        return torch.cat([step.states[:node] for node, _ in self.nodes])

    def _before_norm(self, state: int, step: StepRecord) -> Tensor:
        """Return the gradient of a state before its norm, ``(B, H)``."""
        result: Tensor = _aten.native_batch_norm_backward(
            self.states[state], step.sums[state], None, None, None,
            step.means[state], step.inverses[state], True, self.eps, [True, False, False],
        )[0]  # fmt: skip
        return result

    def _add_product(self, total: Tensor, gradient: Tensor, weight: Tensor) -> None:
        """Add ``gradient @ weight`` to the gradient of states before their dropout, in place."""
        mask = self.arguments.mask
        if mask is None:
            total.addmm_(gradient, weight)
            return
        shape = (-1, *mask.shape)
        total.view(shape).addcmul_((gradient @ weight).view(shape), mask)

    def _add_mixing_terms(self, nodes: list[Tensor], index: int) -> None:
        """Compute the gradients of the mixing weights of a step.

        Args:
            nodes: Gradients of the nodes before their norms, ``(B, H)`` each.
            index: Number of the step.
        """
        step, terms, sums = self.steps[index], self.mixing_terms, self.mixing_sums
        assert terms is not None
        assert sums is not None
        gradient = torch.cat([node.expand(count, -1, -1) for count, node in enumerate(nodes, 1)])
        gate, sigmoid = step.sigmoids.unbind(2)
        candidate = step.products[:, :, 1]
        mixed = gradient * gate
        torch.mul(mixed, step.tanhs, out=terms[TANH - 1])
        torch.mul(mixed, torch.relu(candidate), out=terms[RELU - 1])
        torch.mul(mixed, sigmoid, out=terms[SIGMOID - 1])
        torch.mul(mixed, candidate, out=terms[IDENTITY - 1])
        torch.mul(gradient.sub_(mixed), self._sources(step), out=terms[4])
        torch.sum(terms, (2, 3), out=sums[index])

    def _mixing_gradient(self) -> Tensor | None:
        if self.mixing_sums is None:
            return None
        sums = self.mixing_sums.sum(0)  # (5, E); the last row is the gradient of the total
        return torch.cat([torch.zeros_like(sums[:1]), sums[:4] + sums[4:]]).t()
