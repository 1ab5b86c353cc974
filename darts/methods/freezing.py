"""Which operations of the supernet still learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.registry import Registry, number

FREEZING = Registry("freezing", "darts.methods")


class Share(NamedTuple):
    """The rows of a parameter that belong to one operation of one edge."""

    parameter: nn.Parameter
    first: int
    end: int

    def of(self, tensor: Tensor) -> Tensor:
        """The rows of a tensor of the parameter's shape."""
        return tensor[self.first : self.end]


Operations = Mapping[str, Sequence[Share]]  # by name, what each operation owns


@dataclass
class Freezing:
    """All operations learn to the end, unless a subclass says otherwise."""

    name: str = ""

    def looks_at(self, step: int) -> bool:
        """Whether ``look`` wants the gradients of a step, counted from 0."""
        return False

    def look(
        self,
        operations: Operations,
        train: Mapping[nn.Parameter, Tensor],
        valid: Mapping[nn.Parameter, Tensor],
        state: dict[str, Any],
    ) -> None:
        """Take in the gradients of both losses and decide.

        Args:
            operations: of the supernet.
            train: gradient of the training loss for each parameter.
            valid: that of the validation loss.
            state: of this rule, plain values that go into the checkpoint; ``state["frozen"]`` lists
                the operations that have stopped.
        """


@FREEZING.register
@dataclass
class NoFreezing(Freezing):
    """All operations learn to the end."""

    name: str = "none"


@FREEZING.register
@dataclass
class GradientMatching(Freezing):
    """An operation stops when its gradients on the two halves of the data disagree.

    They are compared by the cosine of each output channel's gradient, averaged over the channels
    and convolutions of the operation. When the mean of ``window`` comparisons is below
    ``threshold``, the operation's weights are frozen for good. Steps in which an operation did not
    run do not count.

    The authors' code compares the gradient of a training batch with its own sum with that of a
    validation batch, which is larger: their threshold of 0.4 belongs to that. Here the two
    gradients are compared as the paper says, and the default threshold is 0.

    Attributes:
        window: comparisons before a decision.
        threshold: on their mean.
        every: steps from one comparison to the next.

    References:
        Jiang et al., "Operation-Level Early Stopping for Robustifying Differentiable NAS",
        NeurIPS 2023.
    """

    name: str = "gradient_matching"
    window: int = number(20, low=1)
    threshold: float = number(0.0, low=-1, high=1)
    every: int = number(1, low=1)

    def looks_at(self, step: int) -> bool:
        return step % self.every == 0

    def look(
        self,
        operations: Operations,
        train: Mapping[nn.Parameter, Tensor],
        valid: Mapping[nn.Parameter, Tensor],
        state: dict[str, Any],
    ) -> None:
        frozen: list[str] = state.setdefault("frozen", [])
        sums: dict[str, list[float]] = state.setdefault("sums", {})  # sum and number
        names = [name for name in operations if name not in frozen]
        rows = [
            torch.stack([_agreement_and_size(share, train, valid) for share in operations[name]])
            for name in names
        ]  # each (convolutions, 2)
        if not rows:
            return
        means = torch.stack([row.mean(0) for row in rows]).tolist()
        for name, (match, size) in zip(names, means, strict=True):
            if size == 0:
                continue
            total, count = sums.get(name, [0.0, 0])
            total, count = total + match, count + 1
            if count == self.window:
                if total / count < self.threshold:
                    frozen.append(name)
                total, count = 0.0, 0
            sums[name] = [total, count]


def _agreement_and_size(
    share: Share, train: Mapping[nn.Parameter, Tensor], valid: Mapping[nn.Parameter, Tensor]
) -> Tensor:
    """``(2,)``: agreement of the gradients, and the product of their norms."""
    a, b = (share.of(gradients[share.parameter]) for gradients in (train, valid))
    return torch.stack([agreement(a, b), a.norm() * b.norm()])


def agreement(a: Tensor, b: Tensor) -> Tensor:
    """Mean over output channels of the cosine of two gradients of one convolution's weight."""
    return F.cosine_similarity(a.flatten(1), b.flatten(1), dim=1).mean()
