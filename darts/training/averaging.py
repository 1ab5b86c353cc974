"""Averages of the weights over training steps; a run scores an average instead of the weights.

References:
    Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM Journal on
    Control and Optimization 30(4), 1992; Merity, Keskar and Socher, "Regularizing and Optimizing
    LSTM Language Models", arXiv:1708.02182, section 4 and algorithm 1: when the mean starts.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TypedDict, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from darts.tasks.metrics import Metric
from darts.typed_values import Count, Misfit, typed

B = TypeVar("B")

# Training samples for the batch-norm statistics of averaged weights. 512 give the accuracy of 4,096
# on photos and clothes, and 4 to 6 points less on boards, in less time (experiments/README.md).
STATISTICS_SAMPLES = 512


class _SavedAverage(TypedDict):
    average: dict[str, Tensor] | None  # of all parameters and buffers, if it is configured
    count: Count  # of updates
    active: bool
    scores: list[float]


class Averaging:
    """An average of the weights and buffers of a network, of at most one kind.

    Args:
        net: Network whose weights are averaged.
        patience: Number of epochs without improvement before a plain mean starts: it starts after
            the first epoch whose score is no better than the best one of all epochs that lie more
            than ``patience`` epochs back. 0 disables the mean. Until the mean starts, the network
            itself is scored.
        power: Power p of a polynomial average; 0 disables it. After step t, the newest weights
            have the share ``(p + 1) / (t + p)``, so the average covers about the last
            ``1 / (p + 1)`` of the steps, whatever their number is (Shamir and Zhang,
            "Stochastic Gradient Descent for Non-smooth Optimization", arXiv:1212.1824, section 4).
    """

    def __init__(self, net: nn.Module, *, patience: int = 0, power: float = 0.0) -> None:
        self._net, self._power, self.patience, self.active = net, power, patience, power > 0
        self._average = copy.deepcopy(net) if power or patience else None
        self._count = 0  # of updates
        self._scores: list[float] = []

    @property
    def scored_net(self) -> nn.Module:
        """The network to score and to save: the average once it has started, else the network."""
        return self._net if self._average is None or not self.active else self._average

    @property
    def networks(self) -> list[nn.Module]:
        """The network and, if an average is configured, the network with averaged weights."""
        return [self._net] if self._average is None else [self._net, self._average]

    @torch.no_grad()
    def step(self) -> None:
        """Update the average; call it after each optimizer step."""
        if self._average is None or not self.active:
            return
        averages, values, others = self._tensors
        # One call, because on a CPU one for each tensor takes longer than a small network.
        share = (self._power + 1) / (self._count + 1 + self._power)  # power 0: the plain mean
        torch._foreach_lerp_(averages, values, share)
        for average, value in others:
            average.copy_(value)
        self._count += 1

    @cached_property
    def _tensors(self) -> tuple[list[Tensor], list[Tensor], list[tuple[Tensor, Tensor]]]:
        """Averages and new values, and pairs of tensors that are copied, such as counters."""
        assert self._average is not None
        own, new = ([*net.parameters(), *net.buffers()] for net in (self._average, self._net))
        pairs = list(zip(own, new, strict=True))
        averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        others = [pair for pair in pairs if not pair[0].is_floating_point()]
        return [pair[0] for pair in averaged], [pair[1] for pair in averaged], others

    def end_epoch(self, score: float, metric: Metric) -> bool:
        """Record the score of an epoch; return whether the plain mean starts with the next step."""
        if self.active or not self.patience:
            return False
        earlier = self._scores[: -self.patience]
        self._scores.append(score)
        self.active = any(not metric.prefers(score, old) for old in earlier)
        return self.active

    def state_dict(self) -> _SavedAverage:
        average = None if self._average is None else self._average.state_dict()
        return {
            "average": average,
            "count": self._count,
            "active": self.active,
            "scores": list(self._scores),
        }

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        saved = typed(_SavedAverage, state, "averaging")
        average = saved["average"]
        if (average is None) != (self._average is None):
            raise Misfit("averaging belongs to another configuration")
        if average is not None and self._average is not None:
            self._average.load_state_dict(average)
        self._count, self.active, self._scores = saved["count"], saved["active"], saved["scores"]


@torch.no_grad()
def recompute_statistics(
    net: nn.Module, batches: Iterable[B], forward: Callable[[nn.Module, B], object]
) -> None:
    """Replace the running statistics of batch norms by their means over batches.

    Averaged weights need this: their features differ from the features of each averaged network.
    Other layers are in evaluation mode meanwhile, and batch norms that keep their statistics in
    training also keep them here. Without batch norms, no batch is read.
    """
    net.train()  # parts of the network may stay in evaluation mode
    norms = [each for each in net.modules() if isinstance(each, _BatchNorm) and each.training]
    momenta = [norm.momentum for norm in norms]
    net.eval()
    for norm in norms:
        norm.train()
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean
    if norms:
        for batch in batches:
            forward(net, batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    net.train()
