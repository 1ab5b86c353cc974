"""Freezing rules, which freeze operations of the supernet during a search, and what they froze."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.registry import Registry, choice, number
from darts.spaces import SupernetBase
from darts.spaces.supernet import ParameterRows

FREEZING: Registry[Freezing] = Registry("freezing", "darts.methods")


# For each operation of each edge, by its name, the parts of parameters that it owns.
Operations = Mapping[str, Sequence[ParameterRows]]

# Gradients by parameter, in the shape of the parameter.
Gradients = Mapping[nn.Parameter, Tensor]


class FreezingState(TypedDict, total=False):
    """State of a freezing rule. It is saved in checkpoints."""

    frozen: list[str]  # names of the frozen operations
    sums: dict[str, list[float]]  # by operation: sum and number of agreements in the window


@FREEZING.register
@dataclass
class Freezing:
    """The rule ``none``, which freezes nothing; other rules override both methods."""

    name: str = "none"

    def is_due(self, step: int) -> bool:
        """Return whether ``observe`` needs the gradients of a step, counted from 0."""
        return False

    def observe(
        self, operations: Operations, train: Gradients, valid: Gradients, state: FreezingState
    ) -> None:
        """Process the gradients of the training and validation loss of a step; update ``state``."""


@FREEZING.register
@dataclass
class GradientMatching(Freezing):
    """The rule that freezes an operation when its gradients on the two subsets disagree.

    The agreement is the cosine between both gradients of an output channel, averaged over the
    channels and convolutions of the operation. When the mean of ``window`` agreements is below
    ``threshold``, the weights of the operation are frozen until the end of the search. Steps in
    which the operation does not run are ignored.

    The code of the authors compares the gradient of a training batch with the sum of itself and the
    gradient of a validation batch, by cosines along the output channels. That gives larger values,
    to which their threshold of 0.4 belongs: ``statistic=code threshold=0.4``. Their training
    gradient belongs to the step before. By default, the two gradients are compared, as in the
    paper, and the threshold is 0.

    References:
        Jiang et al., "Operation-Level Early Stopping for Robustifying Differentiable NAS",
        NeurIPS 2023.
    """

    name: str = "gradient_matching"
    window: int = number(20, low=1)
    threshold: float = number(0.0, low=-1, high=1)
    statistic: str = choice("paper", "paper", "code")
    every: int = number(1, low=1)  # steps between two comparisons

    def is_due(self, step: int) -> bool:
        return step % self.every == 0

    def observe(
        self, operations: Operations, train: Gradients, valid: Gradients, state: FreezingState
    ) -> None:
        frozen = state.setdefault("frozen", [])
        sums = state.setdefault("sums", {})
        names = [name for name in operations if name not in frozen]
        values = [
            torch.stack([self._agreement_and_size(rows, train, valid) for rows in operations[name]])
            for name in names
        ]  # each (convolutions, 2)
        if not values:
            return
        means = torch.stack([value.mean(0) for value in values]).tolist()
        for name, (cosine, size) in zip(names, means, strict=True):
            if size == 0:  # the operation did not run
                continue
            total, count = sums.get(name, [0.0, 0])
            total, count = total + cosine, count + 1
            if count == self.window:
                if total / count < self.threshold:
                    frozen.append(name)
                total, count = 0.0, 0
            sums[name] = [total, count]

    def _agreement_and_size(
        self, rows: ParameterRows, train: Gradients, valid: Gradients
    ) -> Tensor:
        """Return the agreement of both gradients and the product of their norms, ``(2,)``."""
        parameter, start, stop = rows
        a, b = train[parameter][start:stop], valid[parameter][start:stop]
        cosine = agreement(a, b) if self.statistic == "paper" else agreement_with_sum(a, b)
        return torch.stack([cosine, a.norm() * b.norm()])


class FrozenOperations:
    """The frozen operations of a supernet, and the values that their weights keep.

    ``state`` is the state of the freezing rule: from a checkpoint, or None for a new search.
    """

    def __init__(self, net: SupernetBase, state: FreezingState | None = None) -> None:
        self._net = net
        self.state: FreezingState = {} if state is None else state
        # The weights of each frozen operation, as views of parameters, with their values.
        self._stored: dict[str, list[tuple[Tensor, Tensor]]] = {}
        if self.state.get("frozen"):  # only some spaces implement ``operation_rows``
            self._store(net.operation_rows())

    def observe(self, rule: Freezing, train: Gradients, valid: Gradients) -> None:
        """Pass gradients of the training and the validation loss to the rule."""
        operations = self._net.operation_rows()
        rule.observe(operations, train, valid, self.state)
        self._store(operations)

    def restore(self) -> None:
        """Undo what a weight step did: momentum and weight decay need no gradient."""
        for stored in self._stored.values():
            for weights, values in stored:
                weights.copy_(values)

    def _store(self, operations: Operations) -> None:
        """Copy the weights of newly frozen operations."""
        for name in self.state.get("frozen", []):
            if name in operations and name not in self._stored:
                views = [weight.detach()[start:stop] for weight, start, stop in operations[name]]
                self._stored[name] = [(view, view.clone()) for view in views]


def agreement(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean cosine, over output channels, of two gradients of a convolution's weight."""
    return F.cosine_similarity(a.flatten(1), b.flatten(1), dim=1).mean()


def agreement_with_sum(train: Tensor, valid: Tensor) -> Tensor:
    """Return the agreement of ``train`` and ``train + valid`` as in the authors' code.

    It is the cosine along the output channels, averaged over all other positions of the weight.
    """
    return F.cosine_similarity(train, train + valid, dim=0).mean()
